import type { InferenceSession, Tensor as RuntimeTensor } from 'onnxruntime-node';
import { OnnxError } from '../onnx/errors.ts';
import type { Model } from '../onnx/model.ts';
import { fromRuntime, openSession, toRuntime } from '../onnx/run.ts';
import { concatenate, elementCount, float32, scalar, toNumbers, type Tensor } from '../onnx/tensor.ts';
import { otherState, RowTable } from './row-table.ts';
import {
  GRADIENT_NORM,
  LEARNING_RATE,
  MICRO_BATCH_LOSS,
  NEXT,
  SHARE,
  STEP,
  SUM,
  zerosLike,
  type RowwiseTable,
  type TrainingStep,
} from './step.ts';

/** What an update of the weights reports. */
export interface UpdateReport {
  /** Updates so far. */
  readonly step: number;
  /** Length of the gradient before clipping. */
  readonly gradientNorm: number;
  readonly learningRate: number;
}

/** What a step reports. */
export interface StepReport extends UpdateReport {
  readonly loss: number;
}

/** Inputs of a graph by name, other than the state. */
export type Feeds = Readonly<Record<string, Tensor>>;

/** A part of a batch that runs at once, and its share of the batch's loss: of a mean, its share of the rows. */
export interface MicroBatch {
  readonly feeds: Feeds;
  readonly share: number;
}

/** Where training runs and starts. */
export interface TrainerOptions {
  /** Threads of ONNX Runtime. @default one for each core */
  threads?: number | undefined;
  /** What {@link Trainer.state} returned: training goes on from there. @default the step's initial state */
  state?: ReadonlyMap<string, Tensor> | undefined;
}

type Results = Readonly<Record<string, RuntimeTensor>>;

interface OpenGraph {
  readonly gradient: InferenceSession;
  readonly forward: InferenceSession | undefined;
  readonly weights: readonly string[];
}

interface OpenTable extends RowwiseTable {
  readonly rows: RowTable;
}

/**
 * Runs a training step again and again. The state stays in tensors: the next step takes what the last one returned.
 * A run blocks the event loop while it computes. With the same number of threads, the same batches give the same weights.
 */
export class Trainer {
  /** By the prefix of their weights' names. */
  readonly #graphs: ReadonlyMap<string, OpenGraph>;
  readonly #update: InferenceSession;
  readonly #tables: readonly OpenTable[];
  #state: ReadonlyMap<string, RuntimeTensor>;
  /** The sums before the first micro-batch of a batch. */
  readonly #zeros: Results;
  #sums: Results;
  #used: ReadonlyMap<string, UsedRows> = new Map();
  /** The rows of tables that a batch uses; in a step their moments as well. */
  #rows: Results = {};

  private constructor(
    graphs: ReadonlyMap<string, OpenGraph>,
    update: InferenceSession,
    tables: readonly OpenTable[],
    state: ReadonlyMap<string, RuntimeTensor>,
    weights: readonly string[],
  ) {
    this.#graphs = graphs;
    this.#update = update;
    this.#tables = tables;
    this.#state = state;
    const zeros = (name: string): RuntimeTensor => toRuntime(zerosLike(fromRuntime(state.get(name)!)));
    this.#zeros = Object.fromEntries(weights.map((name) => [SUM + name, zeros(name)]));
    this.#sums = this.#zeros;
  }

  /** @throws {OnnxError} `REQUEST_INVALID` for a state of other weights. */
  static async create(step: TrainingStep, options: TrainerOptions = {}): Promise<Trainer> {
    const { graphs, update } = step;
    const { threads, state } = options;
    for (const [name, { type, dims }] of state === undefined ? [] : update.initial) {
      const found = state!.get(name);
      if (found?.type !== type || found.dims.join() !== dims.join()) throw otherState(name);
    }
    const open = (model: Model): Promise<InferenceSession> => openSession(model, threads);
    const sessions = new Map<string, OpenGraph>();
    for (const [prefix, { gradient, forward, weights }] of graphs) {
      sessions.set(prefix, {
        gradient: await open(gradient),
        forward: forward && (await open(forward)),
        weights,
      });
    }
    const tables = step.tables.map((table) => ({ ...table, rows: new RowTable(table.table, table.value) }));
    if (state !== undefined) for (const { rows } of tables) rows.restore(state);
    const values = [...update.initial].map(
      ([name, value]) => [name, toRuntime(state?.get(name) ?? value)] as const,
    );
    const weights = [...graphs].flatMap(([prefix, graph]) => graph.weights.map((name) => prefix + name));
    return new Trainer(
      sessions,
      await open(update.model),
      tables,
      new Map(values),
      weights.filter((name) => update.initial.has(name)),
    );
  }

