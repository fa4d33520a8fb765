import { HYBRID_CANDIDATES, RRF_K, type SearchQuery } from './queries.ts';
import type { SparseVector } from './document.ts';

/** A document's place in a ranking. */
export interface Ranked {
  documentId: string;
  score: number;
  /** Index of the best passage. */
  passage: number;
}

/** Higher scores first; equal scores by document id. */
export function bestFirst(a: Ranked, b: Ranked): number {
  if (a.score !== b.score) return b.score - a.score;
  return a.documentId < b.documentId ? -1 : Number(a.documentId > b.documentId);
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
): readonly Document[] {
  const { vector, sparse: terms, scoreThreshold = -Infinity } = query;
  const depth = rankingDepth(query);
  // The threshold holds for the fused score, so neither ranking can apply it.
  if (vector && terms) return fuse(dense(vector, depth, -Infinity), sparse(terms, depth, -Infinity));
  if (vector) return dense(vector, depth, scoreThreshold);
  return terms ? sparse(terms, depth, scoreThreshold) : [];
}

/**
 * Reciprocal rank fusion (Cormack et al., SIGIR 2009) of two rankings, best first. The best passage is that
 * of the dense ranking, if it has the document.
 */
export function fuse<Document extends Ranked>(
  dense: readonly Document[],
  sparse: readonly Document[],
): Document[] {
  const fused = new Map<string, Document>();
  for (const ranking of [dense, sparse]) {
    for (const [index, document] of ranking.entries()) {
      const before = fused.get(document.documentId);
      const score = 1 / (RRF_K + index + 1) + (before?.score ?? 0);
      fused.set(document.documentId, { ...(before ?? document), score });
    }
  }
  return [...fused.values()].sort(bestFirst);
}

/** The page of a ranking that a query asks for. */
export function page<Document extends Ranked>(ranking: readonly Document[], query: SearchQuery): Document[] {
  const { limit, offset = 0, scoreThreshold = -Infinity } = query;
  return ranking.filter((document) => document.score >= scoreThreshold).slice(offset, offset + limit);
}
