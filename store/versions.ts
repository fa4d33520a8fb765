import type { DocumentWrite, DocumentWriteResult } from './store.ts';

/** What a store remembers about a document: its content, or the version of a delete. */
export type Remembered =
  | { kind: 'document'; version: number; contentHash: string }
  /** A delete; writes with a lower version are stale. */
  | { kind: 'delete'; version: number };

type Write<Kind extends DocumentWrite['kind']> = Extract<DocumentWrite, { kind: Kind }>;

/** The parts of a write that the rule reads. */
export type VersionedWrite =
  | Pick<Write<'put'>, 'kind' | 'version' | 'contentHash'>
  | Pick<Write<'confirm'>, 'kind' | 'version' | 'contentHash'>
  | Pick<Write<'delete'>, 'kind' | 'version'>;

/**
 * The version rule: a write is stale if the store remembers a higher version; otherwise it takes effect. A
 * confirm takes effect only if its content is stored. A delete without a version (0) is not remembered.
 *
 * Every store applies this rule. Qdrant also has to express "no higher version is stored" as the condition of its
 * requests, because other processes write between its read and its write: see `olderThan` in `qdrant/settle.ts`.
 *
 * @param before what the store remembers about the document; `undefined` for nothing
 * @returns the answer to the write, and what to remember; the same object as `before` if nothing changes
 */
export function applyVersionRule(
  before: Remembered | undefined,
  write: VersionedWrite,
): { result: DocumentWriteResult; after: Remembered | undefined } {
  const { version } = write;
  if (before && before.version > version) {
    // The document is deleted already, so an older delete has nothing to do.
    const isDone = before.kind === 'delete' && write.kind === 'delete';
    const result: DocumentWriteResult = isDone
      ? { outcome: 'deleted' }
      : { outcome: 'stale', storedVersion: before.version };
    return { result, after: before };
  }
  switch (write.kind) {
    case 'put': {
      const { contentHash } = write;
      return { result: { outcome: 'indexed' }, after: { kind: 'document', version, contentHash } };
    }
    case 'confirm': {
      const isStored = before?.kind === 'document' && before.contentHash === write.contentHash;
      if (!isStored) return { result: { outcome: 'changed' }, after: before };
      const after = before.version === version ? before : { ...before, version };
      return { result: { outcome: 'unchanged' }, after };
    }
    default: {
      const isRemembered = before?.kind === 'delete' && before.version === version;
      const after: Remembered | undefined = version > 0 ? { kind: 'delete', version } : undefined;
      return { result: { outcome: 'deleted' }, after: isRemembered ? before : after };
    }
  }
}
