import type { SparseVector } from './document.ts';
import type { SearchQuery } from './queries.ts';
import { bestFirst, type Ranked } from './ranking.ts';

/**
 * Fusion: how the two rankings of a hybrid search, its legs, become one. Every store returns its legs and fuses them here,
 * so that equal legs give equal scores whatever store they come from. Fused scores go from 0 to 1: a document that is first
 * in both legs has 1, and one that is in no leg is not found.
 */

/** The legs of a hybrid search. */
export const LEGS = ['dense', 'sparse'] as const;
export type Leg = (typeof LEGS)[number];

/**
 * What a place in a leg is worth before it is weighted, from 0 to 1.
 *
 * - `ranks`: (k + 1) / (k + rank), which is reciprocal rank fusion (Cormack et al., SIGIR 2009) on a scale that ends at 1.
 * - `scores`: its score as a share of the leg's highest: with the weights a convex combination (Bruch et al., TOIS 2023).
 * - `distribution`: its score between three standard deviations below and above the mean of the leg's first
 *   {@link HYBRID_CANDIDATES} scores.
 */
export const FUSION_METHODS = ['ranks', 'scores', 'distribution'] as const;
export type FusionMethod = (typeof FUSION_METHODS)[number];

/** How the legs of a hybrid search are fused. */
export interface Fusion {
  method: FusionMethod;
  /** How fast ranks lose worth, 1 to 1000; of the method `ranks` alone. */
  k: number;
  /** The dense leg's share of the score, 0 to 1. The sparse leg has the rest. */
  denseWeight: number;
}

/** The constant of reciprocal rank fusion; Cormack et al. (SIGIR 2009) found 60 to work across collections. */
export const RRF_K = 60;

/**
 * What measured best on the data sets at hand, as `docs/hybrid.md` has it. `eval --mode hybrid --tune` finds what is best
 * for one collection.
 */
export const DEFAULT_FUSION: Fusion = { method: 'scores', k: RRF_K, denseWeight: 0.6 };

/** What the words of a query say of its vector. */
export interface QueryWords {
  /** Words that say something. */
  count: number;
  /** Share of them that is unfinished or mistyped, so that the vector is that of a guess. */
  guessed: number;
}

/** What the dense leg loses of its weight on a query of one word, half as much on one of two: its vector says little more than the word. */
const LOST_BY_BREVITY = 1 / 6;

/** What it loses where the whole query is guessed at: the terms are all that it may have been meant to be, the vector is one. */
const LOST_BY_GUESSING = 1 / 3;

/** How a query is fused where it does not say: the dense leg weighs less where the vector says less. */
export function fusionOf(own: Fusion, words: QueryWords | undefined): Fusion {
  if (!words) return own;
  const { count, guessed } = words;
  const lost = LOST_BY_BREVITY / Math.max(1, count) + LOST_BY_GUESSING * guessed;
  return { ...own, denseWeight: own.denseWeight * (1 - lost) };
}

/** Depth of each leg: deep enough that fusion seldom misses a document of the top ten. */
export const HYBRID_CANDIDATES = 100;

/** How far from the mean a score may be before it counts as the lowest or highest, in standard deviations. */
const DEVIATIONS = 3;

/** The least that a place in a leg is worth: the lowest of a leg is still better than what the leg does not have. */
const LEAST_WORTH = 0.01;

/** A document's place in one leg. */
export interface LegPlace {
  /** From 1. */
  rank: number;
  /** Cosine, or BM25 score. */
  score: number;
}

/** A document's places in both legs; a leg that does not have it is absent. */
export type LegPlaces = Partial<Record<Leg, LegPlace>>;

/** A document of a fused ranking. */
export type Fused<Document extends Ranked> = Document & { legs: LegPlaces };

/** The share of the fused score that a leg gives at most. */
export function weightOf(leg: Leg, { denseWeight }: Fusion): number {
  return leg === 'dense' ? denseWeight : 1 - denseWeight;
}

