import { LookupError } from './errors.ts';
import { type Table, unpacked } from './weights.ts';

export type Vector = Float32Array | Float64Array;

/** The rows of a table, and what encoding does with them. A token that has no row is a {@link LookupError}. */
export interface Rows {
  readonly width: number;
  /** Adds rows, each times its factor, to a vector. @param factors all 1 where there are none */
  add(ids: ArrayLike<number>, factors: ArrayLike<number> | undefined, sum: Vector): void;
  /** Puts the product of each row and a vector into a list. */
  multiply(ids: ArrayLike<number>, vector: Vector, products: Float64Array): void;
}

/** What encoding computes with: {@link plain}, or a `Kernel`, which gives the same vectors to 1e-6. */
export interface Arithmetic {
  rows(table: Table): Rows;
  /** A vector for sums, as wide as the rows of a table and one for each at most, which lives as long as this. */
  vector(width: number): Vector;
  /** Makes a vector's length 1, where it has one. */
  toUnit(vector: Vector): void;
}

/** In JavaScript, where the kernel can't be. */
export const plain: Arithmetic = {
  rows: (table) => new PlainRows(table),
  vector: (width) => new Float64Array(width),
  toUnit: (vector) => {
    let squares = 0;
    for (let i = 0; i < vector.length; i++) squares += vector[i]! ** 2;
    if (squares === 0) return;
    const scale = 1 / Math.sqrt(squares);
    for (let i = 0; i < vector.length; i++) vector[i]! *= scale;
  },
};

class PlainRows implements Rows {
  readonly width: number;
  readonly #table: Table;
  readonly #values: Float32Array | Int8Array;

  constructor(table: Table) {
    this.width = table.width;
    this.#table = table;
    this.#values = unpacked(table);
  }

  /** This is what encoding costs: four rows at a time, the sum is read and written a quarter as often. */
  add(ids: ArrayLike<number>, factors: ArrayLike<number> | undefined, sum: Vector): void {
    const { width } = this;
    const values = this.#values;
    const scale = (at: number): number => scaleOf(this.#table, ids[at]!) * (factors?.[at] ?? 1);
    let at = 0;
    for (; at + 4 <= ids.length; at += 4) {
      const [a, b, c, d] = [scale(at), scale(at + 1), scale(at + 2), scale(at + 3)];
      const first = ids[at]! * width;
      const second = ids[at + 1]! * width;
      const third = ids[at + 2]! * width;
      const fourth = ids[at + 3]! * width;
      for (let i = 0; i < width; i++) {
        sum[i]! +=
          values[first + i]! * a + values[second + i]! * b + values[third + i]! * c + values[fourth + i]! * d;
      }
    }
    for (; at < ids.length; at++) {
      const factor = scale(at);
      const start = ids[at]! * width;
      for (let i = 0; i < width; i++) sum[i]! += values[start + i]! * factor;
    }
  }

  multiply(ids: ArrayLike<number>, vector: Vector, products: Float64Array): void {
    const { width } = this;
    const values = this.#values;
    for (let at = 0; at < ids.length; at++) {
      const scale = scaleOf(this.#table, ids[at]!);
      const start = ids[at]! * width;
      let product = 0;
      for (let i = 0; i < width; i++) product += vector[i]! * values[start + i]!;
      products[at] = product * scale;
    }
  }
}

function scaleOf(table: Table, row: number): number {
  checkRow(table, row);
  return table.scales === undefined ? 1 : table.scales[row]!;
}

/** @throws {LookupError} for a token that has no row */
export function checkRow({ rows }: Pick<Table, 'rows'>, row: number): void {
  if (!(row >= 0 && row < rows)) throw new LookupError(`the token ${row} has no row; there are ${rows}`);
}
