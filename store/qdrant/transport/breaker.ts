/** Failures in a row after which a node is left alone: more than a stray reset, few enough to fail fast soon. */
const FAILURES_TO_OPEN = 5;

/** How long a node is left alone at first, in milliseconds: about as long as a connection takes that was dropped. */
const FIRST_PAUSE_MS = 250;

/** How long at most, in milliseconds: a node that is back is found within this time. */
const LONGEST_PAUSE_MS = 5000;

/**
 * A circuit breaker (Nygard, "Release It!"): after failures in a row calls are refused without being made, so that
 * callers learn at once; from time to time one goes through, and if it succeeds, all do.
 */
export class Breaker {
  readonly #now: () => number;
  #failures = 0;
  /** When the next call may try, by the clock; while it is closed, any time. */
  #probeAt = 0;
  #probing = false;

  /** @param now milliseconds */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Whether calls are refused, except for one that tries. */
  get open(): boolean {
    return this.#failures >= FAILURES_TO_OPEN;
  }

  /** Milliseconds until a call may try; 0 where it may now. */
  get waitMs(): number {
    if (!this.open) return 0;
    return this.#probing ? FIRST_PAUSE_MS : Math.max(0, Math.ceil(this.#probeAt - this.#now()));
  }

  /** Asks to make a call. Where the answer is yes, say how it went: {@link succeeded}, {@link failed} or {@link gaveUp}. */
  admit(): boolean {
    if (!this.open) return true;
    if (this.#probing || this.waitMs > 0) return false;
    this.#probing = true;
    return true;
  }

  succeeded(): void {
    this.#failures = 0;
    this.#probing = false;
  }

  failed(): void {
    this.#failures++;
    this.#probing = false;
    if (!this.open) return;
    const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (this.#failures - FAILURES_TO_OPEN));
    // Half of it at random, so that processes do not all try at the same moment.
    this.#probeAt = this.#now() + pause * (0.5 + 0.5 * Math.random());
  }

  /** The caller lost interest: nothing was learnt of the node. */
  gaveUp(): void {
    this.#probing = false;
  }
}
