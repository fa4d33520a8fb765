import { OnnxError } from '../onnx/errors.ts';
import { float32, rowsOf, type Tensor } from '../onnx/tensor.ts';
import { MEAN, MEAN_SQUARE, NEXT } from './step.ts';

/**
 * A table that is trained by rows. A step takes the rows that its batch uses, with their moments, and puts the new ones
 * back: its cost depends on the batch and not on the vocabulary, and rows that are not used stay as they are.
 */
export class RowTable {
  readonly #name: string;
  /** Numbers of a row. */
  readonly #width: number;
  readonly #value: Float32Array;
  readonly #mean: Float32Array;
  readonly #meanSquare: Float32Array;

  /** @param value - [rows, width], or [rows] where a row is one number. A copy is trained. */
  constructor(name: string, { dims, data }: Tensor) {
    this.#name = name;
    this.#width = dims[1] ?? 1;
    this.#value = (data as Float32Array).slice();
    this.#mean = new Float32Array(data.length);
    this.#meanSquare = new Float32Array(data.length);
  }

  /** Goes on from what {@link state} gave. @throws {OnnxError} `REQUEST_INVALID` for a state of another table */
  restore(state: ReadonlyMap<string, Tensor>): void {
    for (const [name, values] of this.#parts()) {
      const data = state.get(name)?.data;
      if (!(data instanceof Float32Array && data.length === values.length)) throw otherState(name);
      values.set(data);
    }
  }

  /** Rows of the table and of its moments, as a step takes them: [rows, width]; [rows] where a row is one number. */
  feeds(rows: readonly number[]): [name: string, value: Tensor][] {
    return this.#parts().map(([name, values]) => [name, this.#tensor(rowsOf(values, this.#width, rows))]);
  }

  /** Rows of the table alone. */
  pick(rows: readonly number[]): Tensor {
    return this.#tensor(rowsOf(this.#value, this.#width, rows));
  }

  /** Puts back what a step made of the rows. @param result - gives an output of the step by its name */
  take(rows: readonly number[], result: (name: string) => Float32Array): void {
    const width = this.#width;
    for (const [name, values] of this.#parts()) {
      const next = result(NEXT + name);
      for (const [i, row] of rows.entries()) {
        values.set(next.subarray(i * width, (i + 1) * width), row * width);
      }
    }
  }

  /** The whole table and its moments. The next step changes them in place. */
  state(): [name: string, value: Tensor][] {
    return this.#parts().map(([name, values]) => [name, this.#tensor(values)]);
  }

  /** A copy of the table. */
  copy(): Tensor {
    return this.#tensor(this.#value.slice());
  }

  #parts(): [name: string, values: Float32Array][] {
    return [
      [this.#name, this.#value],
      [MEAN + this.#name, this.#mean],
      [MEAN_SQUARE + this.#name, this.#meanSquare],
    ];
  }

  #tensor(values: Float32Array): Tensor {
    const width = this.#width;
    return float32(width === 1 ? [values.length] : [values.length / width, width], values);
  }
}

/** @param name - of the value that is missing or of another size */
export function otherState(name: string): OnnxError {
  return new OnnxError(
    'REQUEST_INVALID',
    `the state to resume from has no "${name}", or has it in another shape`,
  );
}
