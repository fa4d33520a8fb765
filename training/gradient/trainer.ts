import type { InferenceSession, Tensor as RuntimeTensor } from 'onnxruntime-node';
import { OnnxError } from '../onnx/errors.ts';
import { fromRuntime, openSession, toRuntime } from '../onnx/run.ts';
import { scalar, toNumbers, type Tensor } from '../onnx/tensor.ts';
import { PART_LOSS, SHARE, SUM, zerosLike, type PartedStep, type TableRows } from './accumulate.ts';
import { RowTable } from './rows.ts';
import { GRADIENT_NORM, LEARNING_RATE, NEXT, STEP } from './step.ts';

/** What an update of the weights says. */
export interface UpdateReport {
  /** Updates so far. */
  readonly step: number;
  /** Length of the gradient before clipping. */
  readonly gradientNorm: number;
  readonly learningRate: number;
}

/** What a step says. */
export interface StepReport extends UpdateReport {
  readonly loss: number;
}

type Results = Readonly<Record<string, RuntimeTensor>>;

/** A result without dimensions. */
export function numberOf(results: Results, name: string): number {
  return toNumbers(fromRuntime(results[name]!))[0]!;
}

/** Reads a report off an update's outputs. */
export function updateOf(results: Results): UpdateReport {
  const number = (name: string): number => numberOf(results, name);
  return {
    step: number(NEXT + STEP),
    gradientNorm: number(GRADIENT_NORM),
    learningRate: number(LEARNING_RATE),
  };
}

/** Inputs of a graph by name, other than the state. */
export type Feeds = Readonly<Record<string, Tensor>>;

/** A part of a batch, and which share of the batch's loss is its own: of a mean, its share of the rows. */
export interface Part {
  readonly feeds: Feeds;
  readonly share: number;
}

/**
 * Runs a training step again and again. The state stays in tensors: what one step returns is what the next is fed.
 * A run blocks the event loop while it computes. The same batches give the same weights, for a number of threads.
 */
export class Trainer {
  readonly #part: InferenceSession;
  readonly #update: InferenceSession;
  readonly #forward: InferenceSession | undefined;
  /** Other than tables. */
  readonly #weights: readonly string[];
  readonly #tables: readonly TrainedTable[];
  #state: ReadonlyMap<string, RuntimeTensor>;
  /** Before the first part of a batch: zeros. */
  readonly #zeros: Results;

