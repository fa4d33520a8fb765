import { setTimeout as delay } from 'node:timers/promises';
import { backoffMs } from '../../calls/backoff.ts';
import { TowerError } from '../errors.ts';
import type { Answer } from './answer.ts';
import { ConcurrencyLimit } from './limit.ts';
import type { Spending } from './spending.ts';
import type { Outcome, Wire } from './wire.ts';

/** How long a request may take where the tower does not say. */
export const DEFAULT_TIMEOUT_MS = 60_000;

/** Most requests at once where the tower does not say. */
export const DEFAULT_CONCURRENCY = 32;

/** Attempts at a server that is away; with the waits between them about five seconds, longer than a restart of a proxy. */
const ATTEMPTS_AWAY = 5;

/** Attempts at a server that is overloaded: it is there, so waiting helps. */
const ATTEMPTS_BUSY = 12;

/** Attempts, in all, of a request that runs out of time. */
const ATTEMPTS_SLOW = 2;

/** All attempts of one request with the waits between them; whoever wants more comes again. */
const PATIENCE_MS = 120_000;

const BACKOFF = { firstMs: 250, longestMs: 8_000 };

/** What callers of a server that is away are told to wait, where the server gives no advice. */
const RETRY_DELAY_MS = 2_000;

/** A request that is about to be made. */
export interface RemoteCall {
  /** Where to. */
  url: string;
  model: string;
  texts: number;
  tokens: number;
}

/** Watches requests to remote models, and adds the headers of a trace. */
export interface RemoteWatch {
  begin(call: RemoteCall): {
    headers: Readonly<Record<string, string>>;
    /** @param failure why it failed, if it did @param tokens that the server read, where it says so */
    end(failure: TowerError | undefined, tokens: number | undefined): void;
  };
}

/** What it takes to ask a server. */
export interface EndpointParts {
  wire: Wire;
  model: string;
  spending: Spending;
  timeoutMs?: number | undefined;
  maxConcurrency?: number | undefined;
  watch?: RemoteWatch | undefined;
  /** Shorter waits, for tests. */
  backoff?: typeof BACKOFF;
}

/** A server of embeddings: how many requests it gets at once, which of them are made again, what they cost. */
export class Endpoint {
  readonly limit: ConcurrencyLimit;
  readonly wire: Wire;
  readonly #parts: EndpointParts;
  readonly #stopped = new AbortController();
  #state: 'unknown' | 'well' | TowerError = 'unknown';

  constructor(parts: EndpointParts) {
    this.#parts = parts;
    this.wire = parts.wire;
    this.limit = new ConcurrencyLimit(parts.maxConcurrency ?? DEFAULT_CONCURRENCY);
  }

  /** Whether the last request was answered; the error where it was not. */
  get state(): 'unknown' | 'well' | TowerError {
    return this.#state;
  }

