import { GraphBuilder } from '../onnx/builder.ts';
import { int, type Dimension, type Model } from '../onnx/model.ts';
import { asInputs } from '../onnx/parameters.ts';
import { prune } from '../onnx/prune.ts';
import { float32, int64, type Tensor } from '../onnx/tensor.ts';
import { trace } from '../onnx/trace.ts';
import { differentiate } from './differentiate.ts';
import { adamW, checkOptimizer, type OptimizerOptions } from './optimizer.ts';
import { GRADIENT_NORM, LEARNING_RATE, MEAN, MEAN_SQUARE, NEXT, STEP } from './step.ts';

/** Before a weight's name, for its gradient summed over parts of a batch. */
export const SUM = 'sum/';

/** Name of the input that says how much of the batch's loss is the loss of a part: without dimensions. */
export const SHARE = 'share';

/** Name of the output that says what a part adds to the batch's loss. */
export const PART_LOSS = 'part_loss';

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
  return summingUp(g.build(), surrogate, weights, []);
}

/**
 * The graph that adds up the gradients of a loss that is a mean over texts, part by part. It takes a part of the batch,
 * its {@link SHARE}, the weights and for each weight a {@link SUM}; it gives the {@link PART_LOSS} and, as
 * {@link buildBackward} does, the new sums.
 *
 * @param model - in plain operators.
 * @param loss - name of a value without dimensions.
 * @throws {OnnxError} as `differentiate` does.
 */
export function buildPart(model: Model, loss: string, weights: readonly string[]): Promise<Model> {
  const g = new GraphBuilder(prune(model, [loss]));
  const share = g.output(PART_LOSS, g.node('Mul', [loss, g.input(SHARE, 'float32', [])]));
  return summingUp(g.build(), share, weights, [share]);
}

/** The gradients of a loss added to sums, for weights that become inputs; and some values besides. */
async function summingUp(
  model: Model,
  loss: string,
  weights: readonly string[],
  values: readonly string[],
): Promise<Model> {
  const { g, gradients } = await differentiate(model, loss, weights);
  const sums = weights.map((weight) => {
    const sum = g.input(SUM + weight, 'float32', dimsOf(model, weight));
    return g.output(NEXT + sum, g.node('Add', [sum, gradients.get(weight)!]));
  });
  return asInputs(prune(g.build(), [...values, ...sums]), initializersAmong(model, weights));
}

/** Of an initialiser, or of the rows of a table that a caller feeds. */
function dimsOf({ graph }: Model, weight: string): readonly Dimension[] {
  return graph.initializers.get(weight)?.dims ?? graph.inputs.find(({ name }) => name === weight)!.dims!;
}

function initializersAmong({ graph }: Model, weights: readonly string[]): string[] {
  return weights.filter((name) => graph.initializers.has(name));
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
 * @param rows - shapes of what takes some rows of a table, and is not in the initial state. @default none
 */
export function buildUpdate(
  weights: ReadonlyMap<string, Tensor>,
  optimizer: OptimizerOptions,
  rows: ReadonlyMap<string, readonly Dimension[]> = new Map(),
): WeightUpdate {
  checkOptimizer(weights.size + rows.size, optimizer);
  const g = new GraphBuilder();
  const initial = new Map<string, Tensor>([[STEP, int64([0], [])]]);
  g.input(STEP, 'int64', []);
  for (const [weight, value] of weights) {
    initial.set(weight, value);
    for (const prefix of [MEAN, MEAN_SQUARE]) initial.set(prefix + weight, zerosLike(value));
  }
  const shapes = [...[...weights].map(([weight, { dims }]) => [weight, dims] as const), ...rows];
  const parameters = shapes.map(([weight, dims]) => {
    g.input(weight, 'float32', dims);
    const moment = (prefix: string): string => g.input(prefix + weight, 'float32', dims);
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

/** As many zeros. */
export function zerosLike({ dims, data }: Tensor): Tensor {
  return float32(dims, new Float32Array(data.length));
}

/** How a batch's rows of a table get into a step. */
export interface TableRows {
  /** Name of the table: an input that takes the rows that the batch uses. */
  readonly table: string;
  /** The batch's input that says which rows those are. */
  readonly ids: string;
  /** Input that takes the same as `ids`, counted among the rows that are used. */
  readonly places: string;
}

/** A training step in parts, so that a batch may be more than fits into one run, and texts run with their like. */
export interface PartedStep {
  /** As {@link buildPart} makes it. */
  readonly part: Model;
  readonly update: WeightUpdate;
  /** Names of the trained weights. */
  readonly weights: readonly string[];
  /** Those of the weights that the batch brings rows of. They are whole in the initial state. @default none */
  readonly tables?: readonly TableRows[];
  /** Takes a batch and the weights, changes nothing, and gives the values that were asked for. */
  readonly forward: Model | undefined;
}

/**
 * Builds the graphs of a training step: forward, loss and gradients of a part; AdamW.
 *
 * @param model - in plain operators; its inputs are the batch, its initialisers the weights.
 * @param options.loss - name of a value without dimensions.
 * @param options.weights - initialisers to train; the others are constants. Or inputs that take rows of a table.
 * @param options.observe - values of the forward graph to look at between steps.
 * @throws {OnnxError} as `differentiate` does; `REQUEST_INVALID` for options that can't be.
 */
export async function buildPartedStep(
  model: Model,
  options: {
    loss: string;
    weights: readonly string[];
    optimizer: OptimizerOptions;
    observe?: readonly string[];
  },
): Promise<PartedStep> {
  const { loss, weights, optimizer, observe } = options;
  checkOptimizer(weights.length, optimizer);
  const part = await buildPart(model, loss, weights);
  const constants = initializersAmong(model, weights);
  const initial = new Map(constants.map((name) => [name, model.graph.initializers.get(name)!]));
  const rows = weights.filter((name) => !initial.has(name));
  return {
    part,
    update: buildUpdate(initial, optimizer, new Map(rows.map((name) => [name, dimsOf(model, name)]))),
    weights,
    forward: observe && asInputs(prune(model, observe), constants),
  };
}
