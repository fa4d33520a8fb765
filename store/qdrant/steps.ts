import type { DocumentWrite, DocumentWriteResult } from '../store.ts';
import { applyVersionRule, type Remembered } from '../versions.ts';
import type { Head } from './layout.ts';

export type Put = Extract<DocumentWrite, { kind: 'put' }>;

/** What some steps on one document come to: what has to be made of it. */
export type Change =
  | { kind: 'put'; put: Put; version: number }
  | { kind: 'confirm'; version: number }
  | { kind: 'delete'; version: number };

/**
 * Applies steps on one document to what is stored of it: the answers, and the one change that has their effect.
 *
 * @param head of the document; `undefined` where there is none
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

  // Without a version above 0 a delete leaves a tombstone all the same, where there is a document to replace.
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
