import { setImmediate as nextTurn } from 'node:timers/promises';
import { BatchQueue, planBatches, type BatchingLimits, type Lane } from './batching.ts';
import { TowerError } from './errors.ts';
import type { Session } from './session/protocol.ts';
import type { BatchStats, Encoding, Tokens } from './tower.ts';

/** How long a rejected caller is told to wait before the first run, while no duration is known. */
const FIRST_RETRY_DELAY_MS = 100;

/** Weight of the newest run in the moving average of milliseconds per token. */
const SPEED_WEIGHT = 0.2;

/** An input on its way through the queue. */
interface Job {
  readonly ids: readonly number[];
  readonly unpooled: number;
  readonly enqueuedAt: number;
  readonly resolve: (encoding: Encoding) => void;
  readonly reject: (error: unknown) => void;
}

/** Gathers inputs of all callers into batches and runs one batch after the other. */
export class Encoder {
  readonly #session: Session;
  readonly #limits: BatchingLimits;
  readonly #dimensions: number;
  readonly #queue = new BatchQueue<Job>();
  readonly #listeners: ((stats: BatchStats) => void)[] = [];
  #running: Promise<void> | undefined;
  #wakeUp: { cancel: () => void; immediate: boolean } | undefined;
  #closing: Promise<void> | undefined;
  #msPerToken: number | undefined;

  constructor(session: Session, dimensions: number, limits: BatchingLimits) {
    this.#session = session;
    this.#dimensions = dimensions;
    this.#limits = limits;
  }

  onBatch(listener: (stats: BatchStats) => void): void {
    this.#listeners.push(listener);
  }

