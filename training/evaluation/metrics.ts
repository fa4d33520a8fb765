/** How well documents answer a query, by id. Documents with a grade above 0 are relevant; 0 and less says that one is not. */
export type Grades = ReadonlyMap<string, number>;

/**
 * nDCG@k as trec_eval and BEIR have it: gains are grades, discounts are binary logarithms, and the ideal ranking is
 * that of all relevant documents (Järvelin and Kekäläinen, 2002). A grade below 0 gains as little as 0. Of a query without
 * relevant documents it is 0.
 */
export function ndcg(ranking: readonly string[], grades: Grades, k: number): number {
  const ideal = gain([...grades.values()].sort((a, b) => b - a).slice(0, k));
  return ideal === 0 ? 0 : gain(ranking.slice(0, k).map((id) => grades.get(id) ?? 0)) / ideal;
}

/** One over the rank of the first relevant document among the first k; 0 where there is none. */
export function reciprocalRank(ranking: readonly string[], grades: Grades, k: number): number {
  const index = ranking.slice(0, k).findIndex((id) => isRelevant(grades, id));
  return index < 0 ? 0 : 1 / (index + 1);
}

/** Share of the relevant documents that are among the first k; 0 where there are none. */
export function recall(ranking: readonly string[], grades: Grades, k: number): number {
  const relevant = [...grades.values()].filter((grade) => grade > 0).length;
  return relevant === 0 ? 0 : ranking.slice(0, k).filter((id) => isRelevant(grades, id)).length / relevant;
}

/** Mean; 0 of nothing. */
export function mean(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}

function isRelevant(grades: Grades, id: string): boolean {
  return (grades.get(id) ?? 0) > 0;
}

function gain(grades: readonly number[]): number {
  return grades.reduce((sum, grade, index) => sum + Math.max(0, grade) / Math.log2(index + 2), 0);
}
