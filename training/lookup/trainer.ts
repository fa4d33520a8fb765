import { distillationLoss, DOCUMENTS, TEACHER, type LossWeights } from '../gradient/losses.ts';
import type { OptimizerOptions } from '../gradient/optimizer.ts';
import { buildStep, LOSS } from '../gradient/step.ts';
import { Trainer, type StepReport, type TrainerOptions } from '../gradient/trainer.ts';
import { GraphBuilder } from '../onnx/builder.ts';
import { OnnxError } from '../onnx/errors.ts';
import { int, type Model } from '../onnx/model.ts';
import { elementCount, float32, int64, type Tensor } from '../onnx/tensor.ts';
import { seededRandom } from '../random.ts';
import { LOG_WEIGHTS, PAIR_VECTORS, POSITIONS, PROJECTION, SEEKS, SHOWS, TOKEN_VECTORS } from './model.ts';
import { NO_PAIR } from './pair-dictionary.ts';

/** A text as rows of the tables, each as often as it occurs. */
export interface LookupText {
  /** In the text's order. */
  tokens: readonly number[];
  pairs: readonly number[];
}

/** Components of what a token seeks and of what it shows. */
const CONTEXT_WIDTH = 32;

/** How far from 0 they start. At 0 they would never move. */
const CONTEXT_SCALE = 0.1;

const TOKEN_COUNTS = 'token_counts';
const PAIR_COUNTS = 'pair_counts';

/** What the rows of a table belong to. */
type RowsOf = 'tokens' | 'pairs' | 'positions';

/** Before what rows belong to: the name of the fed value that says which of them a batch uses. */
const ROWS = 'rows_of_';

/** How a lookup student is trained. */
export interface LookupTrainerOptions extends TrainerOptions {
  dimensions: number;
  /** Where training starts: tokens × dimensions, or tokens × components where there is a projection. A copy is trained. */
  vectors: Float32Array;
  /** From the vectors' components to the dimensions: components × dimensions. A copy is trained. @default none */
  projection?: Float32Array | undefined;
  /** Rows of pairs; they start at 0. @default none */
  pairs?: number;
  /** Positions in a text with a weight of their own; all that come after have the last one's. @default none */
  positions?: number;
  /** What the student's vectors are multiplied by to be as long as the teacher's. @default 1 */
  scale?: number;
  optimizer: OptimizerOptions;
  loss?: LossWeights;
  /** @default 1 */
  seed?: number;
}

/**
 * Trains the tables of a lookup student. A text's vector is the weighted mean of its tokens' rows, with the rows of its
 * pairs added.
 *
 * Only the rows of a batch take part in its step, and only their moments change, so that a step costs by batch and not
 * by vocabulary. A text's rows come as a row of counts: sums are then products of matrices, and so are their gradients.
 */
export class LookupTrainer {
  readonly #trainer: Trainer;
  readonly #dimensions: number;
  readonly #positions: number;

  private constructor(trainer: Trainer, dimensions: number, positions: number) {
    this.#trainer = trainer;
    this.#dimensions = dimensions;
    this.#positions = positions;
  }

