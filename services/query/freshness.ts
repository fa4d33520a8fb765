import { setTimeout as sleep } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { StoreError } from '../../store/errors.ts';
import { ServiceError, shuttingDown } from '../runtime/errors.ts';
import type { Call } from '../runtime/handler.ts';
import type { Telemetry } from '../runtime/telemetry/telemetry.ts';

/**
 * First and longest pause between two attempts, in milliseconds: a replica is seldom further behind than the first, and
 * with the longest one all that may wait ask a store that lags some hundred times a second.
 */
export const PAUSE_MS = { first: 10, max: 500 } as const;

/** How long a search waits whose caller sets no deadline, in milliseconds: half of what our own callers wait. */
export const DEFAULT_WAIT_MS = 5000;

/** What is kept of the caller's time for the answer: so many milliseconds, but at most this share of it. */
const ANSWER_MS = 100;
const ANSWER_SHARE = 0.25;

/** Most searches that wait at the same time: each asks the store again and again. */
export const MAX_WAITING = 256;

/** Most memory that they take together, in bytes: a request may be as large as a message, most have a hundred bytes. */
export const MAX_WAITING_BYTES = 64 * 1024 * 1024;

/** The searches that wait for a store, among the queues that are measured. */
const FRESHNESS_QUEUE = { 'scalingnote.queue': 'freshness' };

/**
 * Repeats searches while the store is not as fresh as they ask, as long as their callers wait. A search that waits has
 * no slot and no place in a queue: it asks for them at each attempt, like any other. Where too many wait already, the
 * next one is told at once; when the service drains, all are told to come again.
 */
export class FreshnessWait {
  readonly #telemetry: Telemetry | undefined;
  readonly #bounds: { most: number; mostBytes: number; waitMs: number };
  #waiting = 0;
  #bytes = 0;

  /** @param bounds {@link MAX_WAITING}, {@link MAX_WAITING_BYTES} and {@link DEFAULT_WAIT_MS}, where a test has others */
  constructor(
    telemetry: Telemetry | undefined,
    bounds: { most?: number; mostBytes?: number; waitMs?: number } = {},
  ) {
    this.#telemetry = telemetry;
    this.#bounds = { most: MAX_WAITING, mostBytes: MAX_WAITING_BYTES, waitMs: DEFAULT_WAIT_MS, ...bounds };
    const depth = (): number => this.#waiting;
    const what = 'Requests that wait';
    telemetry?.metrics?.observe('scalingnote.queue.depth', '{request}', what, depth, FRESHNESS_QUEUE);
  }

  /** Searches that are waiting. */
  get waiting(): number {
    return this.#waiting;
  }

  /**
   * The answer of the first attempt whose store is fresh enough.
   *
   * @param bytes that the search keeps while it waits
   * @throws {StoreError} `STORE_NOT_FRESH` where the caller's time is over, but for what it takes to answer
   * @throws what an attempt throws besides
   */
  async search<Answer>(call: Call, bytes: number, attempt: () => Promise<Answer>): Promise<Answer> {
    const arrived = Date.now();
    try {
      return await attempt();
    } catch (error) {
      if (!isNotFresh(error)) throw error;
      const { most, mostBytes, waitMs } = this.#bounds;
      if (this.#waiting >= most || this.#bytes + bytes > mostBytes) {
        throw notFresh(error, `${this.#waiting} searches wait for that already`);
      }
      this.#waiting++;
      this.#bytes += bytes;
      const began = performance.now();
      try {
        return await repeat(call, attempt, error, endOf(call, arrived, waitMs));
      } finally {
        this.#waiting--;
        this.#bytes -= bytes;
        const ended = performance.now();
        call.span?.record('freshness', began, ended);
        this.#telemetry?.metrics?.queueWait(FRESHNESS_QUEUE).record((ended - began) / 1000, call.span);
      }
    }
  }
}

/** The last moment for an attempt, in milliseconds since the epoch. */
function endOf({ deadline }: Call, arrived: number, waitMs: number): number {
  if (deadline === undefined) return arrived + waitMs;
  return deadline - Math.min(ANSWER_MS, ANSWER_SHARE * (deadline - arrived));
}

async function repeat<Answer>(
  call: Call,
  attempt: () => Promise<Answer>,
  first: StoreError,
  end: number,
): Promise<Answer> {
  const began = Date.now();
  let last: StoreError | ServiceError = first;
  for (let most: number = PAUSE_MS.first; ; most = Math.min(PAUSE_MS.max, 2 * most)) {
    const left = end - Date.now();
    if (left <= 0 || isLate(last)) {
      if (last.reason === 'OVERLOADED') throw last;
      throw notFresh(first, `${Date.now() - began} ms were not enough`);
    }
    // Between half and all of it, so that searches that began together do not come together again.
    const pauseMs = Math.max(last.retryDelayMs ?? 0, most * (1 - Math.random() / 2));
    await pause(Math.min(left, pauseMs), call);
    try {
      return await attempt();
    } catch (error) {
      call.signal.throwIfAborted();
      if (!isNotFresh(error) && !isOverloaded(error) && !isLate(error)) throw error;
      last = error;
    }
  }
}

/** @throws the caller's reason where it gives up, `SHUTTING_DOWN` where the service drains */
async function pause(ms: number, { signal, draining }: Call): Promise<void> {
  const over = new AbortController();
  const end = (): void => over.abort();
  const ends = draining ? [signal, draining] : [signal];
  // Not `AbortSignal.any`: what it makes of a signal that lives as long as the service is slow to go away.
  for (const each of ends) each.addEventListener('abort', end);
  if (!ends.some(({ aborted }) => aborted)) {
    await sleep(ms, undefined, { signal: over.signal }).catch(() => {});
  }
  for (const each of ends) each.removeEventListener('abort', end);
  signal.throwIfAborted();
  if (draining?.aborted === true) throw shuttingDown();
}

function isNotFresh(error: unknown): error is StoreError {
  return error instanceof StoreError && error.reason === 'STORE_NOT_FRESH';
}

/** All slots and places were taken: a search that waits anyway comes again. */
function isOverloaded(error: unknown): error is ServiceError {
  return error instanceof ServiceError && error.reason === 'OVERLOADED';
}

/** The caller's time is too short for one more attempt: what keeps the search from its answer is the store. */
function isLate(error: unknown): error is ServiceError {
  return error instanceof ServiceError && error.code === status.DEADLINE_EXCEEDED;
}

function notFresh(cause: StoreError, why: string): StoreError {
  return new StoreError(
    'STORE_NOT_FRESH',
    `the store is not as fresh yet as at_least_as_fresh_as asks, and ${why}; try again, allow more time, or leave the ` +
      `token out to take what is there (${cause.message})`,
    { metadata: cause.metadata, retryDelayMs: cause.retryDelayMs, cause },
  );
}
