import { GraphBuilder } from '../onnx/builder.ts';
import { int, type Dimension, type Model } from '../onnx/model.ts';
import { asInputs } from '../onnx/parameters.ts';
import { prune } from '../onnx/prune.ts';
import { float32, int64, type Tensor } from '../onnx/tensor.ts';
import { trace } from '../onnx/trace.ts';
import { differentiate } from './differentiate.ts';
import { adamW, checkOptimizer, type OptimizerOptions } from './optimizer.ts';

/** Name of the loss in a student's graph. */
export const LOSS = 'loss';

/** Before the names of outputs that replace the input of the same name in the next run. */
export const NEXT = 'next/';

/** Names of an update's input and outputs: the count of steps, the gradient's length, the learning rate. */
export const STEP = 'step';
export const GRADIENT_NORM = 'gradient_norm';
export const LEARNING_RATE = 'learning_rate';

/** Before a weight's name: the running mean of its gradients, and that of their squares. */
export const MEAN = 'mean/';
export const MEAN_SQUARE = 'mean_square/';

/** Before a weight's name: its gradient, summed over the micro-batches of a batch. */
export const SUM = 'sum/';

/** Name of the input that says which share of the batch's loss a micro-batch carries. It has no dimensions. */
export const SHARE = 'share';

/** Name of the output that holds a micro-batch's contribution to the batch's loss. */
export const MICRO_BATCH_LOSS = 'micro_batch_loss';

/** Name of the input that holds the derivative of a loss by the encoder's output. It has the output's type and shape. */
export const UPSTREAM = 'upstream';

/**
 * Builds the graph that carries a loss's gradient from an encoder's output back to its weights. The loss itself is
 * computed elsewhere: over more texts than fit into one run, or in another process. The graph takes a micro-batch, its
 * {@link UPSTREAM} gradient, the weights and a {@link SUM} for each weight. It returns each sum plus the micro-batch's
 * gradient, as an output with {@link NEXT} before its name. (Gao et al., 2021: https://arxiv.org/abs/2101.06983)
 *
 * @param model - in plain operators.
 * @param output - name of a float32 value.
 * @param weights - initialisers; they become inputs.
 * @throws {OnnxError} as `differentiate` does.
 */
export async function buildUpstreamGradient(
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
  return addingToSums(g.build(), surrogate, weights, []);
}

/**
 * Builds the graph that adds up the gradients of a loss that is a mean over texts, micro-batch by micro-batch. It takes a
 * micro-batch, its {@link SHARE}, the weights and a {@link SUM} for each weight. It returns the {@link MICRO_BATCH_LOSS}
 * and the new sums, as {@link buildUpstreamGradient} does.
 *
 * @param model - in plain operators.
 * @param loss - name of a value without dimensions.
 * @throws {OnnxError} as `differentiate` does.
 */
function buildLossGradient(model: Model, loss: string, weights: readonly string[]): Promise<Model> {
  const g = new GraphBuilder(prune(model, [loss]));
  const share = g.output(MICRO_BATCH_LOSS, g.node('Mul', [loss, g.input(SHARE, 'float32', [])]));
  return addingToSums(g.build(), share, weights, [share]);
}

/** Adds the gradients of a loss to sums. The weights become inputs; `values` are returned as well. */
async function addingToSums(
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

/** Dimensions of an initialiser, or of an input that takes some rows of a table. */
function dimsOf({ graph }: Model, weight: string): readonly Dimension[] {
  return graph.initializers.get(weight)?.dims ?? graph.inputs.find(({ name }) => name === weight)!.dims!;
}

function initializersAmong({ graph }: Model, weights: readonly string[]): string[] {
  return weights.filter((name) => graph.initializers.has(name));
}

/** The optimiser as a graph, and the state that it starts from. */
export interface WeightUpdate {
  /** Takes the {@link SUM}s of gradients and the state. Returns the new state, with {@link NEXT} before each name. */
  readonly model: Model;
  /** Weights, moments and the step count before the first step. Tables that are trained by rows are not in it. */
  readonly initial: ReadonlyMap<string, Tensor>;
}

/**
 * Builds AdamW as a graph of its own, for gradients that another graph has summed up.
 *
 * @param weights - their values at the start, float32.
 * @param rows - shapes of the inputs that take some rows of a table. @default none
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

/** Zeros of the same shape. */
export function zerosLike({ dims, data }: Tensor): Tensor {
  return float32(dims, new Float32Array(data.length));
}

/** A table that is trained by rows: a step takes the rows that its batch uses, and no others. */
export interface RowwiseTable {
  /** Name of the input that takes the rows. */
  readonly table: string;
  /** The whole table at the start: [rows, width], or [rows] where a row is one number. */
  readonly value: Tensor;
  /** Name of the fed value that says which rows a batch uses. */
  readonly ids: string;
  /** Name of the input that takes `ids` with each row replaced by its place among the rows used. @default none */
  readonly places?: string;
}

/** An encoder in training, as graphs. */
export interface TrainedGraph {
  /** Adds a micro-batch's gradient to the sums, as {@link buildUpstreamGradient} does. */
  readonly gradient: Model;
  /** Takes a batch and the weights, changes nothing, and returns the values that were asked for. */
  readonly forward: Model | undefined;
  /** Names of the trained weights in both graphs. */
  readonly weights: readonly string[];
}

/**
 * A training step as graphs. Gradients are summed up over micro-batches, so that a batch may be larger than what fits
 * into one run, and texts run together with texts of like length.
 */
export interface TrainingStep {
  /** By the prefix of their weights' names in the update. */
  readonly graphs: ReadonlyMap<string, TrainedGraph>;
  readonly update: WeightUpdate;
  readonly tables: readonly RowwiseTable[];
}

/**
 * Builds the graphs of a training step of one encoder: forward, loss and gradients of a micro-batch; AdamW.
 *
 * @param model - in plain operators; its inputs are the batch, its initialisers the weights.
 * @param options.loss - name of a value without dimensions.
 * @param options.weights - initialisers to train; the others are constants. Or inputs that take rows of a table.
 * @param options.tables - the tables of those inputs. @default none
 * @param options.observe - values of the forward graph to look at between steps.
 * @throws {OnnxError} as `differentiate` does; `REQUEST_INVALID` for options that are out of range.
 */
export async function buildStep(
  model: Model,
  options: {
    loss: string;
    weights: readonly string[];
    optimizer: OptimizerOptions;
    tables?: readonly RowwiseTable[];
    observe?: readonly string[];
  },
): Promise<TrainingStep> {
  const { loss, weights, optimizer, tables = [], observe } = options;
  checkOptimizer(weights.length, optimizer);
  const gradient = await buildLossGradient(model, loss, weights);
  const constants = initializersAmong(model, weights);
  const initial = new Map(constants.map((name) => [name, model.graph.initializers.get(name)!]));
  const rows = weights.filter((name) => !initial.has(name));
  return {
    graphs: new Map([
      ['', { gradient, forward: observe && asInputs(prune(model, observe), constants), weights }],
    ]),
    update: buildUpdate(initial, optimizer, new Map(rows.map((name) => [name, dimsOf(model, name)]))),
    tables,
  };
}
