import { createHash } from 'node:crypto';
import { FUSION_METHODS, type Fusion, fuse, fusionOf } from '../../store/fusion.ts';
import { mean } from '../../training/evaluation/metrics.ts';
import type { BothLegs } from './legs.ts';
import type { TitleLegs } from './title-legs.ts';

/** Weights and constants that are tried. */
const DENSE_WEIGHTS = Array.from({ length: 21 }, (_, step) => step / 20);
const RANK_CONSTANTS = [2, 10, 30, 60, 120];

/** What a fusion is chosen by: labelled queries, or titles that have to find the documents they were taken from. */
export const TUNED_BY = ['labels', 'titles'] as const;
export type TunedBy = (typeof TUNED_BY)[number];

/** The fusion that did best on some queries, and what it does on others. */
export interface Tuned {
  by: TunedBy;
  fusion: Fusion;
  /** Queries that it was chosen on, and what it has there: nDCG@10, or for titles the mean reciprocal rank in the first ten. */
  development: { queries: number; measure: number };
  /** Labelled queries that it was not chosen on, with what the fusion that was given has on them. */
  test: { queries: number; ndcg10: number; before: number };
}

type Fused = ReturnType<typeof fuse>;
/** What a ranking of a query is worth. */
type Judge = (query: number, hits: Fused) => number;

/**
 * Looks for the fusion with the highest nDCG@10 on half of the queries. Which half a query is in depends on its number alone.
 * Of equally good ones it takes the one whose weight is nearest to the given one's.
 */
export function tune(legs: readonly BothLegs[], given: Fusion, judge: Judge): Tuned {
  const all = legs.map((_, query) => query);
  const development = all.filter(isDevelopment);
  const test = all.filter((query) => !isDevelopment(query));
  const [fusion, measure] = best(legs, development, given, judge);
  return {
    by: 'labels',
    fusion,
    development: { queries: development.length, measure },
    test: tested(legs, test, { given, fusion, judge }),
  };
}

/** The same without labels: it chooses on titles, and all labelled queries say what that is worth. */
export function tuneByTitles(
  { legs: titles, ids }: TitleLegs,
  legs: readonly BothLegs[],
  given: Fusion,
  judge: Judge,
): Tuned {
  const reciprocalRank: Judge = (title, hits) => {
    const place = hits.slice(0, 10).findIndex(({ documentId }) => documentId === ids[title]);
    return place < 0 ? 0 : 1 / (place + 1);
  };
  const [fusion, measure] = best(titles, [...titles.keys()], given, reciprocalRank);
  return {
    by: 'titles',
    fusion,
    development: { queries: titles.length, measure },
    test: tested(legs, [...legs.keys()], { given, fusion, judge }),
  };
}

function tested(
  legs: readonly BothLegs[],
  queries: readonly number[],
  { given, fusion, judge }: { given: Fusion; fusion: Fusion; judge: Judge },
): Tuned['test'] {
  return {
    queries: queries.length,
    ndcg10: over(legs, queries, fusion, judge),
    before: over(legs, queries, given, judge),
  };
}

function best(
  legs: readonly BothLegs[],
  queries: readonly number[],
  given: Fusion,
  judge: Judge,
): [fusion: Fusion, measure: number] {
  const far = ({ denseWeight }: Fusion): number => Math.abs(denseWeight - given.denseWeight);
  let found = { fusion: given, measure: over(legs, queries, given, judge) };
  for (const fusion of candidates(given)) {
    const measure = over(legs, queries, fusion, judge);
    if (measure > found.measure || (measure === found.measure && far(fusion) < far(found.fusion)))
      found = { fusion, measure };
  }
  return [found.fusion, found.measure];
}

function over(legs: readonly BothLegs[], queries: readonly number[], fusion: Fusion, judge: Judge): number {
  return mean(
    queries.map((query) => {
      const { dense, sparse, words } = legs[query]!;
      return judge(query, fuse(dense, sparse, fusionOf(fusion, words)));
    }),
  );
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