/**
 * What each place of a leg adds to fused scores, in the leg's order.
 * However deep the leg is, its first places are worth the same, so that a document's score does not depend on the page that
 * shows it.
 *
 * @param leg scores, best first
 */
export function sharesOf(leg: Leg, scores: readonly number[], fusion: Fusion = DEFAULT_FUSION): number[] {
  const weight = weightOf(leg, fusion);
  const worth = worthOf(scores, fusion);
  return scores.map((score, index) => weight * worth(score, index + 1));
}

function worthOf(scores: readonly number[], { method, k }: Fusion): (score: number, rank: number) => number {
  if (method === 'ranks') return (_, rank) => (k + 1) / (k + rank);
  const [low, high] =
    method === 'scores' ? shareBounds(scores) : deviations(scores.slice(0, HYBRID_CANDIDATES));
  return (score, rank) => {
    const least = (LEAST_WORTH * HYBRID_CANDIDATES) / (HYBRID_CANDIDATES + rank);
    // Past the places that a distribution is made of, what is left is the order.
    if (method === 'distribution' && rank > HYBRID_CANDIDATES) return least;
    const place = high > low ? Math.min(1, Math.max(0, (score - low) / (high - low))) : 1;
    return least + (1 - least) * place;
  };
}

/** Cosines below 0 are rare, and nearer than no place at all only by their order; where all are, they are compared from -1 up. */
function shareBounds([high = 0]: readonly number[]): [low: number, high: number] {
  return [high > 0 ? 0 : -1, high];
}

function deviations(scores: readonly number[]): [low: number, high: number] {
  const mean = scores.reduce((sum, score) => sum + score, 0) / scores.length;
  const variance = scores.reduce((sum, score) => sum + (score - mean) ** 2, 0) / scores.length;
  const reach = DEVIATIONS * Math.sqrt(variance);
  return [mean - reach, mean + reach];
}

/**
 * Two legs as one ranking, best first; equal scores by document id. The best passage is that of the dense leg, if it has the
 * document.
 */
export function fuse<Document extends Ranked>(
  dense: readonly Document[],
  sparse: readonly Document[],
  fusion: Fusion = DEFAULT_FUSION,
): Fused<Document>[] {
  const fused = new Map<string, Fused<Document>>();
  for (const [leg, ranking] of [
    ['dense', dense],
    ['sparse', sparse],
  ] as const) {
    const shares = sharesOf(
      leg,
      ranking.map(({ score }) => score),
      fusion,
    );
    for (const [index, document] of ranking.entries()) {
      const place = { rank: index + 1, score: document.score };
      const before = fused.get(document.documentId);
      if (before) {
        before.score += shares[index]!;
        before.legs[leg] = place;
      } else {
        fused.set(document.documentId, { ...document, score: shares[index]!, legs: { [leg]: place } });
      }
    }
  }
  return [...fused.values()].sort(bestFirst);
}

/** How many documents a ranking needs to answer a query. */
export function rankingDepth(query: SearchQuery): number {
  const wanted = query.limit + (query.offset ?? 0);
  return query.vector && query.sparse ? Math.max(HYBRID_CANDIDATES, wanted) : wanted;
}

/** One ranking of a store: its `depth` best documents with a score of at least `least`. */
type Rank<Vector, Document> = (vector: Vector, depth: number, least: number) => readonly Document[];

/** The ranking for a query, as deep as the query needs: dense, sparse, or both fused. */
export function rankBy<Document extends Ranked>(
  query: SearchQuery,
  dense: Rank<Float32Array, Document>,
  sparse: Rank<SparseVector, Document>,
): readonly (Document | Fused<Document>)[] {
  const { vector, sparse: terms, scoreThreshold = -Infinity } = query;
  const depth = rankingDepth(query);
  // The threshold holds for the fused score, so neither ranking can apply it.
  if (vector && terms) {
    return fuse(dense(vector, depth, -Infinity), sparse(terms, depth, -Infinity), query.fusion);
  }
  if (vector) return dense(vector, depth, scoreThreshold);
  return terms ? sparse(terms, depth, scoreThreshold) : [];
}
