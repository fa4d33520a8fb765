import type { LossWeights } from '../gradient/losses.ts';
import { checkOptimizer, type OptimizerOptions } from '../gradient/optimizer.ts';
import { STEP } from '../gradient/step.ts';
import { otherState } from '../gradient/row-table.ts';
import type { StepReport, TrainerOptions, UpdateReport } from '../gradient/trainer.ts';
import { OnnxError } from '../onnx/errors.ts';
import { elementCount, float32, int64, toNumbers, type Tensor } from '../onnx/tensor.ts';
import { normal, seededRandom } from '../random.ts';
import { adamStep, AdamTable, type SomeRows } from './adam-rows.ts';
import { LossHead, rowsTensor } from './head.ts';
import { LOG_WEIGHTS, PAIR_VECTORS, POSITIONS, PROJECTION, SEEKS, SHOWS, TOKEN_VECTORS } from './model.ts';
import {
  backText,
  CONTEXT_WIDTH,
  poolText,
  RowGradients,
  type PooledTables,
  type PooledText,
} from './pooled.ts';

/** A text as rows of the tables, each as often as it occurs. */
export interface LookupText {
  /** In the text's order. */
  tokens: readonly number[];
  pairs: readonly number[];
}

/** How far from 0 contexts start. At 0 they would never move. */
const CONTEXT_SCALE = 0.1;

/** How a lookup student is trained. */
export interface LookupTrainerOptions extends TrainerOptions {
  dimensions: number;
  /** Where training starts: tokens × dimensions, or tokens × components where there is a projection. A copy is trained. */
  vectors: Float32Array;
  /** From the vectors' components to the dimensions: components × dimensions. A copy is trained. @default none */
  projection?: Float32Array | undefined;
  /** Rows of pairs; they start at 0. @default none */
  pairs?: number;
  /** Other tables by their names where they do not start afresh; pairs and positions may have more rows. @default none */
  start?: ReadonlyMap<string, Float32Array> | undefined;
  /** Positions in a text with a weight of their own; all that come after have the last one's. @default none */
  positions?: number;
  /** What the student's vectors are multiplied by to be as long as the teacher's. @default 1 */
  scale?: number;
  optimizer: OptimizerOptions;
  loss?: LossWeights;
  /** @default 1 */
  seed?: number;
}

/** Names of the tables of rows, by what they are to a text's mean. */
const ROW_TABLES: Readonly<Record<keyof PooledTables, string>> = {
  vectors: TOKEN_VECTORS,
  logWeights: LOG_WEIGHTS,
  seeks: SEEKS,
  shows: SHOWS,
  pairs: PAIR_VECTORS,
  positions: POSITIONS,
};

/**
 * Trains the tables of a lookup student. A text's vector is the weighted mean of its tokens' rows, with the rows of its
 * pairs added.
 *
 * Only the rows of a batch take part in its step, and only their moments change, so that a step costs by the tokens of its
 * batch and not by the vocabulary. Sums of rows are made here, row by row; a graph has the loss, the projection and their
 * gradient.
 */
export class LookupTrainer {
  readonly #options: LookupTrainerOptions;
  readonly #head: LossHead;
  readonly #tables: ReadonlyMap<string, AdamTable>;
  readonly #gradients: ReadonlyMap<string, RowGradients>;
  readonly #width: number;
  #steps: number;
  /** Whether gradients are sums of {@link accumulate}. */
  #accumulates = false;

