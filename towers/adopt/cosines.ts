/** How near a tower's vectors are to stored ones. */
export interface Cosines {
  /** How many texts were compared. */
  texts: number;
  median: number;
  /** One text in twenty is further away than this. */
  percentile5: number;
  /** Share of the texts below 0.95. */
  below95: number;
  lowest: number;
  /** How many texts lie between two of {@link BOUNDS}, from the lowest on. */
  histogram: readonly number[];
}

/** Where the bars of a histogram begin and end. */
export const BOUNDS: readonly number[] = [-1, 0.5, 0.8, 0.9, 0.95, 0.99, 0.999, 1];

/** A tower's vectors are the stored ones from this median on, */
export const LEAST_MEDIAN = 0.99;

/** and up to this share of texts below 0.95. */
export const MOST_BELOW = 0.05;

const FAR = 0.95;

/** The distribution of cosines between the rows of two matrices. A row of zeros is far from everything. */
export function compare(rows: Float32Array, stored: readonly Float32Array[], dimensions: number): Cosines {
  const cosines = Float64Array.from(stored, (vector, row) =>
    cosine(rows.subarray(row * dimensions, (row + 1) * dimensions), vector),
  ).sort();
  const histogram = BOUNDS.slice(1).map(() => 0);
  for (const value of cosines) {
    const above = BOUNDS.findLastIndex((bound) => value >= bound);
    histogram[Math.min(Math.max(above, 0), histogram.length - 1)]!++;
  }
  return {
    texts: cosines.length,
    median: quantile(cosines, 0.5),
    percentile5: quantile(cosines, 0.05),
    below95: cosines.filter((value) => value < FAR).length / Math.max(1, cosines.length),
    lowest: cosines[0] ?? 0,
    histogram,
  };
}

/** Whether vectors are one and the same tower's. */
export function passes({ texts, median, below95 }: Cosines): boolean {
  return texts > 0 && median >= LEAST_MEDIAN && below95 <= MOST_BELOW;
}

/** Whether one explanation leaves less than half of what another one leaves unexplained. */
export function isClearlyBetter(one: Cosines, other: Cosines): boolean {
  return 1 - other.median > NOISE && 1 - one.median < (1 - other.median) / 2;
}

/** So much differs between processors, and between texts alone and in a batch, of one model. */
export const NOISE = 5e-4;

export function cosine(a: Float32Array, b: Float32Array): number {
  let dot = 0;
  let squaresA = 0;
  let squaresB = 0;
  for (let index = 0; index < a.length; index++) {
    dot += a[index]! * b[index]!;
    squaresA += a[index]! ** 2;
    squaresB += b[index]! ** 2;
  }
  const product = Math.sqrt(squaresA * squaresB);
  return product > 0 && Number.isFinite(product) ? Math.min(1, Math.max(-1, dot / product)) : -1;
}

/** @param sorted upwards */
function quantile(sorted: Float64Array, share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
}
