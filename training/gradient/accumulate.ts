import { GraphBuilder } from '../onnx/builder.ts';
import { int, type Model } from '../onnx/model.ts';
import { asInputs } from '../onnx/parameters.ts';
import { prune } from '../onnx/prune.ts';
import { int64, type Tensor } from '../onnx/tensor.ts';
import { trace } from '../onnx/trace.ts';
import { differentiate } from './differentiate.ts';
import { adamW, checkOptimizer, type OptimizerOptions } from './optimizer.ts';
import { GRADIENT_NORM, LEARNING_RATE, MEAN, MEAN_SQUARE, NEXT, STEP } from './step.ts';

/** Before a weight's name, for its gradient summed over parts of a batch. */
export const SUM = 'sum/';

/** Name of the input that holds the derivative of a loss by the output: of the output's type and shape. */
export const UPSTREAM = 'upstream';

/**
 * The graph that carries a loss's gradient from an encoder's output to its weights, where the loss itself is computed
 * elsewhere: over more texts than fit into one run, or in another process. It takes a part of the batch, its
 * {@link UPSTREAM} gradient, the weights and for each weight a {@link SUM}, and gives each sum with the part's gradient
 * added, as an output with {@link NEXT} before its name. (Gao et al., 2021: https://arxiv.org/abs/2101.06983)
 *
 * @param model - in plain operators.
 * @param output - name of a float32 value.
 * @param weights - initialisers; they become inputs.
 * @throws {OnnxError} as `differentiate` does.
 */
export async function buildBackward(
  model: Model,
  output: string,
  weights: readonly string[],
): Promise<Model> {
  const { dims } = (await trace(model)).value(output);
  const g = new GraphBuilder(prune(model, [output]));
  // Equal sizes have equal names, as a trace has equal numbers for them.
  const upstream = g.input(
    UPSTREAM,
    'float32',
    dims.map((dim, axis) => (dim >= 0 ? dim : axis === 0 ? 'batch' : 'sequence')),
  );
  const product = g.node('Mul', [output, upstream]);
  const surrogate = g.output('surrogate', g.node('ReduceSum', [product], { keepdims: int(0) }));
  const { g: both, gradients } = await differentiate(g.build(), surrogate, weights);
  const sums = weights.map((weight) => {
    const sum = both.input(SUM + weight, 'float32', model.graph.initializers.get(weight)!.dims);
    return both.output(NEXT + sum, both.node('Add', [sum, gradients.get(weight)!]));
  });
  return asInputs(prune(both.build(), sums), weights);
}

/** An update of weights as a graph, and what its state is at the start. */
export interface WeightUpdate {
  /** Takes the {@link SUM}s of gradients and the state; gives the state as outputs with {@link NEXT} before their names. */
  readonly model: Model;
  /** Weights, moments and the step count before the first step. */
  readonly initial: ReadonlyMap<string, Tensor>;
}

/**
 * Builds AdamW as a graph of its own, for gradients that {@link buildBackward} has summed up.
 * @param weights - their values at the start, float32.
 */
export function buildUpdate(weights: ReadonlyMap<string, Tensor>, optimizer: OptimizerOptions): WeightUpdate {
  checkOptimizer(weights.size, optimizer);
  const g = new GraphBuilder();
  const initial = new Map<string, Tensor>([[STEP, int64([0], [])]]);
  g.input(STEP, 'int64', []);
  const parameters = [...weights].map(([weight, value]) => {
    const { dims, data } = value;
    g.input(weight, 'float32', dims);
    initial.set(weight, value);
    const moment = (prefix: string): string => {
      initial.set(prefix + weight, { type: 'float32', dims, data: new Float32Array(data.length) });
      return g.input(prefix + weight, 'float32', dims);
    };
    return {
      weight,
      gradient: g.input(SUM + weight, 'float32', dims),
      mean: moment(MEAN),
      meanSquare: moment(MEAN_SQUARE),
      decays: dims.length > 1,
    };
  });
  const update = adamW(g, STEP, parameters, optimizer);
  g.output(NEXT + STEP, update.step);
  g.output(GRADIENT_NORM, update.norm);
  g.output(LEARNING_RATE, update.rate);
  for (const [i, { weight, mean, meanSquare }] of parameters.entries()) {
    const next = update.parameters[i]!;
    g.output(NEXT + weight, next.weight);
    g.output(NEXT + mean, next.mean);
    g.output(NEXT + meanSquare, next.meanSquare);
  }
  return { model: g.build(), initial };
}
