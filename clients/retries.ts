import { setTimeout as sleep } from 'node:timers/promises';
import { status as Code } from '@grpc/grpc-js';
import { ScalingnoteError } from './errors.ts';
import type { WaitingCalls } from './waiting-calls.ts';

/** First step and ceiling of the wait between attempts. */
const BACKOFF_BASE_MS = 50;
const BACKOFF_MAX_MS = 1_000;

/**
 * How long to wait before another attempt, in milliseconds: full jitter (uniform up to a ceiling that doubles), and
 * never less than what the server asks for.
 *
 * @param attempt - the attempt that failed, from 1
 */
export function backoffMs(attempt: number, error: unknown): number {
  const ceiling = Math.min(BACKOFF_MAX_MS, BACKOFF_BASE_MS * 2 ** attempt);
  const asked = error instanceof ScalingnoteError ? (error.retryDelayMs ?? 0) : 0;
  return asked + Math.random() * ceiling;
}

/** Longest timer of Node: 24 days. */
export const MAX_TIMER_MS = 2 ** 31 - 1;

/** A server said nothing about a stream that was opened to it; another attempt may reach one that does. */
export function tookNoStream(peer: string, ms: number): ScalingnoteError {
  const message = `${peer} took no stream within ${ms} ms`;
  return new ScalingnoteError({ code: Code.UNAVAILABLE, message, reason: '' });
}

/** Waits; an abort ends the wait with the signal's own reason. */
export async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(ms, undefined, signal ? { signal } : {});
  } catch {
    signal?.throwIfAborted();
  }
}

/**
 * How many retries a client may make: a tenth of its calls, and ten a second besides, so that a client with few calls
 * retries at all. A service that fails every call thus gets little more load than before, and not a multiple. This is
 * Finagle's RetryBudget (a minimum rate and a share of the requests, kept for ten seconds) as a token bucket.
 */
const BUDGET_SHARE = 0.1;
const BUDGET_PER_SECOND = 10;
const BUDGET_MAX = 100;

/** The retries that a client may still make. What is not there yet can be waited for. */
export class RetryBudget {
  #tokens = BUDGET_MAX;
  #countedAt = Date.now();

  /** Counts a call that was made. */
  deposit(): void {
    this.#tokens = Math.min(BUDGET_MAX, this.#tokens + BUDGET_SHARE);
  }

  /**
   * Takes a token, which may become one's own only after a wait.
   *
   * @param maxWaitMs - no token is taken that comes later
   * @returns the wait in milliseconds; `undefined` where it would be too long
   */
  take(maxWaitMs: number): number | undefined {
    const now = Date.now();
    const earned = (Math.max(0, now - this.#countedAt) / 1000) * BUDGET_PER_SECOND;
    this.#tokens = Math.min(BUDGET_MAX, this.#tokens + earned);
    this.#countedAt = now;
    const wait = Math.max(0, ((1 - this.#tokens) / BUDGET_PER_SECOND) * 1000);
    if (wait > maxWaitMs) return undefined;
    this.#tokens -= 1;
    return wait;
  }
}

/** What retries need to know of the server that was asked. */
export interface Asked {
  readonly isReady: boolean;
  /** Gives it fewer calls, and none for so many milliseconds. */
  relieve(ms: number): void;
}

/** What retries need to know of the servers. */
export interface Reachable {
  readonly budget: RetryBudget;
  readonly waiting: Pick<WaitingCalls, 'turn'>;
  /** Whether a server is connected, other than that one. */
  hasReady(except?: Asked): boolean;
}

/** What bounds the retries of one call. */
interface Limits {
  attempts: number;
  /** Whether the call waits for a server where none is connected. */
  waitForReady: boolean;
  deadline: number;
  signal: AbortSignal | undefined;
}

/** The retries of one call. They spend the deadline that there is. */
export class Retries {
  readonly #servers: Reachable;
  readonly #limits: Limits;
  #attempt = 0;
  #moves = 0;

  constructor(servers: Reachable, limits: Limits) {
    this.#servers = servers;
    this.#limits = limits;
  }

  /**
   * Waits until the call may be made again.
   *
   * @param server - the one that was asked
   * @throws the error itself, where another attempt can't help, can't be made in time, or was not asked for
   */
  async next(error: unknown, server: Asked | undefined): Promise<void> {
    const { attempts, waitForReady, deadline, signal } = this.#limits;
    const { waiting } = this.#servers;
    if (!(error instanceof ScalingnoteError) || !error.retryable || ++this.#attempt >= attempts) throw error;
    const isBroken = error.reason === '';
    if (isBroken && !this.#servers.hasReady()) {
      // Nothing is asked of a server that is not there, so this costs nothing of the budget.
      if (!waitForReady) throw error;
      await waiting.turn(deadline, signal, error);
      return;
    }
    if (error.code === 'RESOURCE_EXHAUSTED' && waitForReady && server) {
      // It did no work for the call, and from now on it gets no more calls at a time than it takes.
      const { retryDelayMs = 0 } = error;
      server.relieve(retryDelayMs);
      if (Date.now() + retryDelayMs >= deadline) throw error;
      await waiting.turn(deadline, signal, error);
      return;
    }
    const isOver = isBroken || error.reason === 'SHUTTING_DOWN';
    const isElsewhere = isOver && this.#servers.hasReady(server);
    // What a server that ends says of the wait does not hold for another one.
    let wait =
      isElsewhere && ++this.#moves === 1 ? 0 : backoffMs(this.#attempt, isElsewhere ? undefined : error);
    // The first repetition after a lost connection is free: all calls of a server that ends come back at once, and
    // before a connection can be lost again, it has to be made.
    const isFree = this.#attempt === 1 && isOver && server?.isReady !== true;
    if (!isFree) {
      const turn = this.#servers.budget.take(deadline - Date.now());
      if (turn === undefined) throw error;
      wait = Math.max(wait, turn);
    }
    if (Date.now() + wait >= deadline) throw error;
    if (wait > 0) await pause(wait, signal);
  }
}
