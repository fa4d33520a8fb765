import { dot } from '../evaluation/search.ts';

/** How often each token is in each text: a sparse matrix, row by row (CSR). */
export interface TokenCounts {
  rows: number;
  /** Where each row begins in `tokens`; one more than there are rows. */
  starts: Int32Array;
  tokens: Int32Array;
  counts: Float32Array;
}

/** What is fitted to what. */
export interface LookupProblem {
  texts: TokenCounts;
  /** Unit vectors of the texts, `rows` × `dimensions`. */
  targets: Float32Array;
  dimensions: number;
  /** Where the token vectors start, and what a rare token is held to: tokens × `dimensions`. */
  prior: Float32Array;
  /** Strength of the ridge towards the prior, for each token. */
  ridge: number;
}

/** Rounds of reweighting, and iterations of conjugate gradients in the first and in each later one: 30 in all. */
const ROUNDS = 5;
const FIRST_ITERATIONS = 10;
const LATER_ITERATIONS = 5;

/** Iterations that {@link solveLookup} makes. */
export const ITERATIONS = FIRST_ITERATIONS + (ROUNDS - 1) * LATER_ITERATIONS;

/** A text that the student gets wholly wrong is not given all the weight there is. */
const MIN_COSINE = 0.2;

/** Counts tokens. */
export function countTokens(texts: readonly (readonly number[])[]): TokenCounts {
  const starts = new Int32Array(texts.length + 1);
  const tokens: number[] = [];
  const counts: number[] = [];
  for (const [row, ids] of texts.entries()) {
    const inRow = new Map<number, number>();
    for (const id of ids) inRow.set(id, (inRow.get(id) ?? 0) + 1);
    for (const [id, count] of inRow) {
      tokens.push(id);
      counts.push(count);
    }
    starts[row + 1] = tokens.length;
  }
  return { rows: texts.length, starts, tokens: Int32Array.from(tokens), counts: Float32Array.from(counts) };
}

/**
 * A vector for each token, such that the sum over a text's tokens points where the teacher's vector does.
 *
 * Only the direction counts, so the mean cosine is maximised, by iteratively reweighted least squares: with the best
 * scale for a text, its squared residual is 1 − cos², whose slope is that of the cosine times 2 cos; dividing its
 * weight by the cosine makes the two objectives' slopes agree. Each round is a ridge regression towards the prior,
 * solved by conjugate gradients with a diagonal preconditioner from where the last round ended.
 *
 * @returns token vectors, as `prior` is laid out
 */
export function solveLookup(problem: LookupProblem, onRound?: (round: number) => void): Float32Array {
  const { texts, targets, dimensions, prior } = problem;
  const vectors = prior.slice();
  const scales = new Float32Array(texts.rows);
  for (let row = 0; row < texts.rows; row++) scales[row] = 1 / Math.sqrt(lengthOf(texts, row));
  const weights = new Float32Array(texts.rows).fill(1);
  const sums = new Float32Array(targets.length);
  for (let round = 0; round < ROUNDS; round++) {
    if (round > 0) {
      multiply(texts, undefined, vectors, dimensions, sums);
      for (let row = 0; row < texts.rows; row++) {
        const at = row * dimensions;
        const norm = Math.sqrt(dot(sums, at, sums, at, dimensions)) || 1;
        const cosine = Math.min(1, Math.max(MIN_COSINE, dot(sums, at, targets, at, dimensions) / norm));
        weights[row] = 1 / Math.sqrt(cosine);
        scales[row] = (weights[row]! * cosine) / norm;
      }
    }
    conjugateGradients(problem, scales, weights, vectors, round === 0 ? FIRST_ITERATIONS : LATER_ITERATIONS);
    onRound?.(round + 1);
  }
  return vectors;
}

/**
 * Minimises Σ ‖scale · (counts · vectors) − weight · target‖² + ridge · ‖vectors − prior‖² over the vectors, all
 * dimensions side by side, each with its own step.
 */
