import { otherState } from '../gradient/row-table.ts';
import { learningRateAt, type OptimizerOptions } from '../gradient/optimizer.ts';
import { MEAN, MEAN_SQUARE } from '../gradient/step.ts';
import { float32, type Tensor } from '../onnx/tensor.ts';

/** The gradient of some rows of a table. */
export interface SomeRows {
  readonly rows: readonly number[];
  readonly values: Float32Array;
}

/** A table and its moments. Only rows with a gradient move, and only their moments change. */
export class AdamTable {
  readonly #name: string;
  readonly #dims: readonly number[];
  readonly #width: number;
  /** The next step changes it in place. */
  readonly value: Float32Array;
  readonly #mean: Float32Array;
  readonly #meanSquare: Float32Array;

  /** @param value - [rows, width], or [rows] where a row is one number. A copy is trained. */
  constructor(name: string, { dims, data }: Tensor, state: ReadonlyMap<string, Tensor> | undefined) {
    this.#name = name;
    this.#dims = dims;
    this.#width = dims[1] ?? 1;
    this.value = (data as Float32Array).slice();
    this.#mean = new Float32Array(data.length);
    this.#meanSquare = new Float32Array(data.length);
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
    ];
  }

  /** A copy of the table. */
  copy(): Tensor {
    return float32(this.#dims, this.value.slice());
  }

  /** Moves rows against their gradient. Tables whose rows are one number do not decay. */
  move({ rows, values }: SomeRows, step: AdamStep): void {
    const { beta1, beta2, gradientShare, squareShare, size, floor } = step;
    const keep = this.#dims.length > 1 ? step.keep : 1;
    const width = this.#width;
    const [value, mean, meanSquare] = [this.value, this.#mean, this.#meanSquare];
    for (let place = 0; place < rows.length; place++) {
      const start = rows[place]! * width;
      const from = place * width;
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
  size: number;
  floor: number;
  keep: number;
}

/**
 * What a step of AdamW does, clipping and the bias of young moments included, as `adamW` writes it for graphs.
 *
 * @param taken - steps before this one
 * @param norm - length of the whole gradient
 */
export function adamStep(taken: number, norm: number, options: OptimizerOptions): AdamStep {
  const { weightDecay = 0.01, maxNorm = 1, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8 } = options;
  const rate = learningRateAt(taken + 1, options);
  const clip = Math.min(1, maxNorm / norm);
  const root = Math.sqrt(1 - beta2 ** (taken + 1));
  return {
    rate,
    beta1,
    beta2,
    gradientShare: clip * (1 - beta1),
    squareShare: clip * clip * (1 - beta2),
    size: (rate * root) / (1 - beta1 ** (taken + 1)),
    floor: root * epsilon,
    keep: 1 - rate * weightDecay,
  };
}
