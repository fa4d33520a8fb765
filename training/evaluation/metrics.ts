/** Grades of the documents that are relevant to a query, by id; all above 0. */
export type Grades = ReadonlyMap<string, number>;

/**
 * nDCG@k as trec_eval and BEIR have it: gains are grades, discounts are binary logarithms, and the ideal ranking is
 * that of all relevant documents (Järvelin and Kekäläinen, 2002).
 */
export function ndcg(ranking: readonly string[], relevant: Grades, k: number): number {
  const ideal = [...relevant.values()].sort((a, b) => b - a).slice(0, k);
  return gain(ranking.slice(0, k).map((id) => relevant.get(id) ?? 0)) / gain(ideal);
}

/** One over the rank of the first relevant document among the first k; 0 where there is none. */
export function reciprocalRank(ranking: readonly string[], relevant: Grades, k: number): number {
  const index = ranking.slice(0, k).findIndex((id) => relevant.has(id));
  return index < 0 ? 0 : 1 / (index + 1);
}

/** Share of the relevant documents that are among the first k. */
export function recall(ranking: readonly string[], relevant: Grades, k: number): number {
  return ranking.slice(0, k).filter((id) => relevant.has(id)).length / relevant.size;
}

/** Mean; 0 of nothing. */
export function mean(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}

function gain(grades: readonly number[]): number {
  return grades.reduce((sum, grade, index) => sum + grade / Math.log2(index + 2), 0);
}