  /** @throws {OnnxError} `REQUEST_INVALID` for vectors that are no rows, or a state of other tables */
  static async create(options: LookupTrainerOptions): Promise<LookupTrainer> {
    const {
      dimensions,
      vectors,
      projection,
      pairs = 0,
      positions = 0,
      scale = 1,
      optimizer,
      loss = {},
      seed = 1,
    } = options;
    const width = projection === undefined ? dimensions : projection.length / dimensions;
    for (const [values, row] of [
      [vectors, width],
      [projection ?? vectors, projection === undefined ? width : dimensions],
    ] as const) {
      if (values.length === 0 || values.length % row !== 0) {
        throw new OnnxError('REQUEST_INVALID', `${values.length} numbers are no rows of ${row} dimensions`);
      }
    }
    const tokens = vectors.length / width;
    const random = seededRandom(seed);
    const noise = (): Float32Array =>
      Float32Array.from({ length: tokens * CONTEXT_WIDTH }, () => CONTEXT_SCALE * normal(random));
    const tables = new Map<string, { of: RowsOf; value: Tensor }>();
    const add = (of: RowsOf, name: string, dims: readonly number[], values?: Float32Array): void => {
      tables.set(name, { of, value: float32(dims, values ?? new Float32Array(elementCount(dims))) });
    };
    add('tokens', TOKEN_VECTORS, [tokens, width], vectors);
    add('tokens', LOG_WEIGHTS, [tokens]);
    add('tokens', SEEKS, [tokens, CONTEXT_WIDTH], noise());
    add('tokens', SHOWS, [tokens, CONTEXT_WIDTH], noise());
    if (pairs > 0) add('pairs', PAIR_VECTORS, [pairs, width]);
    if (positions > 0) add('positions', POSITIONS, [positions]);
    const widths = new Map(
      [...tables].map(([name, { of, value }]) => [name, { of, width: value.dims[1] ?? 1 }]),
    );
    const matrix = projection && float32([width, dimensions], Float32Array.from(projection));
    const step = await buildStep(trainedModel(dimensions, widths, scale, loss, matrix), {
      loss: LOSS,
      weights: [...tables.keys(), ...(matrix === undefined ? [] : [PROJECTION])],
      optimizer,
      tables: [...tables].map(([table, { of, value }]) => ({ table, value, ids: ROWS + of })),
    });
    return new LookupTrainer(await Trainer.create(step, options), dimensions, positions);
  }

