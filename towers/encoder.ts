import { setImmediate as nextTurn } from 'node:timers/promises';
import { BatchQueue, planBatches, type BatchingLimits, type Lane } from './batching.ts';
import { TowerError } from './errors.ts';
import { type Session, SomeFailed } from './session/protocol.ts';
import type { BatchStats, Encoding, Tokens } from './tower.ts';

/** How long a rejected caller is told to wait before the first run, while no duration is known. */
const FIRST_RETRY_DELAY_MS = 100;

/** Weight of the newest run in the moving average of milliseconds per token. */
const SPEED_WEIGHT = 0.2;

/**
 * How long a batch waits to be filled while others run, as a share of what a run usually takes, and at most: a server
 * takes several at once, and each costs a request.
 */
const FILL_SHARE = 0.25;
const FILL_MOST_MS = 50;

/** An input on its way through the queue. */
interface Job {
  readonly ids: readonly number[];
  readonly text: string | undefined;
  readonly unpooled: number;
  readonly enqueuedAt: number;
  readonly resolve: (encoding: Encoding) => void;
  readonly reject: (error: unknown) => void;
}

/** Gathers inputs of all callers into batches and runs as many of these at once as the session has slots: mostly one. */
export class Encoder {
  readonly #session: Session;
  readonly #limits: BatchingLimits;
  readonly #dimensions: number;
  readonly #queue = new BatchQueue<Job>();
  readonly #listeners: ((stats: BatchStats) => void)[] = [];
  readonly #running = new Set<Promise<void>>();
  #wakeUp: { cancel: () => void; immediate: boolean } | undefined;
  #closing: Promise<void> | undefined;
  #msPerToken: number | undefined;
  #msPerRun: number | undefined;

  constructor(session: Session, dimensions: number, limits: BatchingLimits) {
    this.#session = session;
    this.#dimensions = dimensions;
    this.#limits = limits;
  }

  onBatch(listener: (stats: BatchStats) => void): void {
    this.#listeners.push(listener);
  }

