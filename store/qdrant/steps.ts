import type { DocumentWrite, DocumentWriteResult } from '../store.ts';
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
  let stored = head?.live ? { version: head.version, contentHash: head.contentHash } : undefined;
  let deleted = head && !head.live ? head.version : undefined;
  let put: Put | undefined;

  const results = steps.map((step): DocumentWriteResult => {
    if (stored && stored.version > step.version) return { outcome: 'stale', storedVersion: stored.version };
    if (step.kind === 'delete') {
      if (stored) deleted = step.version;
      else if (step.version > 0) deleted = Math.max(deleted ?? 0, step.version);
      stored = undefined;
      put = undefined;
      return { outcome: 'deleted' };
    }
    if (!stored && deleted !== undefined && deleted > step.version) {
      return { outcome: 'stale', storedVersion: deleted };
    }
    if (step.kind === 'confirm') {
      if (!stored || stored.contentHash !== step.contentHash) return { outcome: 'changed' };
      stored.version = step.version;
      return { outcome: 'unchanged' };
    }
    stored = { version: step.version, contentHash: step.contentHash };
    put = step;
    return { outcome: 'indexed' };
  });

  if (put && stored) return { results, change: { kind: 'put', put, version: stored.version } };
  if (stored) {
    const raised = stored.version > head!.version;
    return raised ? { results, change: { kind: 'confirm', version: stored.version } } : { results };
  }
  const known = head?.live ? -1 : (head?.version ?? 0);
  return deleted !== undefined && deleted > known
    ? { results, change: { kind: 'delete', version: deleted } }
    : { results };
}