  private constructor(
    sessions: { part: InferenceSession; update: InferenceSession; forward: InferenceSession | undefined },
    weights: readonly string[],
    tables: readonly TrainedTable[],
    state: ReadonlyMap<string, Tensor>,
  ) {
    this.#part = sessions.part;
    this.#update = sessions.update;
    this.#forward = sessions.forward;
    this.#weights = weights;
    this.#tables = tables;
    this.#state = new Map([...state].map(([name, value]) => [name, toRuntime(value)]));
    this.#zeros = Object.fromEntries(
      weights.map((name) => [SUM + name, toRuntime(zerosLike(state.get(name)!))]),
    );
  }

  /**
   * @param options.threads - @default ONNX Runtime's: one for each core
   * @param options.state - what {@link state} returned, to go on from there. @default the step's initial state
   * @throws {OnnxError} `REQUEST_INVALID` for a state of other weights.
   */
  static async create(
    step: PartedStep,
    options: { threads?: number; state?: ReadonlyMap<string, Tensor> } = {},
  ): Promise<Trainer> {
    const { initial } = step.update;
    const { threads, state = initial } = options;
    for (const [name, { type, dims }] of initial) {
      const found = state.get(name);
      if (found?.type !== type || found.dims.join() !== dims.join()) {
        throw new OnnxError(
          'REQUEST_INVALID',
          `the state to go on from has no "${name}", or another shape of it`,
        );
      }
    }
    const sessions = {
      part: await openSession(step.part, threads),
      update: await openSession(step.update.model, threads),
      forward: step.forward && (await openSession(step.forward, threads)),
    };
    const tables = (step.tables ?? []).map((source) => {
      const { dims, data } = initial.get(source.table)!;
      const rows = new RowTable(source.table, new Float32Array(data.length), dims[1]!);
      rows.restore(state);
      return { ...source, rows };
    });
    const apart = new Set(tables.flatMap(({ rows }) => rows.state().map(([name]) => name)));
    return new Trainer(
      sessions,
      step.weights.filter((name) => !apart.has(name)),
      tables,
      new Map([...initial.keys()].filter((name) => !apart.has(name)).map((name) => [name, state.get(name)!])),
    );
  }

  /**
   * Takes one step. When the loss or the gradient is not finite, the state stays as it was before the step.
   * @param batch - the step's inputs other than its state: all at once, or in parts whose shares add up to 1.
   */
  async step(batch: Feeds | readonly Part[]): Promise<StepReport> {
    const parts = Array.isArray(batch) ? (batch as readonly Part[]) : [{ feeds: batch as Feeds, share: 1 }];
    const used = this.#tables.map((table) => new UsedRows(table, parts));
    const picked = used.map(({ table, rows }) => table.rows.pick(rows));
    const ofTables = (prefix: string, value: (rows: Tensor) => Tensor): Results =>
      toFeeds(Object.fromEntries(used.map(({ table }, i) => [prefix + table.table, value(picked[i]!)])));
    const weights = { ...this.#fed(this.#weights), ...ofTables('', (rows) => rows) };
    let loss = 0;
    let sums = { ...this.#zeros, ...ofTables(SUM, zerosLike) };
    for (const { feeds, share } of parts) {
      const places = Object.fromEntries(used.map((each) => [each.table.places, each.placesOf(feeds)]));
      const results = await this.#part.run({
        ...this.#feeds(this.#part, { ...feeds, ...places, [SHARE]: scalar('float32', share) }),
        ...weights,
        ...sums,
      });
      loss += numberOf(results, PART_LOSS);
      sums = Object.fromEntries(Object.keys(sums).map((name) => [name, results[NEXT + name]!]));
    }
    const rows = used.flatMap(({ table, rows }) => table.rows.feeds(rows));
    const results = await this.#update.run({
      ...Object.fromEntries(this.#state),
      ...toFeeds(Object.fromEntries(rows)),
      ...sums,
    });
    const report = { loss, ...updateOf(results) };
    if (Number.isFinite(report.loss) && Number.isFinite(report.gradientNorm)) {
      this.#state = new Map([...this.#state.keys()].map((name) => [name, results[NEXT + name]!]));
      for (const { table, rows } of used) {
        table.rows.take(rows, (name) => results[name]!.data as Float32Array);
      }
    }
    return report;
  }

  /** The values that the step was built to observe, for a batch and the weights as they are now. */
  async observe(batch: Feeds): Promise<Record<string, Tensor>> {
    if (this.#forward === undefined) throw new OnnxError('REQUEST_INVALID', 'the step observes no values');
    const used = this.#tables.map((table) => new UsedRows(table, [{ feeds: batch, share: 1 }]));
    const rows = used.flatMap((each) => [
      [each.table.places, each.placesOf(batch)] as const,
      [each.table.table, each.table.rows.pick(each.rows)] as const,
    ]);
    const results = await this.#forward.run({
      ...this.#feeds(this.#forward, { ...batch, ...Object.fromEntries(rows) }),
      ...this.#fed(this.#weights),
    });
    return Object.fromEntries(Object.entries(results).map(([name, value]) => [name, fromRuntime(value)]));
  }

  /** The trained weights as they are now. */
  weights(): Map<string, Tensor> {
    return new Map([
      ...this.#weights.map((name) => [name, fromRuntime(this.#state.get(name)!)] as const),
      ...this.#tables.map(({ table, rows }) => [table, rows.copy()] as const),
    ]);
  }

  /** Everything that the next step depends on besides its batch, for a checkpoint: the next step changes tables in place. */
  state(): Map<string, Tensor> {
    return new Map([
      ...[...this.#state].map(([name, value]) => [name, fromRuntime(value)] as const),
      ...this.#tables.flatMap(({ rows }) => rows.state()),
    ]);
  }

  async close(): Promise<void> {
    await this.#part.release();
    await this.#update.release();
    await this.#forward?.release();
  }

  /** Tokens whose rows come along need not be read themselves: then a graph has no input for them. */
  #feeds(session: InferenceSession, values: Feeds): Results {
    const unread = new Set(
      this.#tables.map(({ ids }) => ids).filter((ids) => !session.inputNames.includes(ids)),
    );
    return toFeeds(Object.fromEntries(Object.entries(values).filter(([name]) => !unread.has(name))));
  }

  #fed(names: readonly string[]): Results {
    return Object.fromEntries(names.map((name) => [name, this.#state.get(name)!]));
  }
}

function toFeeds(values: Feeds): Results {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, toRuntime(value)]));
}

/** A table whose rows a batch brings along. */
interface TrainedTable extends TableRows {
  readonly rows: RowTable;
}

/** Which rows of a table a batch uses. */
class UsedRows {
  readonly table: TrainedTable;
  readonly rows: readonly number[];
  readonly #places = new Map<number, number>();

  constructor(table: TrainedTable, parts: readonly Part[]) {
    this.table = table;
    for (const { feeds } of parts) {
      for (const id of feeds[table.ids]!.data as BigInt64Array) {
        const row = Number(id);
        if (!this.#places.has(row)) this.#places.set(row, this.#places.size);
      }
    }
    this.rows = [...this.#places.keys()];
  }

  /** A part's tokens, counted among the rows. */
  placesOf(feeds: Feeds): Tensor {
    const { dims, data } = feeds[this.table.ids]!;
    const places = BigInt64Array.from(data as BigInt64Array, (id) => BigInt(this.#places.get(Number(id))!));
    return { type: 'int64', dims, data: places };
  }
}
