/** Vectors, one after another. */
export interface Vectors {
  /** As many times `dimensions` as there are vectors. */
  data: Float32Array;
  dimensions: number;
}

/** A document by its index, and how near its best passage is to the query. */
export interface Nearest {
  document: number;
  /** Inner product, in float32. */
  score: number;
}

/**
 * Exact search: the best documents of each query by their best passage, best first; ties by the order of documents.
 *
 * @param owners - index of the document that a passage belongs to, for each passage
 * @returns `depth` documents at the most, for each query
 */
export function searchExactly(
  queries: Vectors,
  passages: Vectors,
  owners: readonly number[],
  depth: number,
): Nearest[][] {
  const { dimensions } = passages;
  const count = owners.reduce((most, owner) => Math.max(most, owner + 1), 0);
  const rankings: Nearest[][] = [];
  for (let query = 0; query < queries.data.length; query += dimensions) {
    const best = new Float32Array(count).fill(-Infinity);
    for (const [passage, owner] of owners.entries()) {
      const score = dot(queries.data, query, passages.data, passage * dimensions, dimensions);
      if (score > best[owner]!) best[owner] = score;
    }
    rankings.push(
      [...best.keys()]
        .filter((owner) => best[owner]! > -Infinity)
        .sort((a, b) => best[b]! - best[a]! || a - b)
        .slice(0, depth)
        .map((document) => ({ document, score: best[document]! })),
    );
  }
  return rankings;
}

/** Inner product of two rows. */
function dot(a: Float32Array, from: number, b: Float32Array, at: number, size: number): number {
  let sum = 0;
  for (let index = 0; index < size; index++) sum += a[from + index]! * b[at + index]!;
  return sum;
}