  /** Steps taken so far. */
  get steps(): number {
    return toNumbers(fromRuntime(this.#state.get(STEP)!))[0]!;
  }

  /** Names of what a graph reads of a batch. */
  inputs(prefix = ''): ReadonlySet<string> {
    const { gradient, forward } = this.#graphs.get(prefix)!;
    const ids = this.#tables.map((table) => table.ids);
    return new Set([...gradient.inputNames, ...(forward?.inputNames ?? []), ...ids]);
  }

  /**
   * Takes one step. When the loss or the gradient is not finite, the state stays as it was before the step.
   * @param batch - the step's inputs other than its state: all at once, or as micro-batches whose shares add up to 1.
   */
  async step(batch: Feeds | readonly MicroBatch[]): Promise<StepReport> {
    const parts = Array.isArray(batch)
      ? (batch as readonly MicroBatch[])
      : [{ feeds: batch as Feeds, share: 1 }];
    this.#useRows(
      parts.map(({ feeds }) => feeds),
      ({ rows }, used) => rows.feeds(used),
    );
    const zeros = this.#tables.map(({ table }) => {
      const { dims, size } = this.#rows[table]!;
      return [SUM + table, float32(dims, new Float32Array(size))] as const;
    });
    this.#sums = { ...this.#zeros, ...toFeeds(zeros) };
    let loss = 0;
    for (const { feeds, share } of parts) {
      const results = await this.accumulate({ ...feeds, [SHARE]: scalar('float32', share) });
      loss += numberOf(results, MICRO_BATCH_LOSS);
    }
    return { loss, ...(await this.#takeUpdate(this.#sums, Number.isFinite(loss))) };
  }

  /** Adds the gradient of a micro-batch to the sums, where no table is trained by rows. @returns the graph's outputs */
  async accumulate(feeds: Feeds, prefix = ''): Promise<Results> {
    const { gradient, weights } = this.#graphs.get(prefix)!;
    const sums = Object.fromEntries(weights.map((name) => [SUM + name, this.#sums[SUM + prefix + name]!]));
    const results = await gradient.run({ ...this.#feeds(gradient, prefix, feeds), ...sums });
    const next = weights.map((name) => [SUM + prefix + name, results[`${NEXT}${SUM}${name}`]!] as const);
    this.#sums = { ...this.#sums, ...Object.fromEntries(next) };
    return results;
  }

  /** The sums of all weights, one after the other: to be added to those of other trainers. */
  gradient(): Float32Array {
    return concatenate(Object.values(this.#sums).map((sum) => toNumbers(fromRuntime(sum)) as Float32Array));
  }

  /**
   * Updates the weights and clears the sums. When the gradient is not finite, the weights stay as they are.
   * @param gradient - what {@link gradient} gives, of all trainers together. @default this trainer's own sums
   */
  update(gradient?: Float32Array): Promise<UpdateReport> {
    if (gradient === undefined) return this.#takeUpdate(this.#sums, true);
    let at = 0;
    const sums = Object.entries(this.#zeros).map(([name, { dims }]) => {
      const start = at;
      at += elementCount(dims);
      return [name, toRuntime(float32(dims, gradient.subarray(start, at)))] as const;
    });
    return this.#takeUpdate(Object.fromEntries(sums), true);
  }

  /** The values that the step was built to observe, for a batch and the weights as they are now. */
  async observe(batch: Feeds, prefix = ''): Promise<Record<string, Tensor>> {
    const { forward } = this.#graphs.get(prefix)!;
    if (forward === undefined) throw new OnnxError('REQUEST_INVALID', 'the step observes no values');
    this.#useRows([batch], ({ table, rows }, used) => [[table, rows.pick(used)]]);
    const results = await forward.run(this.#feeds(forward, prefix, batch));
    return Object.fromEntries(Object.entries(results).map(([name, value]) => [name, fromRuntime(value)]));
  }

  /** A copy of the trained weights as they are now. */
  weights(): Map<string, Tensor> {
    const names = Object.keys(this.#zeros).map((name) => name.slice(SUM.length));
    return new Map([
      ...names.map((name) => [name, copyOf(fromRuntime(this.#state.get(name)!))] as const),
      ...this.#tables.map(({ table, rows }) => [table, rows.copy()] as const),
    ]);
  }

  /** Everything that the next step depends on besides its batch, for a checkpoint. The next step changes tables in place. */
  state(): Map<string, Tensor> {
    return new Map([
      ...[...this.#state].map(([name, value]) => [name, fromRuntime(value)] as const),
      ...this.#tables.flatMap(({ rows }) => rows.state()),
    ]);
  }

  async close(): Promise<void> {
    for (const { gradient, forward } of this.#graphs.values()) {
      await gradient.release();
      await forward?.release();
    }
    await this.#update.release();
  }

  /** Finds out which rows of each table a batch uses, and picks them. */
  #useRows(
    batch: readonly Feeds[],
    pick: (table: OpenTable, used: readonly number[]) => [name: string, value: Tensor][],
  ): void {
    const names = new Set(this.#tables.map(({ ids }) => ids));
    this.#used = new Map([...names].map((ids) => [ids, new UsedRows(batch.map((feeds) => feeds[ids]!))]));
    this.#rows = toFeeds(this.#tables.flatMap((table) => pick(table, this.#used.get(table.ids)!.rows)));
  }

  async #takeUpdate(sums: Results, isLossFinite: boolean): Promise<UpdateReport> {
    const results = await this.#update.run({
      ...Object.fromEntries(this.#state),
      ...this.#rows,
      ...sums,
    });
    this.#sums = this.#zeros;
    const report = {
      step: numberOf(results, NEXT + STEP),
      gradientNorm: numberOf(results, GRADIENT_NORM),
      learningRate: numberOf(results, LEARNING_RATE),
    };
    if (isLossFinite && Number.isFinite(report.gradientNorm)) {
      this.#state = new Map([...this.#state.keys()].map((name) => [name, results[NEXT + name]!]));
      for (const { ids, rows } of this.#tables) {
        rows.take(this.#used.get(ids)!.rows, (name) => results[name]!.data as Float32Array);
      }
    }
    return report;
  }

  /** What a graph is fed: its weights, the rows of tables, and of the values those that it reads. */
  #feeds(session: InferenceSession, prefix: string, values: Feeds): Results {
    const reads = new Set(session.inputNames);
    const { weights } = this.#graphs.get(prefix)!;
    const dense = weights.map((name) => [name, this.#state.get(prefix + name) ?? this.#rows[name]!] as const);
    const places = this.#tables.flatMap(({ ids, places: name }) =>
      name === undefined ? [] : [[name, this.#used.get(ids)!.placesOf(values[ids]!)] as const],
    );
    return {
      ...toFeeds(Object.entries(values).filter(([name]) => reads.has(name))),
      ...toFeeds(places),
      ...Object.fromEntries(dense),
    };
  }
}

function copyOf(value: Tensor): Tensor {
  return { ...value, data: value.data.slice() };
}

function numberOf(results: Results, name: string): number {
  return toNumbers(fromRuntime(results[name]!))[0]!;
}

function toFeeds(values: readonly (readonly [name: string, value: Tensor])[]): Results {
  return Object.fromEntries(values.map(([name, value]) => [name, toRuntime(value)]));
}

/** Which rows of a table a batch uses, in the order of their first use. */
class UsedRows {
  readonly rows: readonly number[];
  readonly #places = new Map<number, number>();

  constructor(ids: readonly Tensor[]) {
    for (const { data } of ids) {
      for (const id of data as BigInt64Array) {
        const row = Number(id);
        if (!this.#places.has(row)) this.#places.set(row, this.#places.size);
      }
    }
    this.rows = [...this.#places.keys()];
  }

  /** Row numbers replaced by places among the rows that are used. */
  placesOf({ dims, data }: Tensor): Tensor {
    const places = BigInt64Array.from(data as BigInt64Array, (id) => BigInt(this.#places.get(Number(id))!));
    return { type: 'int64', dims, data: places };
  }
}
