import { type Context, context } from '@opentelemetry/api';
import { type Backoff, backoffMs } from '../../../calls/backoff.ts';
import { StoreError } from '../../errors.ts';
import type { CallOptions } from '../../store.ts';
import { Exchange, TimedOut } from './exchange.ts';
import {
  busyFailure,
  connectionFailure,
  type Call,
  Failure,
  statusFailure,
  timeoutFailure,
} from './failure.ts';
import { Node, type NodeOptions } from './node.ts';
import { isOver, remainingMs, sleep, throwIfOver } from './bounds.ts';
import { endSpan, startSpan } from './span.ts';

/** Settings of calls. */
export interface TransportOptions extends NodeOptions {
  addresses: readonly URL[];
  /** Longest wait for one answer, in milliseconds. */
  timeoutMs: number;
  /** Wait before a hedged call is made a second time, in milliseconds; `undefined` for never. */
  hedgeMs: number | undefined;
}

/** A caller's bounds, and the context of its spans. */
type Traced = CallOptions & { trace: Context };

/**
 * If a caller gives up after this many milliseconds without an answer, the node counts as failed, unless it answers a
 * simple question meanwhile.
 */
const SILENCE_MS = 500;

/** How long before the end of a call that question is asked, in milliseconds. */
const LOOK_MS = 250;

/** Attempts in all. More would hide from the caller that the server is away; the caller can wait better. */
const MAX_ATTEMPTS = 4;

/** Waits between attempts. */
const BACKOFF: Backoff = { firstMs: 50, longestMs: 1_000 };

/** Longest pause made here, in milliseconds. If the server asks for a longer one, the caller has to wait. */
const LONGEST_PAUSE_MS = 1000;

/**
 * Qdrant's REST API over a few connections that stay open. Every call may be repeated, so a call that may
 * succeed on another attempt gets one, at another node if there are several.
 *
 * Qdrant's own client cannot cancel a call, trust another certificate or show headers, and takes twice the
 * time for a search; we use only its types.
 */
export class Transport {
  readonly #nodes: readonly Node[];
  readonly #timeoutMs: number;
  readonly #hedgeMs: number | undefined;
  #turn = 0;

  constructor({ addresses, timeoutMs, hedgeMs, ...options }: TransportOptions) {
    this.#nodes = addresses.map((address) => new Node(address, options));
    this.#timeoutMs = timeoutMs;
    this.#hedgeMs = hedgeMs;
  }

