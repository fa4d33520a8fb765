import type { LookupText } from './trainer.ts';

/** Components of what a token seeks and of what it shows. */
export const CONTEXT_WIDTH = 32;

/** Numbers of a table: in single precision where it is trained. */
type Numbers = Float32Array | Float64Array;

/** The tables of a lookup, as the trainer has them. */
export interface PooledTables {
  vectors: Numbers;
  logWeights: Numbers;
  seeks: Numbers;
  shows: Numbers;
  pairs: Numbers | undefined;
  positions: Numbers | undefined;
}

/** Gradients of rows of a table: only of those that a batch uses. */
export class RowGradients {
  /** Rows in the order of their first use. */
  readonly rows: number[] = [];
  /** Numbers of a row. */
  readonly width: number;
  readonly #places: Int32Array;
  #values = new Float32Array(0);

  constructor(rows: number, width: number) {
    this.width = width;
    this.#places = new Int32Array(rows).fill(-1);
  }

  /** A gradient for each of {@link rows}, one after the other. */
  get values(): Float32Array {
    return this.#values.subarray(0, this.rows.length * this.width);
  }

  /** Forgets the last batch. */
  clear(): void {
    this.values.fill(0);
    for (const row of this.rows) this.#places[row] = -1;
    this.rows.length = 0;
  }

  /** Makes room for a row, if there is none. */
  use(row: number): void {
    if (this.#places[row]! >= 0) return;
    this.#places[row] = this.rows.length;
    this.rows.push(row);
    const size = this.rows.length * this.width;
    if (size <= this.#values.length) return;
    const grown = new Float32Array(2 * size);
    grown.set(this.#values);
    this.#values = grown;
  }

  /** Adds to a row that is in use. */
  add(row: number, from: Float64Array, factor: number): void {
    const { width } = this;
    const values = this.#values;
    const start = this.#places[row]! * width;
    for (let i = 0; i < width; i++) values[start + i]! += factor * from[i]!;
  }

  /** Adds a number to a row of one number. */
  addOne(row: number, value: number): void {
    this.#values[this.#places[row]!]! += value;
  }
}

/** Gradients of all tables. */
export type PooledGradients = {
  readonly [Table in keyof PooledTables]:
    | RowGradients
    | (undefined extends PooledTables[Table] ? undefined : never);
};

/** What a text's mean is made of: its gradient needs it again. */
export interface PooledText {
  /** Of each token. */
  weights: Float64Array;
  /** Their sum. */
  total: number;
  /** Mean of what the tokens show. */
  shown: Float64Array;
}

/** Writes the weighted mean of a text's rows, those of its pairs added, to `mean`. */
export function poolText(
  { tokens, pairs }: LookupText,
  tables: PooledTables,
  mean: Float64Array,
): PooledText {
  const width = mean.length;
  const { vectors, shows, seeks, logWeights, positions } = tables;
  const shown = new Float64Array(CONTEXT_WIDTH);
  for (const token of tokens) {
    const start = token * CONTEXT_WIDTH;
    for (let i = 0; i < CONTEXT_WIDTH; i++) shown[i]! += shows[start + i]!;
  }
  for (let i = 0; i < CONTEXT_WIDTH; i++) shown[i]! /= tokens.length;
  const weights = new Float64Array(tokens.length);
  let total = 0;
  mean.fill(0);
  for (let at = 0; at < tokens.length; at++) {
    const token = tokens[at]!;
    let sum =
      logWeights[token]! + (positions === undefined ? 0 : positions[Math.min(at, positions.length - 1)]!);
    const context = token * CONTEXT_WIDTH;
    for (let i = 0; i < CONTEXT_WIDTH; i++) sum += seeks[context + i]! * shown[i]!;
    const weight = Math.exp(sum);
    weights[at] = weight;
    total += weight;
    const start = token * width;
    for (let i = 0; i < width; i++) mean[i]! += weight * vectors[start + i]!;
  }
  for (const pair of pairs) {
    const start = pair * width;
    for (let i = 0; i < width; i++) mean[i]! += tables.pairs![start + i]!;
  }
  for (let i = 0; i < width; i++) mean[i]! /= total;
  return { weights, total, shown };
}

/**
 * Carries the gradient of a loss by a text's mean back to the rows.
 *
 * @param gradient - by the mean; it is changed
 * @param gradients - have every row of the text in use
 */
export function backText(
  { tokens, pairs }: LookupText,
  { weights, total, shown }: PooledText,
  tables: PooledTables,
  mean: Float64Array,
  gradient: Float64Array,
  gradients: PooledGradients,
): void {
  const width = mean.length;
  const { vectors, seeks, positions } = tables;
  let byTotal = 0;
  for (let i = 0; i < width; i++) {
    byTotal -= gradient[i]! * mean[i]!;
    gradient[i]! /= total;
  }
  byTotal /= total;
  const byShown = new Float64Array(CONTEXT_WIDTH);
  for (let at = 0; at < tokens.length; at++) {
    const token = tokens[at]!;
    const start = token * width;
    let byWeight = byTotal;
    for (let i = 0; i < width; i++) byWeight += gradient[i]! * vectors[start + i]!;
    gradients.vectors.add(token, gradient, weights[at]!);
    const byExponent = byWeight * weights[at]!;
    gradients.logWeights.addOne(token, byExponent);
    if (positions !== undefined) gradients.positions!.addOne(Math.min(at, positions.length - 1), byExponent);
    gradients.seeks.add(token, shown, byExponent);
    const context = token * CONTEXT_WIDTH;
    for (let i = 0; i < CONTEXT_WIDTH; i++) byShown[i]! += byExponent * seeks[context + i]!;
  }
  for (const token of tokens) gradients.shows.add(token, byShown, 1 / tokens.length);
  for (const pair of pairs) gradients.pairs!.add(pair, gradient, 1);
}
