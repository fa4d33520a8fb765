import { otherState } from '../gradient/row-table.ts';
import { learningRateAt, type OptimizerOptions } from '../gradient/optimizer.ts';
import { MEAN, MEAN_SQUARE } from '../gradient/step.ts';
import { float32, type Tensor } from '../onnx/tensor.ts';

/** The gradient of some rows of a table. */
export interface SomeRows {
  readonly rows: readonly number[];
  readonly values: Float32Array;
}

/** Before a table's name: how often each of its rows has moved. */
const MOVES = 'moves/';

/**
 * A table and its moments. Only rows with a gradient move, and only their moments change. What young moments lack is made up
 * for by how often the row itself has moved, and not the table: else a row's first gradient, which its second moment knows a
 * thousandth of, would throw it three times as far as any later one, and rare rows would learn their few texts by heart.
 */
export class AdamTable {
  readonly #name: string;
  readonly #dims: readonly number[];
  readonly #width: number;
  /** The next step changes it in place. */
  readonly value: Float32Array;
  readonly #mean: Float32Array;
  readonly #meanSquare: Float32Array;
  readonly #moves: Float32Array;

  /** @param value - [rows, width], or [rows] where a row is one number. A copy is trained. */
  constructor(name: string, { dims, data }: Tensor, state: ReadonlyMap<string, Tensor> | undefined) {
    this.#name = name;
    this.#dims = dims;
    this.#width = dims[1] ?? 1;
    this.value = (data as Float32Array).slice();
    this.#mean = new Float32Array(data.length);
    this.#meanSquare = new Float32Array(data.length);
    this.#moves = new Float32Array(dims[0]!);
    if (state === undefined) return;
    for (const [part, { data: values }] of this.state()) {
      const saved = state.get(part)?.data;
      if (!(saved instanceof Float32Array && saved.length === values.length)) throw otherState(part);
      (values as Float32Array).set(saved);
    }
  }

  /** The table and its moments: the next step changes them in place. */
  state(): [name: string, value: Tensor][] {
    return [
      [this.#name, float32(this.#dims, this.value)],
      [MEAN + this.#name, float32(this.#dims, this.#mean)],
      [MEAN_SQUARE + this.#name, float32(this.#dims, this.#meanSquare)],
      [MOVES + this.#name, float32([this.#moves.length], this.#moves)],
    ];
  }

  /** A copy of the table. */
  copy(): Tensor {
    return float32(this.#dims, this.value.slice());
  }

  /** Moves rows against their gradient. Tables whose rows are one number do not decay. */
  move({ rows, values }: SomeRows, step: AdamStep): void {
    const { rate, beta1, beta2, gradientShare, squareShare, epsilon } = step;
    const keep = this.#dims.length > 1 ? step.keep : 1;
    const width = this.#width;
    const [value, mean, meanSquare] = [this.value, this.#mean, this.#meanSquare];
    for (let place = 0; place < rows.length; place++) {
      const start = rows[place]! * width;
      const from = place * width;
      const moves = this.#moves[rows[place]!]! + 1;
      this.#moves[rows[place]!] = moves;
      const root = Math.sqrt(1 - beta2 ** moves);
      const [size, floor] = [(rate * root) / (1 - beta1 ** moves), root * epsilon];
      for (let i = 0; i < width; i++) {
        const gradient = values[from + i]!;
        const m = beta1 * mean[start + i]! + gradientShare * gradient;
        const v = beta2 * meanSquare[start + i]! + squareShare * gradient * gradient;
        mean[start + i] = m;
        meanSquare[start + i] = v;
        value[start + i] = keep * value[start + i]! - (size * m) / (Math.sqrt(v) + floor);
      }
    }
  }
}

/** The numbers of one step of AdamW that all tables share. */
export interface AdamStep {
  rate: number;
  beta1: number;
  beta2: number;
  gradientShare: number;
  squareShare: number;
  epsilon: number;
  keep: number;
}

/**
 * What a step of AdamW does, clipping included, as `adamW` writes it for graphs.
 *
 * @param taken - steps before this one
 * @param norm - length of the whole gradient
 */
export function adamStep(taken: number, norm: number, options: OptimizerOptions): AdamStep {
  const { weightDecay = 0.01, maxNorm = 1, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8 } = options;
  const rate = learningRateAt(taken + 1, options);
  const clip = Math.min(1, maxNorm / norm);
  return {
    rate,
    beta1,
    beta2,
    gradientShare: clip * (1 - beta1),
    squareShare: clip * clip * (1 - beta2),
    epsilon,
    keep: 1 - rate * weightDecay,
  };
}
