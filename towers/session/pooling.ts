import type { Pooling } from '../space.ts';

/** Token vectors of a batch, as a model returns them. */
export interface TokenVectors {
  /** batch × length × width, row after row. */
  data: Float32Array;
  batch: number;
  length: number;
  width: number;
  /** batch × length: 1 for a token, 0 for padding, on whichever side it is. */
  mask: Uint8Array;
}

/**
 * One vector for each input, cut to its first `dimensions` components (Matryoshka representation learning,
 * arXiv:2205.13147; the cut comes before the normalisation).
 *
 * `mean`: of the tokens; `cls`: the first token; `last`: the last token. An input of no tokens has a vector of zeros.
 *
 * @returns batch × dimensions
 */
export function pool(
  { data, batch, length, width, mask }: TokenVectors,
  pooling: Pooling,
  dimensions: number,
): Float32Array<ArrayBuffer> {
  const vectors = new Float32Array(batch * dimensions);
  for (let row = 0; row < batch; row++) {
    const rowMask = mask.subarray(row * length, (row + 1) * length);
    const vector = vectors.subarray(row * dimensions, (row + 1) * dimensions);
    const tokenVector = (position: number): Float32Array => {
      const start = (row * length + position) * width;
      return data.subarray(start, start + dimensions);
    };
    if (pooling === 'mean') {
      let tokens = 0;
      for (let position = 0; position < length; position++) {
        if (rowMask[position] === 0) continue;
        tokens++;
        const token = tokenVector(position);
        for (let i = 0; i < dimensions; i++) vector[i]! += token[i]!;
      }
      if (tokens > 0) for (let i = 0; i < dimensions; i++) vector[i]! /= tokens;
    } else {
      const position = pooling === 'cls' ? rowMask.indexOf(1) : rowMask.lastIndexOf(1);
      if (position >= 0) vector.set(tokenVector(position));
    }
  }
  return vectors;
}

/** First `dimensions` components of each row. */
export function cutRows(rows: Float32Array, width: number, dimensions: number): Float32Array<ArrayBuffer> {
  const count = rows.length / width;
  const cut = new Float32Array(count * dimensions);
  for (let row = 0; row < count; row++) {
    cut.set(rows.subarray(row * width, row * width + dimensions), row * dimensions);
  }
  return cut;
}

/** Scales each row to unit length, in place. A row of zeros stays. */
export function normalizeRows(rows: Float32Array, width: number): void {
  for (let start = 0; start < rows.length; start += width) {
    let squares = 0;
    for (let i = start; i < start + width; i++) squares += rows[i]! * rows[i]!;
    if (squares === 0) continue;
    const scale = 1 / Math.sqrt(squares);
    for (let i = start; i < start + width; i++) rows[i]! *= scale;
  }
}
