import type { DocumentWrite, DocumentWriteResult, Expected } from './writes.ts';

/** What a store remembers about a document: its content, or the version of a delete. */
export type Remembered =
  | { kind: 'document'; version: number; contentHash: string; encodingHash?: string }
  /** A delete; writes with a lower version are stale. */
  | { kind: 'delete'; version: number };

type Write<Kind extends DocumentWrite['kind']> = Extract<DocumentWrite, { kind: Kind }>;

/** The parts of a write that the rule reads. */
export type VersionedWrite =
  | Pick<Write<'put'>, 'kind' | 'version' | 'contentHash' | 'encodingHash' | 'expected'>
  | Pick<Write<'update'>, 'kind' | 'version' | 'contentHash' | 'expected'>
  | Pick<Write<'confirm'>, 'kind' | 'version' | 'contentHash'>
  | Pick<Write<'delete'>, 'kind' | 'version'>;

/**
 * The version rule: a write is stale if the store remembers a higher version; otherwise it takes effect. A
 * confirm takes effect only if its content is stored, an update, and a put that expects something, only if that is. A delete without a version (0) is not remembered.
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
      const { contentHash, encodingHash, expected } = write;
      if (expected && !holds(before, expected)) return { result: { outcome: 'changed' }, after: before };
      return {
        result: { outcome: 'indexed' },
        after: { kind: 'document', version, contentHash, encodingHash },
      };
    }
    case 'update': {
      if (!holds(before, write.expected)) return { result: { outcome: 'changed' }, after: before };
      return {
        result: { outcome: 'updated' },
        after: { ...before, version, contentHash: write.contentHash },
      };
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

/** Whether the store remembers a document with what a write expects. */
function holds(
  before: Remembered | undefined,
  expected: Expected,
): before is Extract<Remembered, { kind: 'document' }> {
  if (before?.kind !== 'document') return false;
  return 'contentHash' in expected
    ? before.contentHash === expected.contentHash
    : before.encodingHash === expected.encodingHash;
}
