/** A document that answers a query. */
export interface Hit {
  id: string;
  /** Higher is better. */
  score: number;
}

/** Anything that answers queries with documents, such as a running query service. */
export interface Ranker {
  name: string;
  /** Documents, best first, each once. @param limit how many are wanted at the most */
  rank: (query: string, limit: number) => Promise<readonly Hit[]>;
}

/**
 * Orders hits as trec_eval does, whatever order they come in: scores are rounded to float32, the highest come first, and of
 * equal ones the highest id, compared by UTF-8 bytes.
 */
export function inTrecOrder(hits: readonly Hit[]): Hit[] {
  return hits
    .map(({ id, score }) => ({ id, score: Math.fround(score) }))
    .sort((a, b) => b.score - a.score || byIdDescending(a, b));
}

/** The order of documents whose scores are equal: as C's `strcmp` has it, backwards. */
export function byIdDescending(a: Pick<Hit, 'id'>, b: Pick<Hit, 'id'>): number {
  return Buffer.compare(Buffer.from(b.id), Buffer.from(a.id));
}
