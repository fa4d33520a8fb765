import { InferenceSession } from 'onnxruntime-node';
import { GraphBuilder } from '../onnx/builder.ts';
import { OnnxError } from '../onnx/errors.ts';
import type { Model } from '../onnx/model.ts';
import { toRuntime } from '../onnx/run.ts';
import { float32, int64, toNumbers, type Tensor } from '../onnx/tensor.ts';
import { encodeModel } from '../onnx/write.ts';
import { distillationLoss, DOCUMENTS, TEACHER, type LossWeights } from './losses.ts';
import type { OptimizerOptions } from './optimizer.ts';
import { buildStep, LOSS, MEAN, MEAN_SQUARE, NEXT, STEP } from './step.ts';
import { reportOf, type StepReport } from './trainer.ts';

/** A text as rows of the table, each as often as it occurs: its tokens, and whatever else has a row. */
export type Rows = readonly number[];

const VECTORS = 'vectors';
const LOG_WEIGHTS = 'log_weights';
const COUNTS = 'counts';

/** One parameter of every row: its numbers and their moments, row by row. */
interface Column {
  readonly width: number;
  readonly value: Float32Array;
  readonly mean: Float32Array;
  readonly meanSquare: Float32Array;
}

/**
 * Trains a table of vectors, of which a text's vector is the weighted mean of its tokens' rows; each row has a weight
 * of its own, which is learned as well.
 *
 * Only the rows of a batch take part in its step, and only their moments change, so that a step costs by batch and not
 * by vocabulary. A text's rows come as a row of counts: the mean is then a product of matrices, and so is its gradient.
 */
export class LookupTrainer {
  readonly #session: InferenceSession;
  readonly #dimensions: number;
  readonly #columns: ReadonlyMap<string, Column>;
  #step: number;

  private constructor(
    session: InferenceSession,
    dimensions: number,
    columns: ReadonlyMap<string, Column>,
    step: number,
  ) {
    this.#session = session;
    this.#dimensions = dimensions;
    this.#columns = columns;
    this.#step = step;
  }

  /**
   * @param options.vectors - where training starts: rows × dimensions. A copy is trained.
   * @param options.state - what {@link state} returned, to go on from there instead.
   * @param options.threads - @default ONNX Runtime's: one for each core
   */
  static async create(options: {
    dimensions: number;
    vectors: Float32Array;
    optimizer: OptimizerOptions;
    loss?: LossWeights;
    state?: ReadonlyMap<string, Tensor>;
    threads?: number;
  }): Promise<LookupTrainer> {
    const { dimensions, vectors, optimizer, loss, threads, state } = options;
    if (vectors.length === 0 || vectors.length % dimensions !== 0) {
      throw new OnnxError(
        'REQUEST_INVALID',
        `${vectors.length} numbers are no rows of ${dimensions} dimensions`,
      );
    }
    const step = await buildStep(lookupModel(dimensions, loss), {
      loss: LOSS,
      weights: [VECTORS, LOG_WEIGHTS],
      optimizer,
    });
    const session = await InferenceSession.create(encodeModel(step.model), {
      ...(threads !== undefined && { intraOpNumThreads: threads }),
      logSeverityLevel: 3,
    });
    const columns = new Map([
      [VECTORS, column(vectors.slice(), dimensions)],
      [LOG_WEIGHTS, column(new Float32Array(vectors.length / dimensions), 1)],
    ]);
    if (state === undefined) return new LookupTrainer(session, dimensions, columns, 0);
    for (const [name, { value, mean, meanSquare }] of columns) {
      value.set(stateOf(state, name, value.length));
      mean.set(stateOf(state, MEAN + name, value.length));
      meanSquare.set(stateOf(state, MEAN_SQUARE + name, value.length));
    }
    return new LookupTrainer(session, dimensions, columns, toNumbers(state.get(STEP)!)[0]!);
  }