  async encode(
    { ids, unpooled = 0 }: Tokens,
    { signal, lane }: { signal?: AbortSignal; lane?: Lane } = {},
  ): Promise<Encoding> {
    signal?.throwIfAborted();
    if (this.#closing !== undefined) throw closed();
    if (this.#queue.size >= this.#limits.maxQueue) throw this.#overloaded();
    let drop: (() => void) | undefined;
    try {
      return await new Promise<Encoding>((resolve, reject) => {
        const job: Job = { ids, unpooled, enqueuedAt: performance.now(), resolve, reject };
        drop = () => {
          if (this.#queue.remove(job)) reject(signal?.reason);
        };
        signal?.addEventListener('abort', drop, { once: true });
        this.#queue.push(job, ids.length, lane);
        this.#schedule();
      });
    } finally {
      if (drop !== undefined) signal?.removeEventListener('abort', drop);
    }
  }

  async encodeAll(
    inputs: readonly Tokens[],
    { signal, onProgress }: { signal?: AbortSignal; onProgress?: (done: number) => void } = {},
  ): Promise<Float32Array> {
    const rows = new Float32Array(inputs.length * this.#dimensions);
    const batches = planBatches(
      inputs.map(({ ids }) => ids.length),
      { maxBatchTokens: this.#limits.maxBatchTokens, maxBatchSize: inputs.length },
    );
    let done = 0;
    const given = givenUp(signal);
    for (const batch of batches) {
      signal?.throwIfAborted();
      await Promise.race([this.#turn(), given.up]);
      const failures: unknown[] = [];
      const enqueuedAt = performance.now();
      // These bypass the queue, which would take longer than a small tower needs for its work.
      const jobs = batch.map((index): Job => ({
        ids: inputs[index]!.ids,
        unpooled: inputs[index]!.unpooled ?? 0,
        enqueuedAt,
        resolve: ({ vector }) => rows.set(vector, index * this.#dimensions),
        reject: (error) => failures.push(error),
      }));
      await Promise.race([this.#occupy(this.#run(jobs)), given.up]);
      if (failures.length > 0) throw failures[0];
      done += batch.length;
      onProgress?.(done);
    }
    given.forget();
    return rows;
  }

  /** Waits until the model is free and the queue, which has priority, is empty. @throws {TowerError} `ENCODER_CLOSED` */
  async #turn(): Promise<void> {
    while (this.#closing === undefined && (this.#running !== undefined || this.#queue.size > 0)) {
      await (this.#running ?? nextTurn());
    }
    if (this.#closing !== undefined) throw closed();
  }

  /** Marks the model as taken until a run has ended. */
  #occupy(run: Promise<void>): Promise<void> {
    this.#running = run.finally(() => {
      this.#running = undefined;
      this.#schedule();
    });
    return this.#running;
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      this.#wakeUp?.cancel();
      for (let job = this.#queue.oldest; job !== undefined; job = this.#queue.oldest) {
        this.#queue.remove(job);
        job.reject(closed());
      }
      await this.#running;
      await this.#session.close();
    })();
    return this.#closing;
  }

  /** Schedules the next batch: as soon as the model is free, or when the oldest input has waited long enough. */
  #schedule(): void {
    const oldest = this.#queue.oldest;
    if (oldest === undefined || this.#running !== undefined || this.#closing !== undefined) return;
    const patience = oldest.enqueuedAt + this.#limits.maxWaitMs - performance.now();
    const immediate = patience <= 0 || this.#queue.tokens >= this.#limits.maxBatchTokens;
    if (this.#wakeUp !== undefined && (this.#wakeUp.immediate || !immediate)) return;
    this.#wakeUp?.cancel();
    const start = (): void => {
      this.#wakeUp = undefined;
      // Otherwise the end of the current run schedules the next one.
      if (this.#running !== undefined) return;
      void this.#occupy(this.#run(this.#queue.take(this.#limits.maxBatchTokens)));
    };
    if (immediate) {
      // Not at once, so that inputs which arrive in this turn of the event loop join the batch.
      const handle = setImmediate(start);
      this.#wakeUp = { cancel: () => clearImmediate(handle), immediate };
    } else {
      const handle = setTimeout(start, patience);
      this.#wakeUp = { cancel: () => clearTimeout(handle), immediate };
    }
  }

  /** Never rejects: each job gets its outcome. */
  async #run(jobs: readonly Job[]): Promise<void> {
    if (jobs.length === 0) return;
    const tokens = jobs.reduce((sum, { ids }) => sum + ids.length, 0);
    const startedAt = performance.now();
    let vectors: Float32Array;
    try {
      vectors = await this.#session.run({
        ids: Int32Array.from(jobs.flatMap(({ ids }) => ids)),
        lengths: Int32Array.from(jobs, ({ ids }) => ids.length),
        ...(jobs.some(({ unpooled }) => unpooled > 0) && {
          unpooled: Int32Array.from(jobs, ({ unpooled }) => unpooled),
        }),
      });
    } catch (error) {
      if (jobs.length > 1 && error instanceof TowerError && error.reason === 'ENCODER_FAILED') {
        // One input is bad, or the memory is too small for all: try each half.
        await this.#run(jobs.slice(0, jobs.length >>> 1));
        await this.#run(jobs.slice(jobs.length >>> 1));
      } else {
        for (const job of jobs) job.reject(error);
      }
      return;
    }
    const encodeMs = performance.now() - startedAt;
    const positions = jobs.length * Math.max(1, ...jobs.map(({ ids }) => ids.length));
    const batch = { startedAt, size: jobs.length, tokens, paddingRatio: 1 - tokens / positions, encodeMs };
    for (const [row, job] of jobs.entries()) {
      job.resolve({
        // A copy, so that a caller that keeps one vector does not keep the whole batch.
        vector: vectors.slice(row * this.#dimensions, (row + 1) * this.#dimensions),
        queueMs: startedAt - job.enqueuedAt,
        encodeMs,
        batch,
      });
    }
    const speed = encodeMs / positions;
    this.#msPerToken =
      this.#msPerToken === undefined ? speed : this.#msPerToken + SPEED_WEIGHT * (speed - this.#msPerToken);
    for (const listener of this.#listeners) listener(batch);
  }

  #overloaded(): TowerError {
    const estimate =
      this.#msPerToken === undefined ? FIRST_RETRY_DELAY_MS : this.#msPerToken * this.#queue.tokens;
    return new TowerError(
      'ENCODER_OVERLOADED',
      `the queue of the model is full (${this.#queue.size} inputs); try again later`,
      { retryDelayMs: Math.max(1, Math.ceil(estimate)) },
    );
  }
}

function closed(): TowerError {
  return new TowerError('ENCODER_CLOSED', 'the tower is closed');
}

/** A promise that rejects when a signal aborts, and a function that removes its listener. */
function givenUp(signal: AbortSignal | undefined): { up: Promise<void>; forget: () => void } {
  let forget = (): void => {};
  const up = new Promise<void>((_, reject) => {
    const listener = (): void => reject(signal?.reason as Error);
    signal?.addEventListener('abort', listener, { once: true });
    forget = () => signal?.removeEventListener('abort', listener);
  });
  // It is awaited in races; a rejection after these is not an unhandled one.
  up.catch(() => {});
  return { up, forget };
}