  private constructor(
    options: LookupTrainerOptions,
    head: LossHead,
    tables: ReadonlyMap<string, Tensor>,
    width: number,
  ) {
    const { state } = options;
    this.#options = options;
    this.#head = head;
    this.#width = width;
    this.#tables = new Map([...tables].map(([name, value]) => [name, new AdamTable(name, value, state)]));
    this.#gradients = new Map(
      [...tables]
        .filter(([name]) => name !== PROJECTION)
        .map(([name, { dims }]) => [name, new RowGradients(dims[0]!, dims[1] ?? 1)]),
    );
    if (state !== undefined && state.get(STEP) === undefined) throw otherState(STEP);
    this.#steps = state === undefined ? 0 : toNumbers(state.get(STEP)!)[0]!;
  }

  /** @throws {OnnxError} `REQUEST_INVALID` for vectors that are no rows, or a state of other tables */
  static async create(options: LookupTrainerOptions): Promise<LookupTrainer> {
    const { dimensions, vectors, projection, scale = 1, loss = {}, threads } = options;
    const width = projection === undefined ? dimensions : projection.length / dimensions;
    for (const [values, row] of [
      [vectors, width],
      [projection ?? vectors, projection === undefined ? width : dimensions],
    ] as const) {
      if (values.length === 0 || values.length % row !== 0) {
        throw new OnnxError('REQUEST_INVALID', `${values.length} numbers are no rows of ${row} dimensions`);
      }
    }
    const tables = startTables(options, width);
    checkOptimizer(tables.size, options.optimizer);
    const hasProjection = projection !== undefined;
    const head = await LossHead.open({ width, dimensions, hasProjection, scale, loss, threads });
    return new LookupTrainer(options, head, tables, width);
  }

  /** Steps taken so far. */
  get steps(): number {
    return this.#steps;
  }

  /**
   * Takes one step. When the loss or the gradient is not finite, the state stays as it was before the step.
   *
   * @param texts - at least one token each.
   * @param teacher - the teacher's vectors of the texts, one after the other.
   * @param documents - unit vectors of the texts' documents, likewise: for a contrastive term.
   */
  async step(
    texts: readonly LookupText[],
    teacher: Float32Array,
    documents?: Float32Array,
  ): Promise<StepReport> {
    const empty = texts.findIndex(({ tokens }) => tokens.length === 0);
    if (empty >= 0) throw new OnnxError('REQUEST_INVALID', `text ${empty} of the batch has no tokens`);
    const { loss, gradients } = await this.gradient(texts, teacher, documents);
    return { loss, ...this.#move(gradients, Number.isFinite(loss)) };
  }

  /**
   * Adds the gradient of a loss that is computed elsewhere, for {@link update} to take. Not where there is a projection.
   *
   * @param byVectors - the loss's derivative by what {@link encode} gives, a row for each text
   */
  accumulate(texts: readonly LookupText[], byVectors: Float32Array): void {
    if (this.#tables.has(PROJECTION)) {
      throw new OnnxError('REQUEST_INVALID', 'a lookup with a projection is trained by its own loss alone');
    }
    if (!this.#accumulates) for (const gradients of this.#gradients.values()) gradients.clear();
    this.#accumulates = true;
    const means = new Float64Array(texts.length * this.#width);
    this.#back(texts, this.#pool(texts, means), means, byVectors);
  }

  /** Takes a step with the sums of {@link accumulate}, and clears them. Where they are not finite, nothing moves. */
  update(): UpdateReport {
    this.#accumulates = false;
    return this.#move(this.#gradients, true);
  }

  #move(gradients: ReadonlyMap<string, SomeRows>, isLossFinite: boolean): UpdateReport {
    let squares = 0;
    for (const { values } of gradients.values()) {
      for (let i = 0; i < values.length; i++) squares += values[i]! * values[i]!;
    }
    const gradientNorm = Math.sqrt(squares);
    const step = adamStep(this.#steps, gradientNorm, this.#options.optimizer);
    const report = { step: this.#steps + 1, gradientNorm, learningRate: step.rate };
    if (!isLossFinite || !Number.isFinite(gradientNorm)) return report;
    for (const [name, rows] of gradients) this.#tables.get(name)!.move(rows, step);
    this.#steps++;
    return report;
  }

  /** The loss of a batch, and its gradient by each table's rows. The next call overwrites them. */
  async gradient(
    texts: readonly LookupText[],
    teacher: Float32Array,
    documents?: Float32Array,
  ): Promise<{ loss: number; gradients: Map<string, SomeRows> }> {
    const { dimensions } = this.#options;
    const width = this.#width;
    const means = new Float64Array(texts.length * width);
    const pooled = this.#pool(texts, means);
    const projection = this.#tables.get(PROJECTION);
    const { loss, byMeans, byProjection } = await this.#head.run({
      means: rowsTensor(Float32Array.from(means), width),
      teacher: rowsTensor(teacher, dimensions),
      projection: projection && rowsTensor(projection.value, dimensions),
      documents: documents && rowsTensor(documents, dimensions),
    });
    for (const gradients of this.#gradients.values()) gradients.clear();
    this.#back(texts, pooled, means, byMeans);
    const found = new Map<string, SomeRows>(this.#gradients);
    if (byProjection !== undefined) {
      found.set(PROJECTION, { rows: Array.from({ length: width }, (_, row) => row), values: byProjection });
    }
    return { loss, gradients: found };
  }

  /** Writes the texts' means to `means`, a row each. */
  #pool(texts: readonly LookupText[], means: Float64Array): PooledText[] {
    const tables = this.#pooled();
    return texts.map((text, i) => poolText(text, tables, this.#rowOf(means, i)));
  }

  #rowOf<Numbers extends Float32Array | Float64Array>(rows: Numbers, row: number): Numbers {
    return rows.subarray(row * this.#width, (row + 1) * this.#width) as Numbers;
  }

  /** Adds the gradient of a loss, given by the texts' means, to the rows that they use. */
  #back(
    texts: readonly LookupText[],
    pooled: readonly PooledText[],
    means: Float64Array,
    byMeans: Float32Array,
  ): void {
    this.#useRows(texts);
    const tables = this.#pooled();
    const rows = (name: string): RowGradients | undefined => this.#gradients.get(name);
    const gradients = {
      vectors: rows(TOKEN_VECTORS)!,
      logWeights: rows(LOG_WEIGHTS)!,
      seeks: rows(SEEKS)!,
      shows: rows(SHOWS)!,
      pairs: rows(PAIR_VECTORS),
      positions: rows(POSITIONS),
    };
    for (const [i, text] of texts.entries()) {
      const byMean = Float64Array.from(this.#rowOf(byMeans, i));
      backText(text, pooled[i]!, tables, this.#rowOf(means, i), byMean, gradients);
    }
  }

  /** Vectors of texts with the rows as they are now, neither normalised nor scaled. */
  encode(texts: readonly LookupText[]): Float32Array {
    const tables = this.#pooled();
    const width = this.#width;
    const out = new Float32Array(texts.length * width);
    const mean = new Float64Array(width);
    for (const [i, text] of texts.entries()) {
      poolText(text, tables, mean);
      out.set(mean, i * width);
    }
    const projection = this.#tables.get(PROJECTION)?.value;
    return projection === undefined ? out : product(out, projection, width, this.#options.dimensions);
  }

  /** A copy of the tables as they are now. */
  weights(): Map<string, Tensor> {
    return new Map([...this.#tables].map(([name, table]) => [name, table.copy()]));
  }

  /** Everything that the next step depends on besides its batch. The next step changes the tables in place. */
  state(): Map<string, Tensor> {
    return new Map([
      [STEP, int64([this.#steps], [])],
      ...[...this.#tables.values()].flatMap((table) => table.state()),
    ]);
  }

  close(): Promise<void> {
    return this.#head.close();
  }

  #pooled(): PooledTables {
    const table = (name: keyof PooledTables): Float32Array | undefined =>
      this.#tables.get(ROW_TABLES[name])?.value;
    return {
      vectors: table('vectors')!,
      logWeights: table('logWeights')!,
      seeks: table('seeks')!,
      shows: table('shows')!,
      pairs: table('pairs'),
      positions: table('positions'),
    };
  }

  /** Makes room for the gradients of a batch's rows. */
  #useRows(texts: readonly LookupText[]): void {
    const positions = this.#options.positions ?? 0;
    for (const name of [TOKEN_VECTORS, LOG_WEIGHTS, SEEKS, SHOWS]) {
      const gradients = this.#gradients.get(name)!;
      for (const { tokens } of texts) for (const token of tokens) gradients.use(token);
    }
    const pairs = this.#gradients.get(PAIR_VECTORS);
    if (pairs !== undefined) for (const text of texts) for (const pair of text.pairs) pairs.use(pair);
    for (let position = 0; position < positions; position++) this.#gradients.get(POSITIONS)!.use(position);
  }
}

/** The tables before the first step. */
function startTables(options: LookupTrainerOptions, width: number): Map<string, Tensor> {
  const { dimensions, vectors, projection, pairs = 0, positions = 0, seed = 1, start } = options;
  const tokens = vectors.length / width;
  const random = seededRandom(seed);
  const noise = (): Float32Array =>
    Float32Array.from({ length: tokens * CONTEXT_WIDTH }, () => CONTEXT_SCALE * normal(random));
  const tables = new Map<string, Tensor>();
  const add = (name: string, dims: readonly number[], values?: Float32Array): void => {
    const value = new Float32Array(elementCount(dims));
    if (values !== undefined) value.set(values);
    const before = start?.get(name);
    if (before !== undefined && before.length > value.length) {
      throw new OnnxError(
        'REQUEST_INVALID',
        `${name} starts with ${before.length} numbers, and has ${value.length}`,
      );
    }
    if (before !== undefined) value.set(before);
    tables.set(name, float32(dims, value));
  };
  add(TOKEN_VECTORS, [tokens, width], vectors);
  add(LOG_WEIGHTS, [tokens]);
  add(SEEKS, [tokens, CONTEXT_WIDTH], noise());
  add(SHOWS, [tokens, CONTEXT_WIDTH], noise());
  if (pairs > 0) add(PAIR_VECTORS, [pairs, width]);
  if (positions > 0) add(POSITIONS, [positions]);
  if (projection !== undefined) add(PROJECTION, [width, dimensions], projection);
  return tables;
}

/** Rows of `inner` numbers times a matrix of as many rows. */
function product(rows: Float32Array, matrix: Float32Array, inner: number, columns: number): Float32Array {
  const out = new Float32Array((rows.length / inner) * columns);
  for (let row = 0; row < rows.length / inner; row++) {
    const sum = out.subarray(row * columns, (row + 1) * columns);
    for (let i = 0; i < inner; i++) {
      const x = rows[row * inner + i]!;
      for (let column = 0; column < columns; column++) sum[column]! += x * matrix[i * columns + column]!;
    }
  }
  return out;
}
