import type { GraphBuilder } from '../onnx/builder.ts';
import { OnnxError } from '../onnx/errors.ts';
import { int } from '../onnx/model.ts';
import { elementCode } from '../onnx/tensor.ts';

/** AdamW (https://arxiv.org/abs/1711.05101) with linear warm-up and cosine decay (https://arxiv.org/abs/1608.03983). */
export interface OptimizerOptions {
  /** Largest learning rate, reached when the warm-up ends. */
  readonly rate: number;
  /** Steps of the whole run: the cosine ends there. */
  readonly steps: number;
  /** Steps over which the rate rises from 0. @default 0 */
  readonly warmup?: number;
  /** The last learning rate as a share of the largest. @default 0 */
  readonly finalShare?: number;
  /** Share that weights lose per step, times the learning rate; biases and norms lose none. @default 0.01 */
  readonly weightDecay?: number;
  /** Gradients are scaled down to this length, all weights together. @default 1 */
  readonly maxNorm?: number;
  /** Decay of the gradients' mean. @default 0.9 */
  readonly beta1?: number;
  /** Decay of the gradients' mean square. @default 0.999 */
  readonly beta2?: number;
  /** @default 1e-8 */
  readonly epsilon?: number;
}

/** A weight with its gradient and moments, as names of values. */
export interface Parameter {
  readonly weight: string;
  readonly gradient: string;
  readonly mean: string;
  readonly meanSquare: string;
  /** Whether weight decay applies. */
  readonly decays: boolean;
}

export interface Update {
  readonly step: string;
  readonly rate: string;
  readonly norm: string;
  /** In the order of the parameters. */
  readonly parameters: readonly { weight: string; mean: string; meanSquare: string }[];
}

/**
 * Writes one step of the optimiser.
 * @param step - int64 without dimensions: how many steps were taken before this one.
 */
export function adamW(
  g: GraphBuilder,
  step: string,
  parameters: readonly Parameter[],
  options: OptimizerOptions,
): Update {
  const { weightDecay = 0.01, maxNorm = 1, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8 } = options;
  const mul = (a: string, b: string): string => g.node('Mul', [a, b]);
  const next = g.node('Add', [step, g.scalar(1, 'int64')]);
  const t = g.node('Cast', [next], { to: int(elementCode('float32')) });
  const rate = learningRate(g, t, options);
  const squares = parameters.map(({ gradient }) =>
    g.node('ReduceSumSquare', [gradient], { keepdims: int(0) }),
  );
  const norm = g.node('Sqrt', [g.node('Sum', squares)]);
  const clip = g.node('Min', [g.scalar(1), g.node('Div', [g.scalar(maxNorm), norm])]);
  // What moments started at zero lack, 1 − βᵗ, and the clipping: folded into scalars, so that they cost no pass.
  const missing = (beta: number): string => g.node('Sub', [g.scalar(1), g.node('Pow', [g.scalar(beta), t])]);
  const root = g.node('Sqrt', [missing(beta2)]);
  const stepSize = g.node('Div', [mul(rate, root), missing(beta1)]);
  const floor = mul(root, g.scalar(epsilon));
  const keep = g.node('Sub', [g.scalar(1), mul(rate, g.scalar(weightDecay))]);
  const gradientShare = mul(clip, g.scalar(1 - beta1));
  const squareShare = mul(mul(clip, clip), g.scalar(1 - beta2));
  return {
    step: next,
    rate,
    norm,
    parameters: parameters.map(({ weight, gradient, mean, meanSquare, decays }) => {
      const newMean = g.node('Add', [mul(mean, g.scalar(beta1)), mul(gradient, gradientShare)]);
      const square = mul(mul(gradient, gradient), squareShare);
      const newMeanSquare = g.node('Add', [mul(meanSquare, g.scalar(beta2)), square]);
      const direction = g.node('Div', [newMean, g.node('Add', [g.node('Sqrt', [newMeanSquare]), floor])]);
      const kept = decays && weightDecay > 0 ? mul(weight, keep) : weight;
      return {
        weight: g.node('Sub', [kept, mul(direction, stepSize)]),
        mean: newMean,
        meanSquare: newMeanSquare,
      };
    }),
  };
}

/** `t` counts from 1, so that the first step of a warm-up moves a little and the last of a run is the smallest. */
function learningRate(g: GraphBuilder, t: string, options: OptimizerOptions): string {
  const { rate, steps, warmup = 0, finalShare = 0 } = options;
  const number = (value: number): string => g.scalar(value);
  const rising = g.node('Div', [t, number(Math.max(warmup, 1))]);
  const past = g.node('Div', [g.node('Sub', [t, number(warmup)]), number(Math.max(steps - warmup, 1))]);
  const angle = g.node('Mul', [g.node('Min', [past, number(1)]), number(Math.PI)]);
  const half = g.node('Mul', [
    g.node('Add', [g.node('Cos', [angle]), number(1)]),
    number((1 - finalShare) / 2),
  ]);
  const falling = g.node('Add', [half, number(finalShare)]);
  const share = g.node('Where', [g.node('Less', [t, number(warmup)]), rising, falling]);
  return g.node('Mul', [share, number(rate)]);
}

/** The same outside of a graph. @param t - counts from 1 */
export function learningRateAt(t: number, options: OptimizerOptions): number {
  const { rate, steps, warmup = 0, finalShare = 0 } = options;
  if (t < warmup) return (rate * t) / Math.max(warmup, 1);
  const past = Math.min((t - warmup) / Math.max(steps - warmup, 1), 1);
  return rate * ((Math.cos(past * Math.PI) + 1) * ((1 - finalShare) / 2) + finalShare);
}

/** @throws {OnnxError} `REQUEST_INVALID` for options that can't be, or where there is nothing to train. */
export function checkOptimizer(weights: number, optimizer: OptimizerOptions): void {
  const { rate, steps, warmup = 0 } = optimizer;
  if (weights === 0) throw new OnnxError('REQUEST_INVALID', 'there is no weight to train');
  if (!(rate > 0)) throw new OnnxError('REQUEST_INVALID', `the learning rate is ${rate}; it must be above 0`);
  if (!(steps >= 1 && warmup >= 0 && warmup <= steps)) {
    throw new OnnxError('REQUEST_INVALID', `${warmup} steps of warm-up do not fit into ${steps} steps`);
  }
}
