import type { Pooling, PoolingMode } from '../space.ts';

/** Token vectors of a batch, as a model returns them. */
export interface TokenVectors {
  /** batch × length × width, row after row. */
  data: Float32Array;
  batch: number;
  length: number;
  width: number;
  /** batch × length: 1 for a token, 0 for padding, on whichever side it is. */
  mask: Uint8Array;
  /** How many tokens at the start of each input do not count: those of a prompt that is read and not pooled. */
  unpooled?: Int32Array | undefined;
}

/** The tokens of one input. */
interface Row {
  /** Positions that are pooled. */
  positions: readonly number[];
  /** Position of the first token, pooled or not. */
  first: number;
  /** Vector of the token at a position. */
  at: (position: number) => Float32Array;
}

/**
 * One vector for each input, cut to its first `dimensions` components (Matryoshka representation learning,
 * arXiv:2205.13147; the cut comes before the normalisation). Of several modes the vectors stand one after the other, in
 * the order of the list. An input of no tokens has a vector of zeros.
 *
 * @returns batch × dimensions
 */
export function pool(tokens: TokenVectors, pooling: Pooling, dimensions: number): Float32Array<ArrayBuffer> {
  const { batch, width } = tokens;
  const modes = typeof pooling === 'string' ? [pooling] : pooling;
  const vectors = new Float32Array(batch * dimensions);
  for (let index = 0; index < batch; index++) {
    for (const [place, mode] of modes.entries()) {
      const start = place * width;
      const kept = Math.min(width, dimensions - start);
      if (kept <= 0) break;
      const from = index * dimensions + start;
      const row = rowOf(tokens, index, kept);
      if (row.positions.length > 0) MODES[mode](row, vectors.subarray(from, from + kept));
    }
  }
  return vectors;
}

/** @param kept components of each token that are looked at */
function rowOf({ data, length, width, mask, unpooled }: TokenVectors, index: number, kept: number): Row {
  const positions: number[] = [];
  for (let position = 0; position < length; position++) {
    if (mask[index * length + position] !== 0) positions.push(position);
  }
  return {
    positions: positions.slice(unpooled?.[index] ?? 0),
    first: positions[0] ?? 0,
    at: (position) => {
      const start = (index * length + position) * width;
      return data.subarray(start, start + kept);
    },
  };
}

const MODES: Readonly<Record<PoolingMode, (row: Row, into: Float32Array) => void>> = {
  mean: (row, into) =>
    weightedSum(
      row,
      into,
      () => 1,
      (weights) => weights,
    ),
  mean_sqrt_len_tokens: (row, into) => weightedSum(row, into, () => 1, Math.sqrt),
  // A prompt that is not pooled keeps its places: the token after it has not the weight of a first one.
  weightedmean: (row, into) =>
    weightedSum(
      row,
      into,
      (position) => position - row.first + 1,
      (weights) => weights,
    ),
  cls: ({ positions, at }, into) => into.set(at(positions[0]!)),
  last: ({ positions, at }, into) => into.set(at(positions.at(-1)!)),
  max: ({ positions, at }, into) => {
    into.fill(Number.NEGATIVE_INFINITY);
    for (const position of positions) {
      const token = at(position);
      for (let i = 0; i < into.length; i++) into[i] = Math.max(into[i]!, token[i]!);
    }
  },
};

function weightedSum(
  { positions, at }: Row,
  into: Float32Array,
  weightAt: (position: number) => number,
  divisor: (weights: number) => number,
): void {
  let weights = 0;
  for (const position of positions) {
    const weight = weightAt(position);
    weights += weight;
    const token = at(position);
    for (let i = 0; i < into.length; i++) into[i]! += weight * token[i]!;
  }
  const by = divisor(weights);
  for (let i = 0; i < into.length; i++) into[i]! /= by;
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
