/** Anything that answers queries with documents, such as a running query service. */
export interface Ranker {
  name: string;
  /** Ids of documents, best first, each once. @param limit how many are wanted at the most */
  rank: (query: string, limit: number) => Promise<readonly string[]>;
}
