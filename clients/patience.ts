import { ScalingnoteError } from './errors.ts';
import { backoffMs, pause } from './retries.ts';

/** Five minutes: longer than it takes to replace a server, or to load a large tower. */
const DEFAULT_PATIENCE_MS = 300_000;

/** How long a stream that takes long is tried. */
export interface PatienceOptions {
  /** How long to retry without progress, in milliseconds. @default 300000 */
  patienceMs?: number;
  /** How long to try before anything came through at all, in milliseconds. @default `patienceMs` */
  beginMs?: number | undefined;
  onReconnect?: (error: ScalingnoteError, waitMs: number) => void;
  signal?: AbortSignal;
}

/** The retries of a stream that takes long: as many as it takes, as long as it gets on. */
export class Patience {
  readonly #options: PatienceOptions;
  readonly #beganAt = Date.now();
  #attempt = 0;
  #stuckSince: number | undefined;
  #hasBegun = false;

  constructor(options: PatienceOptions) {
    this.#options = options;
  }

  /** A server took the stream. */
  begun(): void {
    this.#hasBegun = true;
  }

  /** Something came through: waits begin again with the shortest one. */
  progress(): void {
    this.#hasBegun = true;
    this.#attempt = 0;
    this.#stuckSince = undefined;
  }

  /** Nothing came through because there was nothing to send. */
  idle(): void {
    this.#stuckSince = undefined;
  }

  /** Waits until another attempt may be made. @throws the error itself, where none helps or patience is over */
  async next(error: unknown): Promise<void> {
    const { patienceMs = DEFAULT_PATIENCE_MS, beginMs = Infinity, onReconnect, signal } = this.#options;
    signal?.throwIfAborted();
    if (!(error instanceof ScalingnoteError) || !error.retryable) throw error;
    const wait = backoffMs(++this.#attempt, error);
    const next = Date.now() + wait;
    this.#stuckSince ??= Date.now();
    if (next - this.#stuckSince > patienceMs) throw error;
    if (!this.#hasBegun && next - this.#beganAt > beginMs) throw error;
    onReconnect?.(error, wait);
    await pause(wait, signal);
  }
}