function conjugateGradients(
  { texts, targets, dimensions, prior, ridge }: LookupProblem,
  scales: Float32Array,
  weights: Float32Array,
  vectors: Float32Array,
  iterations: number,
): void {
  const size = vectors.length;
  const product = new Float32Array(targets.length);
  const residual = new Float32Array(size);
  multiply(texts, scales, vectors, dimensions, product);
  for (let index = 0; index < product.length; index++) {
    product[index] = targets[index]! * weights[Math.floor(index / dimensions)]! - product[index]!;
  }
  multiplyTransposed(texts, scales, product, dimensions, residual);
  for (let index = 0; index < size; index++) residual[index]! += ridge * (prior[index]! - vectors[index]!);

  const diagonal = new Float32Array(size / dimensions).fill(ridge);
  for (let row = 0; row < texts.rows; row++) {
    for (let entry = texts.starts[row]!; entry < texts.starts[row + 1]!; entry++) {
      diagonal[texts.tokens[entry]!]! += (texts.counts[entry]! * scales[row]!) ** 2;
    }
  }
  const direction = new Float32Array(size);
  const curvature = new Float32Array(size);
  let energy = new Float64Array(dimensions);
  for (let index = 0; index < size; index++) {
    direction[index] = residual[index]! / diagonal[Math.floor(index / dimensions)]!;
    energy[index % dimensions]! += residual[index]! * direction[index]!;
  }
  for (let iteration = 0; iteration < iterations; iteration++) {
    multiply(texts, scales, direction, dimensions, product);
    multiplyTransposed(texts, scales, product, dimensions, curvature);
    const bend = new Float64Array(dimensions);
    for (let index = 0; index < size; index++) {
      curvature[index]! += ridge * direction[index]!;
      bend[index % dimensions]! += direction[index]! * curvature[index]!;
    }
    const step = energy.map((value, dimension) => value / (bend[dimension]! || 1));
    const next = new Float64Array(dimensions);
    for (let index = 0; index < size; index++) {
      const dimension = index % dimensions;
      vectors[index]! += step[dimension]! * direction[index]!;
      residual[index]! -= step[dimension]! * curvature[index]!;
      next[dimension]! += residual[index]! ** 2 / diagonal[Math.floor(index / dimensions)]!;
    }
    const turn = next.map((value, dimension) => value / (energy[dimension]! || 1));
    for (let index = 0; index < size; index++) {
      const preconditioned = residual[index]! / diagonal[Math.floor(index / dimensions)]!;
      direction[index] = preconditioned + turn[index % dimensions]! * direction[index]!;
    }
    energy = next;
  }
}

/** `out` = diag(scales) · counts · vectors; scales of 1 where they are left out. */
export function multiply(
  texts: TokenCounts,
  scales: Float32Array | undefined,
  vectors: Float32Array,
  dimensions: number,
  out: Float32Array,
): void {
  out.fill(0);
  for (let row = 0; row < texts.rows; row++) {
    const to = row * dimensions;
    for (let entry = texts.starts[row]!; entry < texts.starts[row + 1]!; entry++) {
      const factor = texts.counts[entry]! * (scales?.[row] ?? 1);
      const from = texts.tokens[entry]! * dimensions;
      for (let dimension = 0; dimension < dimensions; dimension++) {
        out[to + dimension]! += factor * vectors[from + dimension]!;
      }
    }
  }
}

/** `out` = countsᵀ · diag(scales) · sums. */
function multiplyTransposed(
  texts: TokenCounts,
  scales: Float32Array,
  sums: Float32Array,
  dimensions: number,
  out: Float32Array,
): void {
  out.fill(0);
  for (let row = 0; row < texts.rows; row++) {
    const from = row * dimensions;
    for (let entry = texts.starts[row]!; entry < texts.starts[row + 1]!; entry++) {
      const factor = texts.counts[entry]! * scales[row]!;
      const to = texts.tokens[entry]! * dimensions;
      for (let dimension = 0; dimension < dimensions; dimension++) {
        out[to + dimension]! += factor * sums[from + dimension]!;
      }
    }
  }
}

function lengthOf(texts: TokenCounts, row: number): number {
  let length = 0;
  for (let entry = texts.starts[row]!; entry < texts.starts[row + 1]!; entry++)
    length += texts.counts[entry]!;
  return Math.max(1, length);
}
