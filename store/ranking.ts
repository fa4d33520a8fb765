import type { SearchQuery } from './queries.ts';

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

/** The page of a ranking that a query asks for. */
export function page<Document extends Ranked>(ranking: readonly Document[], query: SearchQuery): Document[] {
  const { limit, offset = 0, scoreThreshold = -Infinity } = query;
  return ranking.filter((document) => document.score >= scoreThreshold).slice(offset, offset + limit);
}
