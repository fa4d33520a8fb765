import { OnnxError } from '../onnx/errors.ts';
import { float32, type Tensor } from '../onnx/tensor.ts';
import { MEAN, MEAN_SQUARE, NEXT } from './step.ts';

/**
 * A table of which a step takes the rows that its batch uses, with their moments, and puts the new ones back: a step costs
 * by batch and not by vocabulary, and rows that are not used stay as they are.
 */
export class RowTable {
  readonly name: string;
  /** Numbers of a row. */
  readonly width: number;
  readonly value: Float32Array;
  readonly #mean: Float32Array;
  readonly #meanSquare: Float32Array;

  /** @param value - rows one after the other; they are changed in place */
  constructor(name: string, value: Float32Array, width: number) {
    this.name = name;
    this.width = width;
    this.value = value;
    this.#mean = new Float32Array(value.length);
    this.#meanSquare = new Float32Array(value.length);
  }

  /** Goes on from what {@link state} gave. @throws {OnnxError} `REQUEST_INVALID` for a state of another table */
  restore(state: ReadonlyMap<string, Tensor>): void {
    for (const [name, values] of this.#parts()) {
      const data = state.get(name)?.data;
      if (!(data instanceof Float32Array && data.length === values.length)) {
        throw new OnnxError(
          'REQUEST_INVALID',
          `the state to go on from has no "${name}", or another size of it`,
        );
      }
      values.set(data);
    }
  }

  /** Rows of the table and of its moments, as a step takes them: [rows, width]; [rows] where a row is one number. */
  feeds(rows: readonly number[]): [name: string, value: Tensor][] {
    return this.#parts().map(([name, values]) => [name, this.#tensor(this.#pick(values, rows))]);
  }

  /** Rows of the table alone. */
  pick(rows: readonly number[]): Tensor {
    return this.#tensor(this.#pick(this.value, rows));
  }

  /** Puts back what a step made of the rows. @param result - gives an output of the step by its name */
  take(rows: readonly number[], result: (name: string) => Float32Array): void {
    const { width } = this;
    for (const [name, values] of this.#parts()) {
      const next = result(NEXT + name);
      for (const [i, row] of rows.entries()) {
        values.set(next.subarray(i * width, (i + 1) * width), row * width);
      }
    }
  }

  /** The whole table and its moments: the next step changes them. */
  state(): [name: string, value: Tensor][] {
    return this.#parts().map(([name, values]) => [name, this.#tensor(values)]);
  }

  /** A copy of the table. */
  copy(): Tensor {
    return this.#tensor(this.value.slice());
  }

  #parts(): [name: string, values: Float32Array][] {
    const { name, value } = this;
    return [
      [name, value],
      [MEAN + name, this.#mean],
      [MEAN_SQUARE + name, this.#meanSquare],
    ];
  }

  #tensor(values: Float32Array): Tensor {
    const { width } = this;
    return float32(width === 1 ? [values.length] : [values.length / width, width], values);
  }

  #pick(values: Float32Array, rows: readonly number[]): Float32Array {
    const { width } = this;
    const out = new Float32Array(rows.length * width);
    for (const [i, row] of rows.entries()) {
      out.set(values.subarray(row * width, (row + 1) * width), i * width);
    }
    return out;
  }
}
