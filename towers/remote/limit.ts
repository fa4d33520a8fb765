import { setTimeout as delay } from 'node:timers/promises';

/** Requests at once before anything is known of the server. */
const FIRST_LIMIT = 4;

/** What is left of the limit after a server said that it is overloaded. */
const BACK_OFF = 0.5;

/** Requests that should wait in the server: with fewer it may be idle, with more they only get old. */
const FEWEST_QUEUED = 2;
const MOST_QUEUED = 6;

/** Weight of the newest request in the moving average of the time for a token. */
const NEWEST = 0.2;

/** How fast the shortest time is forgotten, for each request: a server may get slower for good. */
const FORGET = 0.002;

/**
 * How many requests a server gets at once. As long as more of them bring more, there may be more; where they only wait
 * for each other (the time for a token grows as fast as their number), fewer do (TCP Vegas); where the server says that
 * it is overloaded, half as many at once (AIMD).
 */
export class ConcurrencyLimit {
  readonly #most: number;
  #limit: number;
  #running = 0;
  #shortest: number | undefined;
  #usual: number | undefined;
  #backedOffAt = -Infinity;
  #pausedUntil = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(most: number) {
    this.#most = most;
    this.#limit = Math.min(FIRST_LIMIT, most);
  }

  /** Requests that may run at once. */
  get limit(): number {
    return Math.max(1, Math.floor(this.#limit));
  }

  /** Requests that run. */
  get running(): number {
    return this.#running;
  }

  /** How long nothing is to be sent, in milliseconds. */
  get pauseMs(): number {
    return Math.max(0, this.#pausedUntil - performance.now());
  }

  /** Waits for a place, and for the end of a pause. @returns what gives the place back */
  async enter(signal: AbortSignal): Promise<() => void> {
    try {
      for (;;) {
        signal.throwIfAborted();
        if (this.pauseMs > 0) await delay(this.pauseMs, undefined, { signal });
        else if (this.#running < this.limit) break;
        else await this.#place(signal);
      }
    } catch (error) {
      // It may have been given a place that it does not take.
      this.#wake();
      throw error;
    }
    this.#running++;
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.#running--;
      this.#wake();
    };
  }

  /** A request was answered. @param tokens of its texts */
  answered(ms: number, tokens: number): void {
    const each = ms / Math.max(1, tokens);
    this.#usual = this.#usual === undefined ? each : this.#usual + NEWEST * (each - this.#usual);
    this.#shortest = Math.min((this.#shortest ?? each) * (1 + FORGET), this.#usual);
    // Who does not use the places has no reason for more of them.
    if (this.#running < this.limit) return;
    const queued = this.#limit * (1 - this.#shortest / this.#usual);
    if (queued < FEWEST_QUEUED) this.#limit = Math.min(this.#most, this.#limit + 1 / this.#limit);
    else if (queued > MOST_QUEUED) this.#limit = Math.max(1, this.#limit - 1 / this.#limit);
    this.#wake();
  }

  /** The server is overloaded. @param waitMs how long it wants to be left alone */
  overloaded(sentAt: number, waitMs = 0): void {
    this.pause(waitMs);
    // All that were under way together say the same, and count once.
    if (sentAt < this.#backedOffAt) return;
    this.#backedOffAt = performance.now();
    this.#limit = Math.max(1, this.#limit * BACK_OFF);
  }

  /** Nothing is sent for a while. */
  pause(ms: number): void {
    this.#pausedUntil = Math.max(this.#pausedUntil, performance.now() + ms);
  }

  #wake(): void {
    for (let free = this.limit - this.#running; free > 0; free--) this.#waiting.shift()?.();
  }

  async #place(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const woken = (): void => {
        signal.removeEventListener('abort', gone);
        resolve();
      };
      const gone = (): void => {
        const index = this.#waiting.indexOf(woken);
        if (index >= 0) this.#waiting.splice(index, 1);
        reject(signal.reason as Error);
      };
      signal.addEventListener('abort', gone, { once: true });
      this.#waiting.push(woken);
    });
  }
}
