import { GraphBuilder } from '../onnx/builder.ts';
import { OnnxError } from '../onnx/errors.ts';
import type { Model } from '../onnx/model.ts';
import { prune } from '../onnx/prune.ts';
import { trace } from '../onnx/trace.ts';
import { findLayers, keepLayers, spread } from './layers.ts';
import { distillationLoss, DOCUMENTS, seesDocuments, TEACHER, type LossWeights } from './losses.ts';
import type { OptimizerOptions } from './optimizer.ts';
import { pool } from './pooling.ts';
import { buildStep, LOSS, type TrainingStep } from './step.ts';
import { narrowTo, PROJECTION } from './narrow.ts';

/** A student that is made of some of its teacher's own layers. */
export interface TransformerStudent {
  /** Token inputs → `output`. Its initialisers are where training starts. */
  readonly model: Model;
  readonly output: string;
  /** Which of the teacher's layers it has, from 0. */
  readonly layers: readonly number[];
  /** The trained weights: matrices, biases and norms. */
  readonly weights: readonly string[];
  /** The teacher's embedding tables. They stay unchanged unless they are trained as well. */
  readonly tables: readonly string[];
}

/**
 * Cuts a student out of its teacher.
 *
 * @param teacher - in plain operators.
 * @param layers - which layers to keep, or how many: then evenly spaced, the first and the last among them.
 * @param options.width - components of the tokens' vectors, fewer than the teacher's; a projection leads to as many as it
 * has. @default the teacher's
 * @param options.output - name of the vectors: of tokens [batch, sequence, dimensions], or of texts [batch, dimensions].
 * @default the teacher's first output
 * @throws {OnnxError} `FEATURE_UNSUPPORTED` when the teacher's layers can't be found; `REQUEST_INVALID` for layers that
 * it does not have, or a width that is not below its own; `OPERATOR_UNSUPPORTED` when it can't be made narrower.
 */
export async function cutTransformer(
  teacher: Model,
  layers: number | readonly number[],
  options: { output?: string; width?: number | undefined } = {},
): Promise<TransformerStudent> {
  const { output = teacher.graph.outputs[0]!.name, width } = options;
  const found = await findLayers(teacher, output);
  const total = found.boundaries.length - 1;
  if (typeof layers === 'number' && !(Number.isInteger(layers) && layers >= 1 && layers <= total)) {
    throw new OnnxError(
      'REQUEST_INVALID',
      `a student of ${layers} layers can't be cut from a teacher of ${total}`,
    );
  }
  const kept = typeof layers === 'number' ? spread(layers, total) : layers;
  const cut = keepLayers(teacher, found, output, kept);
  const model = width === undefined ? cut : await narrowTo(cut, found.boundaries[0]!, output, width);
  const has = (name: string): boolean => model.graph.initializers.has(name);
  return {
    model,
    output,
    layers: kept,
    // A student that was narrow before has its projection among what is found.
    weights: [...new Set([...found.weights, PROJECTION])].filter(has),
    tables: found.tables.filter(has),
  };
}

/** Name of the student's vectors, float32 [batch, dimensions], not normalised: what a trainer observes. */
export const VECTORS = 'vectors';

/**
 * Builds an encoder with one vector for each text, {@link VECTORS}: float32 [batch, dimensions], not normalised.
 *
 * @param options.pooling - how token vectors become one; nothing where the output has one vector for each text already.
 * @param options.dimensions - what longer vectors are cut to.
 * @throws {OnnxError} `REQUEST_INVALID` for more dimensions than the output has.
 */
export async function pooledVectors(
  encoder: Pick<TransformerStudent, 'model' | 'output'>,
  options: { pooling: 'mean' | 'cls' | 'last'; dimensions: number },
): Promise<Model> {
  const { model, output } = encoder;
  const { pooling, dimensions } = options;
  const { dims } = (await trace(model)).value(output);
  const width = dims.at(-1)!;
  if (!(dimensions >= 1 && dimensions <= width)) {
    throw new OnnxError('REQUEST_INVALID', `vectors of ${width} numbers can't be cut to ${dimensions}`);
  }
  const g = new GraphBuilder(prune(model, [output]));
  const whole = dims.length === 3 ? pool(g, output, maskOf(g, model), pooling) : g.node('Identity', [output]);
  const cut = (): string => g.node('Slice', [whole, g.ints([0]), g.ints([dimensions]), g.ints([1])]);
  g.output(VECTORS, width === dimensions ? whole : cut());
  return g.build();
}

