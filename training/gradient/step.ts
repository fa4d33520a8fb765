import type { Model } from '../onnx/model.ts';
import { asInputs } from '../onnx/parameters.ts';
import { prune } from '../onnx/prune.ts';
import { float32, int64, type Tensor } from '../onnx/tensor.ts';
import { differentiate } from './differentiate.ts';
import { adamW, checkOptimizer, type OptimizerOptions } from './optimizer.ts';

/** One training step as a graph, and what it starts from. */
export interface TrainingStep {
  /**
   * Takes a batch and the state; gives the loss and the new state. Each part of the state is an input, and an output
   * with {@link NEXT} before its name.
   */
  readonly model: Model;
  /** Names of the trained weights. */
  readonly weights: readonly string[];
  /** State before the first step: weights, moments and the step count. Weights that are inputs are not in it. */
  readonly initial: ReadonlyMap<string, Tensor>;
}

/** Before the names of a step's outputs that are the state of the next. */
export const NEXT = 'next/';

/** Names of a step's other parts. */
export const STEP = 'step';
export const LOSS = 'loss';
export const GRADIENT_NORM = 'gradient_norm';
export const LEARNING_RATE = 'learning_rate';

/** Before a weight's name, for the mean of its gradients and of their squares. */
export const MEAN = 'mean/';
export const MEAN_SQUARE = 'mean_square/';

/**
 * Builds the graph of one training step: forward, loss, gradients and AdamW.
 *
 * @param model - in plain operators; its inputs are the batch, its initialisers the weights.
 * @param options.loss - name of a value without dimensions.
 * @param options.weights - initialisers to train; the others are constants. Or inputs, such as those rows of a table that
 * a batch uses: then the caller feeds them and their moments, and takes the new ones back.
 * @throws {OnnxError} as `differentiate` does; `REQUEST_INVALID` for options that can't be.
 */
export async function buildStep(
  model: Model,
  options: {
    loss: string;
    weights: readonly string[];
    optimizer: OptimizerOptions;
  },
): Promise<TrainingStep> {
  const { loss, weights, optimizer } = options;
  checkOptimizer(weights.length, optimizer);
  const { g, gradients } = await differentiate(model, loss, weights);
  const initial = new Map<string, Tensor>([[STEP, int64([0], [])]]);
  g.input(STEP, 'int64', []);
  const parameters = weights.map((weight) => {
    const value = model.graph.initializers.get(weight);
    const dims = value?.dims ?? model.graph.inputs.find(({ name }) => name === weight)!.dims!;
    if (value !== undefined) initial.set(weight, value);
    const moment = (prefix: string): string => {
      const name = g.input(prefix + weight, 'float32', dims);
      if (value !== undefined) initial.set(name, float32(value.dims, new Float32Array(value.data.length)));
      return name;
    };
    return {
      weight,
      gradient: gradients.get(weight)!,
      mean: moment(MEAN),
      meanSquare: moment(MEAN_SQUARE),
      decays: dims.length > 1,
    };
  });
  const update = adamW(g, STEP, parameters, optimizer);
  const outputs = [
    g.output(NEXT + STEP, update.step),
    g.output(GRADIENT_NORM, update.norm),
    g.output(LEARNING_RATE, update.rate),
    ...parameters.flatMap(({ weight, mean, meanSquare }, i) => {
      const next = update.parameters[i]!;
      return [
        g.output(NEXT + weight, next.weight),
        g.output(NEXT + mean, next.mean),
        g.output(NEXT + meanSquare, next.meanSquare),
      ];
    }),
  ];
  if (loss !== LOSS) g.output(LOSS, loss);
  const constants = weights.filter((weight) => initial.has(weight));
  return {
    model: asInputs(prune(g.build(), [LOSS, ...outputs]), constants),
    weights,
    initial,
  };
}