  /**
   * Makes a call and returns the `result` of its answer.
   *
   * @throws {Failure} if the server rejects it or does not answer
   * @throws the reason of the caller's signal, or a `TimeoutError` once its deadline has passed
   */
  async call<Result>(call: Call, options: CallOptions = {}): Promise<Result> {
    throwIfOver(options);
    const bounds = { ...options, trace: options.trace ?? context.active() };
    for (let attempt = 1; ; attempt++) {
      try {
        const hedged = call.hedged === true && this.#hedgeMs !== undefined && attempt === 1;
        return (await (hedged ? this.#race(call, bounds) : this.#attempt(call, bounds, attempt))) as Result;
      } catch (error) {
        throwIfOver(options);
        if (!(error instanceof Failure)) throw error;
        // A node may not know a collection yet that the other nodes of its cluster know.
        if (error.status === 404 && attempt < this.#nodes.length) continue;
        const pauseMs =
          error.retryable && attempt < MAX_ATTEMPTS
            ? (error.error.retryDelayMs ?? 0) + backoffMs(attempt, BACKOFF)
            : Infinity;
        if (pauseMs > Math.min(LONGEST_PAUSE_MS, remainingMs(options))) throw error;
        await sleep(pauseMs, options.signal);
      }
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#nodes.map((node) => node.close()));
  }

  /** The next node that is worth trying. */
  #pick(call: Call, attempt: number): Node {
    const first = call.catalog ? attempt - 1 : this.#turn++;
    for (let tried = 0; tried < this.#nodes.length; tried++) {
      const node = this.#nodes[(first + tried) % this.#nodes.length]!;
      if (node.breaker.admit()) return node;
    }
    const retryDelayMs = Math.min(...this.#nodes.map(({ breaker }) => breaker.waitMs));
    throw new Failure(
      new StoreError(
        'STORE_UNAVAILABLE',
        `Qdrant at ${this.#nodes.map(({ name }) => name).join(', ')} has not answered recently; trying again in ` +
          `${retryDelayMs} ms`,
        { retryDelayMs },
      ),
    );
  }

  /** Makes a call, and makes it once more if no answer comes for a while; the first answer counts. */
  async #race(call: Call, bounds: Traced): Promise<unknown> {
    const settled = new AbortController();
    const signal = bounds.signal ? AbortSignal.any([bounds.signal, settled.signal]) : settled.signal;
    const shared = { ...bounds, signal };
    const first = this.#attempt(call, shared, 1);
    const late = Symbol('late');
    const timer = sleep(this.#hedgeMs!, signal).then(
      () => late,
      () => late,
    );
    try {
      const answer = await Promise.race([first, timer]);
      if (answer !== late) return answer;
      return await Promise.any([first, this.#attempt(call, shared, 2)]);
    } catch (error) {
      throw error instanceof AggregateError ? error.errors[0] : error;
    } finally {
      settled.abort();
    }
  }

  async #attempt(call: Call, bounds: Traced, attempt: number): Promise<unknown> {
    const node = this.#pick(call, attempt);
    const timeoutMs = Math.min(remainingMs(bounds), this.#timeoutMs);
    const { headers } = node;
    const span = startSpan(call, node, attempt, headers, bounds.trace);
    const started = performance.now();
    const { method, body = null } = call;
    const path = node.prefix + (call.timed ? withTimeout(call.path, timeoutMs) : call.path);
    const exchange = new Exchange(
      node.pool,
      { path, method, headers, body },
      { signal: bounds.signal, timeoutMs },
    );
    const look = timeoutMs < SILENCE_MS ? undefined : setTimeout(() => void node.look(), timeoutMs - LOOK_MS);
    try {
      const text = await exchange.text;
      const status = exchange.status!;
      if (status < 200 || status > 299) {
        throw statusFailure(call, node.name, { status, retryAfter: exchange.retryAfter, body: text });
      }
      const result = parse(call, node, text);
      node.breaker.succeeded();
      endSpan(span, status);
      return result;
    } catch (cause) {
      const { status } = exchange;
      if (isOver(bounds)) {
        const silent = status === undefined && performance.now() - started >= SILENCE_MS;
        if (silent && !node.awake) node.breaker.failed();
        else node.breaker.gaveUp();
        endSpan(span, status, { name: 'cancelled', message: 'the caller gave up' });
        throw cause;
      }
      const failure =
        cause instanceof TimedOut
          ? (await node.look())
            ? busyFailure(call, node.name, this.#timeoutMs)
            : timeoutFailure(call, node.name, this.#timeoutMs)
          : cause instanceof Failure
            ? cause
            : connectionFailure(call, node.name, cause);
      if (failure.nodeFailed) node.breaker.failed();
      else node.breaker.succeeded();
      endSpan(span, status, { name: failure.error.reason, message: failure.message });
      throw failure;
    } finally {
      clearTimeout(look);
    }
  }
}

/** The server counts in whole seconds, from 1. */
function withTimeout(path: string, ms: number): string {
  return `${path}${path.includes('?') ? '&' : '?'}timeout=${Math.max(1, Math.ceil(ms / 1000))}`;
}

function parse(call: Call, node: Node, text: string): unknown {
  try {
    const answer = JSON.parse(text) as { result?: unknown };
    if (typeof answer === 'object' && answer !== null) return answer.result ?? answer;
  } catch {
    // Reported below.
  }
  throw new Failure(
    new StoreError(
      'STORE_UNAVAILABLE',
      `${node.name} gave an answer to "${call.operation}" that is not Qdrant's; is that the address of its REST API?`,
    ),
  );
}