  /**
   * Takes one step. When the loss or the gradient is not finite, the state stays as it was before the step.
   *
   * @param texts - at least one row each.
   * @param teacher - the teacher's vectors of the texts, one after the other.
   * @param documents - unit vectors of the texts' documents, likewise: for a contrastive term.
   */
  async step(texts: readonly Rows[], teacher: Float32Array, documents?: Float32Array): Promise<StepReport> {
    const { rows, counts } = countRows(texts);
    const dims = [texts.length, this.#dimensions];
    const feeds: Record<string, Tensor> = {
      [STEP]: int64([this.#step], []),
      [COUNTS]: float32([texts.length, rows.length], counts),
      [TEACHER]: float32(dims, teacher),
      ...(documents && { [DOCUMENTS]: float32(dims, documents) }),
    };
    for (const [name, { width, value, mean, meanSquare }] of this.#columns) {
      const dims = name === VECTORS ? [rows.length, width] : [rows.length];
      feeds[name] = float32(dims, pick(value, rows, width));
      feeds[MEAN + name] = float32(dims, pick(mean, rows, width));
      feeds[MEAN_SQUARE + name] = float32(dims, pick(meanSquare, rows, width));
    }
    const inputs = Object.entries(feeds).map(([name, value]) => [name, toRuntime(value)] as const);
    const results = await this.#session.run(Object.fromEntries(inputs));
    const report = reportOf(results);
    if (!Number.isFinite(report.loss) || !Number.isFinite(report.gradientNorm)) return report;
    const result = (name: string): Float32Array => results[NEXT + name]!.data as Float32Array;
    for (const [name, { width, value, mean, meanSquare }] of this.#columns) {
      place(value, rows, width, result(name));
      place(mean, rows, width, result(MEAN + name));
      place(meanSquare, rows, width, result(MEAN_SQUARE + name));
    }
    this.#step = report.step;
    return report;
  }

  /** Rows × dimensions, each times its weight: a text's vector is their sum, but for its length. */
  table(): Float32Array {
    const { width, value } = this.#columns.get(VECTORS)!;
    const weights = this.#columns.get(LOG_WEIGHTS)!.value.map(Math.exp);
    return value.map((x, i) => x * weights[Math.floor(i / width)]!);
  }

  /** Vectors of texts, not normalised, with the rows as they are now. */
  encode(texts: readonly Rows[]): Float32Array {
    const { width, value } = this.#columns.get(VECTORS)!;
    const logWeights = this.#columns.get(LOG_WEIGHTS)!.value;
    const out = new Float32Array(texts.length * width);
    for (const [i, text] of texts.entries()) {
      const vector = out.subarray(i * width, (i + 1) * width);
      let total = 0;
      for (const row of text) {
        const weight = Math.exp(logWeights[row]!);
        total += weight;
        for (let d = 0; d < width; d++) vector[d]! += weight * value[row * width + d]!;
      }
      for (let d = 0; d < width; d++) vector[d]! /= total;
    }
    return out;
  }

  /** Everything that the next step depends on besides its batch, for a checkpoint: the next step changes it in place. */
  state(): Map<string, Tensor> {
    const state = new Map<string, Tensor>([[STEP, int64([this.#step], [])]]);
    for (const [name, { width, value, mean, meanSquare }] of this.#columns) {
      const dims = width === 1 ? [value.length] : [value.length / width, width];
      state.set(name, float32(dims, value));
      state.set(MEAN + name, float32(dims, mean));
      state.set(MEAN_SQUARE + name, float32(dims, meanSquare));
    }
    return state;
  }

  async close(): Promise<void> {
    await this.#session.release();
  }
}

function column(value: Float32Array, width: number): Column {
  return { width, value, mean: new Float32Array(value.length), meanSquare: new Float32Array(value.length) };
}

function stateOf(state: ReadonlyMap<string, Tensor>, name: string, length: number): Float32Array {
  const data = state.get(name)?.data;
  if (data instanceof Float32Array && data.length === length) return data;
  throw new OnnxError('REQUEST_INVALID', `the state to go on from has no "${name}", or another size of it`);
}

function lookupModel(dimensions: number, loss: LossWeights | undefined): Model {
  const g = new GraphBuilder();
  const counts = g.input(COUNTS, 'float32', ['batch', 'rows']);
  const teacher = g.input(TEACHER, 'float32', ['batch', dimensions]);
  const vectors = g.input(VECTORS, 'float32', ['rows', dimensions]);
  // The exponent keeps weights positive, and lets them grow and shrink by shares.
  const weights = g.node('Exp', [g.input(LOG_WEIGHTS, 'float32', ['rows'])]);
  const shares = g.node('Mul', [counts, weights]);
  const sum = g.node('MatMul', [shares, vectors]);
  const student = g.node('Div', [sum, g.node('ReduceSum', [shares, g.ints([-1])])]);
  const sides = {
    student,
    teacher,
    ...((loss?.contrastive ?? 0) > 0 && { documents: g.input(DOCUMENTS, 'float32', ['batch', dimensions]) }),
  };
  g.output(LOSS, distillationLoss(g, sides, loss));
  return g.build();
}

/** The rows that a batch uses, and how often each text uses each of them: texts × rows. */
function countRows(texts: readonly Rows[]): { rows: number[]; counts: Float32Array } {
  const places = new Map<number, number>();
  for (const [i, text] of texts.entries()) {
    if (text.length === 0) throw new OnnxError('REQUEST_INVALID', `text ${i} of the batch has no tokens`);
    for (const row of text) if (!places.has(row)) places.set(row, places.size);
  }
  const counts = new Float32Array(texts.length * places.size);
  for (const [i, text] of texts.entries()) {
    for (const row of text) counts[i * places.size + places.get(row)!]! += 1;
  }
  return { rows: [...places.keys()], counts };
}

function pick(from: Float32Array, rows: readonly number[], width: number): Float32Array {
  const out = new Float32Array(rows.length * width);
  for (const [i, row] of rows.entries()) out.set(from.subarray(row * width, (row + 1) * width), i * width);
  return out;
}

function place(to: Float32Array, rows: readonly number[], width: number, values: Float32Array): void {
  for (const [i, row] of rows.entries()) to.set(values.subarray(i * width, (i + 1) * width), row * width);
}
