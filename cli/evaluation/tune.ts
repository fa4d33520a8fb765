import { createHash } from 'node:crypto';
import { FUSION_METHODS, type Fusion, fuse } from '../../store/fusion.ts';
import { mean } from '../../training/evaluation/metrics.ts';
import type { BothLegs } from './legs.ts';

/** Weights and constants that are tried. */
const DENSE_WEIGHTS = Array.from({ length: 21 }, (_, step) => step / 20);
const RANK_CONSTANTS = [2, 10, 30, 60, 120];

/** The fusion that did best on some of the queries, and what it does on the others. */
export interface Tuned {
  fusion: Fusion;
  /** Queries that it was chosen on, and its nDCG@10 there. */
  development: { queries: number; ndcg10: number };
  /** The other queries, with what the fusion that was given has on them. */
  test: { queries: number; ndcg10: number; before: number };
}

/**
 * Looks for the fusion with the highest nDCG@10 on half of the queries. Which half a query is in depends on its number alone.
 * Of equally good ones it takes the one whose weight is nearest to the given one's.
 *
 * @param judge nDCG@10 of a ranking of a query
 */
export function tune(
  legs: readonly BothLegs[],
  given: Fusion,
  judge: (query: number, hits: ReturnType<typeof fuse>) => number,
): Tuned {
  const all = legs.map((_, query) => query);
  const development = all.filter(isDevelopment);
  const test = all.filter((query) => !isDevelopment(query));
  const over = (queries: readonly number[], fusion: Fusion): number =>
    mean(queries.map((query) => judge(query, fuse(legs[query]!.dense, legs[query]!.sparse, fusion))));
  const far = ({ denseWeight }: Fusion): number => Math.abs(denseWeight - given.denseWeight);
  let best = { fusion: given, ndcg10: over(development, given) };
  for (const fusion of candidates(given)) {
    const ndcg10 = over(development, fusion);
    if (ndcg10 > best.ndcg10 || (ndcg10 === best.ndcg10 && far(fusion) < far(best.fusion)))
      best = { fusion, ndcg10 };
  }
  return {
    fusion: best.fusion,
    development: { queries: development.length, ndcg10: best.ndcg10 },
    test: { queries: test.length, ndcg10: over(test, best.fusion), before: over(test, given) },
  };
}

function isDevelopment(query: number): boolean {
  return createHash('sha256').update(String(query)).digest()[0]! % 2 === 0;
}

function candidates({ k }: Fusion): Fusion[] {
  return FUSION_METHODS.flatMap((method) =>
    (method === 'ranks' ? RANK_CONSTANTS : [k]).flatMap((constant) =>
      DENSE_WEIGHTS.map((denseWeight) => ({ method, k: constant, denseWeight })),
    ),
  );
}