  async encode(
    { ids, text, unpooled = 0 }: Tokens,
    { signal, lane }: { signal?: AbortSignal; lane?: Lane } = {},
  ): Promise<Encoding> {
    signal?.throwIfAborted();
    if (this.#closing !== undefined) throw closed();
    if (this.#queue.size >= this.#limits.maxQueue) throw this.#overloaded();
    let drop: (() => void) | undefined;
    try {
      return await new Promise<Encoding>((resolve, reject) => {
        const job: Job = { ids, text, unpooled, enqueuedAt: performance.now(), resolve, reject };
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

  /**
   * Encodes without the queue, where the session needs microseconds for it; `undefined` where it would need longer.
   * Nothing waits for it: the queue and a promise would take ten times as long as the work.
   *
   * @throws {TowerError} `ENCODER_CLOSED`, `ENCODER_FAILED`
   */
  encodeNow({ ids }: Tokens): Encoding | undefined {
    if (this.#closing !== undefined) throw closed();
    const startedAt = performance.now();
    const vector = this.#session.runNow?.(ids);
    if (vector === undefined) return undefined;
    const encodeMs = performance.now() - startedAt;
    const batch = { startedAt, size: 1, tokens: ids.length, paddingRatio: 0, encodeMs };
    for (const listener of this.#listeners) listener(batch);
    return { vector, queueMs: 0, encodeMs, batch };
  }

  async encodeAll(
    inputs: readonly Tokens[],
    { signal, onProgress }: { signal?: AbortSignal; onProgress?: (done: number) => void } = {},
  ): Promise<Float32Array> {
    const rows = new Float32Array(inputs.length * this.#dimensions);
    const batches = planBatches(
      inputs.map(({ ids }) => ids.length),
      { maxBatchTokens: this.#maxTokens, ...this.#otherBounds },
    );
    let done = 0;
    const given = givenUp(signal);
    const failures: unknown[] = [];
    const runs: Promise<void>[] = [];
    for (const batch of batches) {
      signal?.throwIfAborted();
      do await Promise.race([this.#turn(), given.up]);
      // Another caller may have been quicker.
      while (this.#isFull);
      if (failures.length > 0) break;
      const enqueuedAt = performance.now();
      // These bypass the queue, which would take longer than a small tower needs for its work.
      const jobs = batch.map((index): Job => ({
        ids: inputs[index]!.ids,
        text: inputs[index]!.text,
        unpooled: inputs[index]!.unpooled ?? 0,
        enqueuedAt,
        resolve: ({ vector }) => rows.set(vector, index * this.#dimensions),
        reject: (error) => failures.push(error),
      }));
      const running = this.#occupy(this.#run(jobs));
      const reported = async (): Promise<void> => {
        await running;
        if (failures.length > 0) return;
        done += batch.length;
        onProgress?.(done);
      };
      runs.push(reported());
    }
    await Promise.race([Promise.all(runs), given.up]);
    given.forget();
    if (failures.length > 0) throw failures[0];
    return rows;
  }

  get #maxTokens(): number {
    return Math.min(this.#limits.maxBatchTokens, this.#session.maxTokens ?? Number.POSITIVE_INFINITY);
  }

  get #otherBounds(): { maxPadding: number | undefined; maxBatchSize: number | undefined } {
    return { maxPadding: this.#limits.maxPadding, maxBatchSize: this.#session.maxInputs };
  }

  get #isFull(): boolean {
    return this.#running.size >= (this.#session.slots ?? 1);
  }

  /** Waits for a free slot and until the queue, which has priority, is empty. @throws {TowerError} `ENCODER_CLOSED` */
  async #turn(): Promise<void> {
    while (this.#closing === undefined && (this.#isFull || this.#queue.size > 0)) {
      await (this.#isFull ? Promise.race(this.#running) : nextTurn());
    }
    if (this.#closing !== undefined) throw closed();
  }

  /** Marks a slot as taken until a run has ended. */
  #occupy(run: Promise<void>): Promise<void> {
    const running = run.finally(() => {
      this.#running.delete(running);
      this.#schedule();
    });
    this.#running.add(running);
    return running;
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      this.#wakeUp?.cancel();
      for (let job = this.#queue.oldest; job !== undefined; job = this.#queue.oldest) {
        this.#queue.remove(job);
        job.reject(closed());
      }
      this.#session.closing?.();
      await Promise.all(this.#running);
      await this.#session.close();
    })();
    return this.#closing;
  }

  /** Schedules the next batch: as soon as a slot is free, or when the oldest input has waited long enough. */
  #schedule(): void {
    const oldest = this.#queue.oldest;
    if (oldest === undefined || this.#isFull || this.#closing !== undefined) return;
    const patience = oldest.enqueuedAt + this.#waitMs - performance.now();
    const immediate =
      patience <= 0 ||
      this.#queue.tokens >= this.#maxTokens ||
      this.#queue.size >= (this.#session.maxInputs ?? Number.POSITIVE_INFINITY);
    if (this.#wakeUp !== undefined && (this.#wakeUp.immediate || !immediate)) return;
    this.#wakeUp?.cancel();
    const start = (): void => {
      this.#wakeUp = undefined;
      // Otherwise the end of the current run schedules the next one.
      if (this.#isFull) return;
      void this.#occupy(this.#run(this.#queue.take(this.#maxTokens, this.#otherBounds)));
      // There may be more, and another slot.
      this.#schedule();
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

  /** How long a batch may wait for more inputs. */
  get #waitMs(): number {
    if (this.#running.size === 0 || this.#session.waitsToFill !== true) return this.#limits.maxWaitMs;
    return Math.max(this.#limits.maxWaitMs, Math.min(FILL_MOST_MS, FILL_SHARE * (this.#msPerRun ?? 0)));
  }

  /** Never rejects: each job gets its outcome. */
  async #run(jobs: readonly Job[]): Promise<void> {
    if (jobs.length === 0) return;
    const tokens = jobs.reduce((sum, { ids }) => sum + ids.length, 0);
    const startedAt = performance.now();
    let vectors: Float32Array;
    let failed: ReadonlyMap<number, unknown> | undefined;
    try {
      vectors = await this.#session.run({
        ids: Int32Array.from(jobs.flatMap(({ ids }) => ids)),
        lengths: Int32Array.from(jobs, ({ ids }) => ids.length),
        ...(jobs[0]!.text !== undefined && { texts: jobs.map(({ text = '' }) => text) }),
        ...(jobs.some(({ unpooled }) => unpooled > 0) && {
          unpooled: Int32Array.from(jobs, ({ unpooled }) => unpooled),
        }),
      });
    } catch (error) {
      if (error instanceof SomeFailed) {
        for (const [row, failure] of error.failures) jobs[row]!.reject(failure);
        failed = error.failures;
        ({ vectors } = error);
      } else {
        if (jobs.length > 1 && error instanceof TowerError && error.reason === 'ENCODER_FAILED') {
          // One input is bad, or the memory is too small for all: try each half.
          await this.#run(jobs.slice(0, jobs.length >>> 1));
          await this.#run(jobs.slice(jobs.length >>> 1));
        } else {
          for (const job of jobs) job.reject(error);
        }
        return;
      }
    }
    const encodeMs = performance.now() - startedAt;
    const positions = jobs.length * Math.max(1, ...jobs.map(({ ids }) => ids.length));
    const batch = { startedAt, size: jobs.length, tokens, paddingRatio: 1 - tokens / positions, encodeMs };
    for (const [row, job] of jobs.entries()) {
      if (failed?.has(row)) continue;
      job.resolve({
        // A copy, so that a caller that keeps one vector does not keep the whole batch.
        vector: vectors.slice(row * this.#dimensions, (row + 1) * this.#dimensions),
        queueMs: startedAt - job.enqueuedAt,
        encodeMs,
        batch,
      });
    }
    const usual = this.#msPerRun ?? encodeMs;
    this.#msPerRun = usual + SPEED_WEIGHT * (encodeMs - usual);
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
