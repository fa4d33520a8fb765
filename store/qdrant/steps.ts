import type { DocumentWrite, DocumentWriteResult } from '../writes.ts';
import { applyVersionRule, type Remembered } from '../versions.ts';
import type { Head } from './layout.ts';

export type Put = Extract<DocumentWrite, { kind: 'put' }>;
export type Update = Extract<DocumentWrite, { kind: 'update' }>;

/** The combined effect of some steps on one document. */
export type Change =
  /** @property latest has the metadata, expiry and content hash: the put, or an update that follows it */
  | { kind: 'put'; put: Put; latest: Put | Update; version: number }
  | { kind: 'update'; update: Update; version: number }
  | { kind: 'confirm'; version: number }
  | { kind: 'delete'; version: number };

/**
 * Applies steps to a document as it is stored. Returns the answers, and one change with the effect of all
 * steps.
 *
 * @param head of the document; `undefined` if there is none
 */
export function applySteps(
  steps: readonly DocumentWrite[],
  head: Head | undefined,
): { results: DocumentWriteResult[]; change?: Change } {
  let remembered = head && rememberedIn(head);
  let put: Put | undefined;
  let update: Update | undefined;
  const results = steps.map((step) => {
    const { result, after } = applyVersionRule(remembered, step);
    if (step.kind === 'put' && result.outcome === 'indexed') {
      put = step;
      update = undefined;
    }
    if (step.kind === 'update' && result.outcome === 'updated') update = step;
    if (after?.kind !== 'document') {
      put = undefined;
      update = undefined;
    }
    remembered = after;
    return result;
  });

  // A delete without a version (0) leaves a tombstone too, if there is a document to replace.
  const version = remembered?.version ?? 0;
  if (remembered?.kind === 'document') {
    if (put) return { results, change: { kind: 'put', put, latest: update ?? put, version } };
    if (update) return { results, change: { kind: 'update', update, version } };
    return version > head!.version ? { results, change: { kind: 'confirm', version } } : { results };
  }
  const isNews = head?.live === true || version > (head?.version ?? 0);
  return isNews ? { results, change: { kind: 'delete', version } } : { results };
}

/** A document that has expired counts as a delete of its version. */
function rememberedIn({ live, version, contentHash, encodingHash }: Head): Remembered {
  if (!live) return { kind: 'delete', version };
  return { kind: 'document', version, contentHash, ...(encodingHash !== undefined && { encodingHash }) };
}