  /**
   * Asks for vectors, again where that may help, within {@link PATIENCE_MS} in all.
   *
   * @param tokens of the texts, as we count them
   * @param once makes one attempt
   * @throws {TowerError} `ENDPOINT_UNAVAILABLE`, `ENDPOINT_REFUSED`, `ENDPOINT_ANSWER_INVALID`, `ENDPOINT_INPUT_REFUSED`,
   *   `SPENDING_LIMIT_REACHED`
   */
  async embed(
    texts: readonly string[],
    tokens: number,
    { once = false, signal = this.#stopped.signal }: { once?: boolean; signal?: AbortSignal } = {},
  ): Promise<Answer> {
    const deadline = performance.now() + PATIENCE_MS;
    const { backoff = BACKOFF } = this.#parts;
    for (let attempt = 1; ; attempt++) {
      const left = deadline - performance.now();
      if (this.limit.pauseMs > left) throw this.#paused();
      const { outcome, slow } = await this.#attempt(
        texts,
        tokens,
        AbortSignal.any([signal, this.#stopped.signal]),
      );
      if ('answer' in outcome) {
        this.#state = 'well';
        return outcome.answer;
      }
      const { failure, kind, adviceMs } = outcome;
      // A refused input says nothing bad of the server.
      if (failure.reason !== 'ENDPOINT_INPUT_REFUSED') this.#state = failure;
      if (kind === 'final') throw failure;
      const most = slow ? ATTEMPTS_SLOW : kind === 'busy' ? ATTEMPTS_BUSY : ATTEMPTS_AWAY;
      const waitMs = (adviceMs ?? 0) + backoffMs(attempt, backoff);
      if (once || attempt >= most || performance.now() + waitMs > deadline)
        throw withDelay(failure, adviceMs);
      await this.#wait(waitMs, signal);
    }
  }

  /** Makes no further attempts: what waits fails with `ENCODER_CLOSED`, and so does what is under way. */
  stop(): void {
    this.#stopped.abort(new TowerError('ENCODER_CLOSED', 'the tower is closed'));
  }

  async close(): Promise<void> {
    this.stop();
    await this.wire.close();
  }

  async #wait(ms: number, signal: AbortSignal): Promise<void> {
    const both = AbortSignal.any([signal, this.#stopped.signal]);
    await delay(ms, undefined, { signal: both }).catch(() => both.throwIfAborted());
  }

  async #attempt(
    texts: readonly string[],
    tokens: number,
    signal: AbortSignal,
  ): Promise<{ outcome: Outcome; slow: boolean }> {
    const { wire, model, spending, watch, timeoutMs = DEFAULT_TIMEOUT_MS } = this.#parts;
    const leave = await this.limit.enter(signal);
    let settle: ((read: number) => void) | undefined;
    let outcome: Outcome | undefined;
    const sentAt = performance.now();
    const span = watch?.begin({ url: wire.where, model, texts: texts.length, tokens });
    let slow = false;
    try {
      settle = spending.reserve(tokens);
      const timeout = AbortSignal.timeout(timeoutMs);
      try {
        const both = AbortSignal.any([signal, timeout]);
        outcome = await wire.ask(texts, { signal: both, tokens, headers: span?.headers ?? {} });
      } catch (error) {
        if (!timeout.aborted || signal.aborted) throw error;
        slow = true;
        const message = `${wire.where} has not answered for ${timeoutMs / 1000} s`;
        outcome = {
          kind: 'away',
          failure: new TowerError('ENDPOINT_UNAVAILABLE', message, { cause: error }),
        };
      }
      this.#learn(outcome, { slow, sentAt, tokens });
      return { outcome, slow };
    } finally {
      const answer = outcome && 'answer' in outcome ? outcome.answer : undefined;
      settle?.(answer ? (answer.tokens ?? tokens) : 0);
      span?.end(outcome && 'failure' in outcome ? outcome.failure : undefined, answer?.tokens);
      leave();
    }
  }

  #learn(
    outcome: Outcome,
    { slow, sentAt, tokens }: { slow: boolean; sentAt: number; tokens: number },
  ): void {
    const { adviceMs = 0 } = outcome;
    if ('answer' in outcome) {
      this.limit.answered(performance.now() - sentAt, tokens);
      this.limit.pause(adviceMs);
    } else if (outcome.kind === 'busy' || slow) {
      this.limit.overloaded(sentAt, adviceMs);
    }
  }

  #paused(): TowerError {
    const waitMs = this.limit.pauseMs;
    const message = `${this.wire.where} asks to be left alone for ${Math.ceil(waitMs / 1000)} s`;
    return new TowerError('ENDPOINT_UNAVAILABLE', message, { retryDelayMs: waitMs });
  }
}

function withDelay(failure: TowerError, adviceMs: number | undefined): TowerError {
  const { reason, message, metadata } = failure;
  const retryDelayMs = Math.max(RETRY_DELAY_MS, adviceMs ?? 0);
  return new TowerError(reason, message, { metadata, retryDelayMs, cause: failure.cause });
}
