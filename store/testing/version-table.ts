import type { DocumentWriteResult } from '../writes.ts';
import type { Remembered, VersionedWrite } from '../versions.ts';

/** What is stored before the write. */
type Stored = 'nothing' | 'a document' | 'a delete';

/** The write; a confirm or an update names the content that is stored, or another. */
type Write =
  | 'put'
  | 'confirm of the same'
  | 'confirm of another'
  | 'update of the same'
  | 'update of another'
  | 'delete';

/** The version of the write, compared with the stored one. */
type Version = 'lower' | 'equal' | 'higher' | 'any';

/** What is stored after the write. A delete of version 0 leaves nothing behind. */
type After = 'as before' | 'what was put' | 'the document, raised' | 'the document, updated' | 'the delete';

/**
 * The version rule case by case, written by hand. It is what the rule and the stores are judged by, so it must not be
 * derived from either.
 */
export const VERSION_TABLE: readonly (readonly [
  Stored,
  Write,
  Version,
  DocumentWriteResult['outcome'],
  After,
])[] = [
  ['nothing', 'put', 'any', 'indexed', 'what was put'],
  ['nothing', 'confirm of another', 'any', 'changed', 'as before'],
  ['nothing', 'update of another', 'any', 'changed', 'as before'],
  ['nothing', 'delete', 'any', 'deleted', 'the delete'],

  ['a document', 'put', 'lower', 'stale', 'as before'],
  ['a document', 'put', 'equal', 'indexed', 'what was put'],
  ['a document', 'put', 'higher', 'indexed', 'what was put'],
  ['a document', 'confirm of the same', 'lower', 'stale', 'as before'],
  ['a document', 'confirm of the same', 'equal', 'unchanged', 'as before'],
  ['a document', 'confirm of the same', 'higher', 'unchanged', 'the document, raised'],
  ['a document', 'confirm of another', 'lower', 'stale', 'as before'],
  ['a document', 'confirm of another', 'equal', 'changed', 'as before'],
  ['a document', 'confirm of another', 'higher', 'changed', 'as before'],
  ['a document', 'update of the same', 'lower', 'stale', 'as before'],
  ['a document', 'update of the same', 'equal', 'updated', 'the document, updated'],
  ['a document', 'update of the same', 'higher', 'updated', 'the document, updated'],
  ['a document', 'update of another', 'lower', 'stale', 'as before'],
  ['a document', 'update of another', 'equal', 'changed', 'as before'],
  ['a document', 'update of another', 'higher', 'changed', 'as before'],
  ['a document', 'delete', 'lower', 'stale', 'as before'],
  ['a document', 'delete', 'equal', 'deleted', 'the delete'],
  ['a document', 'delete', 'higher', 'deleted', 'the delete'],

  ['a delete', 'put', 'lower', 'stale', 'as before'],
  ['a delete', 'put', 'equal', 'indexed', 'what was put'],
  ['a delete', 'put', 'higher', 'indexed', 'what was put'],
  ['a delete', 'confirm of another', 'lower', 'stale', 'as before'],
  ['a delete', 'confirm of another', 'equal', 'changed', 'as before'],
  ['a delete', 'confirm of another', 'higher', 'changed', 'as before'],
  ['a delete', 'update of another', 'lower', 'stale', 'as before'],
  ['a delete', 'update of another', 'equal', 'changed', 'as before'],
  ['a delete', 'update of another', 'higher', 'changed', 'as before'],
  ['a delete', 'delete', 'lower', 'deleted', 'as before'],
  ['a delete', 'delete', 'equal', 'deleted', 'as before'],
  ['a delete', 'delete', 'higher', 'deleted', 'the delete'],
];

/** What the table says of a write: the answer, and what is remembered then. */
export function lookUpRule(
  before: Remembered | undefined,
  write: VersionedWrite,
): { result: DocumentWriteResult; after: Remembered | undefined } {
  const stored = before === undefined ? 'nothing' : before.kind === 'document' ? 'a document' : 'a delete';
  const row = VERSION_TABLE.find(
    ([oneStored, oneWrite, oneVersion]) =>
      oneStored === stored && oneWrite === nameOf(before, write) && comparesAs(oneVersion, before, write),
  );
  if (!row) throw new Error(`no row for ${JSON.stringify({ before, write })}`);
  const [, , , outcome, after] = row;
  return {
    result: outcome === 'stale' ? { outcome, storedVersion: before!.version } : { outcome },
    after: afterwards(after, before, write),
  };
}

function nameOf(before: Remembered | undefined, write: VersionedWrite): Write {
  if (write.kind === 'update') {
    const { expected } = write;
    const isSame =
      before?.kind === 'document' &&
      ('contentHash' in expected
        ? before.contentHash === expected.contentHash
        : before.encodingHash === expected.encodingHash);
    return isSame ? 'update of the same' : 'update of another';
  }
  if (write.kind !== 'confirm') return write.kind;
  const isSame = before?.kind === 'document' && before.contentHash === write.contentHash;
  return isSame ? 'confirm of the same' : 'confirm of another';
}

function comparesAs(name: Version, before: Remembered | undefined, { version }: VersionedWrite): boolean {
  if (before === undefined) return name === 'any';
  if (version === before.version) return name === 'equal';
  return name === (version < before.version ? 'lower' : 'higher');
}

function afterwards(
  after: After,
  before: Remembered | undefined,
  write: VersionedWrite,
): Remembered | undefined {
  const { version } = write;
  if (after === 'what was put' && write.kind === 'put') {
    const { contentHash, encodingHash } = write;
    return { kind: 'document', version, contentHash, encodingHash };
  }
  if (after === 'the document, updated' && write.kind === 'update' && before?.kind === 'document') {
    return { ...before, version, contentHash: write.contentHash };
  }
  if (after === 'the document, raised' && before) return { ...before, version };
  if (after === 'the delete') return version === 0 ? undefined : { kind: 'delete', version };
  return before;
}