  /** Steps taken so far. */
  get steps(): number {
    return this.#trainer.steps;
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
    const positions = this.#positions;
    const tokens = countRows(
      texts.map((text) => text.tokens),
      { positions },
    );
    const pairs = countRows(
      texts.map((text) => text.pairs),
      { always: [NO_PAIR] },
    );
    const dims = [texts.length, this.#dimensions];
    const counts = ({ rows, counts }: Counts, ...outer: number[]): Tensor =>
      float32([...outer, texts.length, rows.length], counts);
    return this.#trainer.step({
      [`${ROWS}tokens`]: int64(tokens.rows),
      [`${ROWS}pairs`]: int64(pairs.rows),
      [`${ROWS}positions`]: int64(Array.from({ length: positions }, (_, position) => position)),
      [TOKEN_COUNTS]: counts(tokens, ...(positions > 0 ? [positions] : [])),
      [PAIR_COUNTS]: counts(pairs),
      [TEACHER]: float32(dims, teacher),
      ...(documents && { [DOCUMENTS]: float32(dims, documents) }),
    });
  }

  /** Vectors of texts with the rows as they are now, neither normalised nor scaled. */
  encode(texts: readonly LookupText[]): Float32Array {
    const tables = this.#trainer.state();
    const table = (name: string): Float32Array | undefined =>
      tables.get(name)?.data as Float32Array | undefined;
    const [vectors, pairVectors] = [table(TOKEN_VECTORS)!, table(PAIR_VECTORS)];
    const projection = table(PROJECTION);
    const width = projection === undefined ? this.#dimensions : projection.length / this.#dimensions;
    const out = new Float32Array(texts.length * width);
    for (const [i, { tokens, pairs }] of texts.entries()) {
      const vector = out.subarray(i * width, (i + 1) * width);
      const weights = weightsOf(tokens, table);
      const add = (row: number, from: Float32Array, weight: number): void => {
        for (let d = 0; d < width; d++) vector[d]! += weight * from[row * width + d]!;
      };
      for (const [at, token] of tokens.entries()) add(token, vectors, weights[at]!);
      for (const pair of pairs) add(pair, pairVectors!, 1);
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      for (let d = 0; d < width; d++) vector[d]! /= total;
    }
    return projection === undefined ? out : product(out, projection, width, this.#dimensions);
  }

  /** A copy of the tables as they are now. */
  weights(): Map<string, Tensor> {
    return this.#trainer.weights();
  }

  /** What {@link Trainer.state} gives: the next step changes it in place. */
  state(): Map<string, Tensor> {
    return this.#trainer.state();
  }

  close(): Promise<void> {
    return this.#trainer.close();
  }
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

/** The weight of each token of a text. */
function weightsOf(tokens: readonly number[], table: (name: string) => Float32Array | undefined): number[] {
  const [shows, seeks, logWeights] = [table(SHOWS)!, table(SEEKS)!, table(LOG_WEIGHTS)!];
  const positions = table(POSITIONS);
  const shown = new Float64Array(CONTEXT_WIDTH);
  for (const token of tokens) {
    for (let i = 0; i < CONTEXT_WIDTH; i++) shown[i]! += shows[token * CONTEXT_WIDTH + i]! / tokens.length;
  }
  return tokens.map((token, at) => {
    let sum = logWeights[token]! + (positions?.[Math.min(at, positions.length - 1)] ?? 0);
    for (let i = 0; i < CONTEXT_WIDTH; i++) sum += seeks[token * CONTEXT_WIDTH + i]! * shown[i]!;
    return Math.exp(sum);
  });
}

/** Standard normal, by Box and Muller's transform. */
function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

/** Rows of a batch and their counts → the loss. */
export function trainedModel(
  dimensions: number,
  columns: ReadonlyMap<string, { of: RowsOf; width: number }>,
  scale: number,
  loss: LossWeights,
  projection?: Tensor,
): Model {
  const g = new GraphBuilder();
  const placed = columns.has(POSITIONS);
  const given = g.input(TOKEN_COUNTS, 'float32', [...(placed ? ['positions'] : []), 'batch', 'tokens']);
  const acrossPositions = (value: string): string =>
    g.node('ReduceSum', [value, g.ints([0])], { keepdims: int(0) });
  const counts = placed ? acrossPositions(given) : given;
  for (const [name, { of, width }] of columns) {
    g.input(name, 'float32', width === 1 ? [of] : [of, width]);
  }
  const length = g.node('ReduceSum', [counts, g.ints([-1])]);
  const shown = g.node('Div', [g.node('MatMul', [counts, SHOWS]), length]);
  const agreement = g.node('MatMul', [shown, g.node('Transpose', [SEEKS])]);
  // The exponent keeps weights positive, and lets them grow and shrink by shares.
  const weights = g.node('Exp', [g.node('Add', [agreement, LOG_WEIGHTS])]);
  const heights = (): string => g.node('Unsqueeze', [g.node('Exp', [POSITIONS]), g.ints([1, 2])]);
  const weighed = placed ? acrossPositions(g.node('Mul', [given, heights()])) : counts;
  const shares = g.node('Mul', [weighed, weights]);
  let sum = g.node('MatMul', [shares, TOKEN_VECTORS]);
  if (columns.has(PAIR_VECTORS)) {
    const pairs = g.input(PAIR_COUNTS, 'float32', ['batch', 'pairs']);
    sum = g.node('Add', [sum, g.node('MatMul', [pairs, PAIR_VECTORS])]);
  }
  const mean = g.node('Div', [sum, g.node('ReduceSum', [shares, g.ints([-1])])]);
  const vectors =
    projection === undefined ? mean : g.node('MatMul', [mean, g.initializer(PROJECTION, projection)]);
  const sides = {
    student: g.node('Mul', [vectors, g.scalar(scale)]),
    teacher: g.input(TEACHER, 'float32', ['batch', dimensions]),
    ...((loss.contrastive ?? 0) > 0 && { documents: g.input(DOCUMENTS, 'float32', ['batch', dimensions]) }),
  };
  g.output(LOSS, distillationLoss(g, sides, loss));
  return g.build();
}

/** The rows that a batch uses, and how often each text uses each of them: texts × rows, for each position if need be. */
interface Counts {
  rows: number[];
  counts: Float32Array;
}

/**
 * @param options.always - rows that are among them in any case, so that there is one
 * @param options.positions - how many to tell apart, the last and all after it being one. @default none
 */
function countRows(
  texts: readonly (readonly number[])[],
  { always = [], positions = 0 }: { always?: readonly number[]; positions?: number },
): Counts {
  const places = new Map<number, number>(always.map((row, place) => [row, place]));
  for (const text of texts) for (const row of text) if (!places.has(row)) places.set(row, places.size);
  const counts = new Float32Array(Math.max(1, positions) * texts.length * places.size);
  for (const [i, text] of texts.entries()) {
    for (const [at, row] of text.entries()) {
      const layer = Math.max(0, Math.min(at, positions - 1));
      counts[(layer * texts.length + i) * places.size + places.get(row)!]! += 1;
    }
  }
  return { rows: [...places.keys()], counts };
}
