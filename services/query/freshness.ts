import { setTimeout as sleep } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { StoreError } from '../../store/errors.ts';
import { ServiceError } from '../runtime/errors.ts';
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

/** Most searches that wait at the same time: each keeps its request in memory and asks the store again and again. */
export const MAX_WAITING = 256;

/** The searches that wait for a store, among the queues that are measured. */
const FRESHNESS_QUEUE = { 'scalingnote.queue': 'freshness' };

/**
 * Repeats searches while the store is not as fresh as they ask, as long as their callers wait. A search that waits has
 * no slot and no place in a queue: it asks for them at each attempt, like any other. Where too many wait already, the
 * next one is told at once.
 */
export class FreshnessWait {
  readonly #telemetry: Telemetry | undefined;
  readonly #most: number;
  readonly #waitMs: number;
  #waiting = 0;

  /**
   * @param bounds.most @default {@link MAX_WAITING}
   * @param bounds.waitMs @default {@link DEFAULT_WAIT_MS}
   */
  constructor(
    telemetry: Telemetry | undefined,
    { most = MAX_WAITING, waitMs = DEFAULT_WAIT_MS }: { most?: number; waitMs?: number } = {},
  ) {
    this.#telemetry = telemetry;
    this.#most = most;
    this.#waitMs = waitMs;
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
   * @throws {StoreError} `STORE_NOT_FRESH` where the caller's time is over, but for what it takes to answer
   * @throws what an attempt throws besides
   */
  async search<Answer>(call: Call, attempt: () => Promise<Answer>): Promise<Answer> {
    const arrived = Date.now();
    try {
      return await attempt();
    } catch (error) {
      if (!isNotFresh(error)) throw error;
      if (this.#waiting >= this.#most) {
        throw notFresh(error, `${this.#waiting} searches wait for that already`);
      }
      this.#waiting++;
      const began = performance.now();
      try {
        return await repeat(call, attempt, error, endOf(call, arrived, this.#waitMs));
      } finally {
        this.#waiting--;
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
  { signal }: Call,
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
    const pause = Math.max(last.retryDelayMs ?? 0, most * (1 - Math.random() / 2));
    await sleep(Math.min(left, pause), undefined, { signal }).catch(() => signal.throwIfAborted());
    try {
      return await attempt();
    } catch (error) {
      signal.throwIfAborted();
      if (!isNotFresh(error) && !isOverloaded(error) && !isLate(error)) throw error;
      last = error;
    }
  }
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