/**
 * The training step of a student: its vectors come nearer to the teacher's. A batch is the student's token inputs and
 * {@link TEACHER}.
 *
 * @param options.dimensions - how many of the vectors' components count, from the first: those of a space that is cut short.
 * @default all
 * @param options.trainTables - whether the embedding tables are trained as well; of that of the tokens each step takes the
 * rows that its batch uses. @default false
 * @throws {OnnxError} as `buildStep` does.
 */
export async function transformerStep(
  student: TransformerStudent,
  options: {
    pooling: 'mean' | 'cls' | 'last';
    optimizer: OptimizerOptions;
    loss?: LossWeights;
    trainTables?: boolean;
    dimensions?: number;
  },
): Promise<TrainingStep> {
  const { pooling, optimizer, loss = {}, trainTables = false } = options;
  const { dims } = (await trace(student.model)).value(student.output);
  const width = dims.at(-1)!;
  const { dimensions = width } = options;
  const g = new GraphBuilder(await pooledVectors(student, { pooling, dimensions }));
  const rows = ['batch', dimensions];
  const sides = {
    student: VECTORS,
    teacher: g.input(TEACHER, 'float32', rows),
    ...(seesDocuments(loss) && { documents: g.input(DOCUMENTS, 'float32', rows) }),
  };
  g.output(LOSS, distillationLoss(g, sides, loss));
  const whole = g.build();
  const table = trainTables ? tokenTable(whole, student.tables) : undefined;
  return buildStep(table === undefined ? whole : byRows(whole, table), {
    loss: LOSS,
    weights: [...student.weights, ...(trainTables ? student.tables : [])],
    optimizer,
    observe: [VECTORS],
    ...(table !== undefined && {
      tables: [{ table, value: student.model.graph.initializers.get(table)!, ids: TOKENS, places: PLACES }],
    }),
  });
}

/** The tokens of a batch, and the same counted among the rows that are used. */
const TOKENS = 'input_ids';
const PLACES = 'token_places';

/** The table that the tokens pick rows of, where nothing else reads it. */
function tokenTable({ graph }: Model, tables: readonly string[]): string | undefined {
  return tables.find((table) => {
    const readers = graph.nodes.filter(({ inputs }) => inputs.includes(table));
    return (
      readers.length === 1 &&
      readers.every(
        ({ op, inputs, attributes }) =>
          op === 'Gather' && inputs[1] === TOKENS && (attributes['axis']?.value ?? 0) === 0,
      )
    );
  });
}

/** The graph with a table as an input that takes the rows that a batch uses. */
function byRows(model: Model, table: string): Model {
  const { graph } = model;
  const { dims } = graph.initializers.get(table)!;
  const { dims: tokens } = graph.inputs.find(({ name }) => name === TOKENS)!;
  const initializers = new Map(graph.initializers);
  initializers.delete(table);
  const rows = { name: table, type: 'float32', dims: ['rows', ...dims.slice(1)] } as const;
  const places = { name: PLACES, type: 'int64', dims: tokens! } as const;
  const nodes = graph.nodes.map((node) =>
    node.inputs[0] === table ? { ...node, inputs: [table, PLACES] } : node,
  );
  return { ...model, graph: { ...graph, nodes, initializers, inputs: [...graph.inputs, rows, places] } };
}

/** A graph without a mask of its own still needs to know which tokens to pool. */
function maskOf(g: GraphBuilder, model: Model): string {
  const name = 'attention_mask';
  return model.graph.inputs.some((input) => input.name === name)
    ? name
    : g.input(name, 'int64', ['batch', 'sequence']);
}
