import type { DocumentWrite, DocumentWriteResult } from '../store.ts';
import { applyVersionRule, type Remembered } from '../versions.ts';
import type { Head } from './layout.ts';

export type Put = Extract<DocumentWrite, { kind: 'put' }>;

/** The combined effect of some steps on one document. */
export type Change =
  | { kind: 'put'; put: Put; version: number }
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
  const results = steps.map((step) => {
    const { result, after } = applyVersionRule(remembered, step);
    if (step.kind === 'put' && result.outcome === 'indexed') put = step;
    if (after?.kind !== 'document') put = undefined;
    remembered = after;
    return result;
  });

  // A delete without a version (0) leaves a tombstone too, if there is a document to replace.
  const version = remembered?.version ?? 0;
  if (remembered?.kind === 'document') {
    if (put) return { results, change: { kind: 'put', put, version } };
    return version > head!.version ? { results, change: { kind: 'confirm', version } } : { results };
  }
  const isNews = head?.live === true || version > (head?.version ?? 0);
  return isNews ? { results, change: { kind: 'delete', version } } : { results };
}

function rememberedIn({ live, version, contentHash }: Head): Remembered {
  return live ? { kind: 'document', version, contentHash } : { kind: 'delete', version };
}
