/** Failures in a row that open the breaker: more than a stray reset, few enough to fail fast soon. */
const FAILURES_TO_OPEN = 5;

/** First pause, in milliseconds: about as long as a dropped connection takes. */
const FIRST_PAUSE_MS = 250;

/** Longest pause, in milliseconds: a node that is back is found within this time. */
const LONGEST_PAUSE_MS = 5000;

/**
 * A circuit breaker (Nygard, "Release It!"): after some failures in a row it rejects calls without making
 * them, so that callers know at once. After a pause it admits one call, and all calls again once that
 * succeeds.
 */
export class Breaker {
  readonly #now: () => number;
  #failures = 0;
  /** The time from which the next call may try; at any time while the breaker is closed. */
  #probeAt = 0;
  #probing = false;

  /** @param now milliseconds */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Whether the breaker rejects calls, except for one that tries. */
  get open(): boolean {
    return this.#failures >= FAILURES_TO_OPEN;
  }

  /** Milliseconds until a call may try; 0 if it may now. */
  get waitMs(): number {
    if (!this.open) return 0;
    return this.#probing ? FIRST_PAUSE_MS : Math.max(0, Math.ceil(this.#probeAt - this.#now()));
  }

  /**
   * Asks to make a call. After a yes, report how it went: {@link succeeded}, {@link failed} or {@link
   * gaveUp}.
   */
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
    // Half of the pause is random, so that processes do not all try at the same moment.
    this.#probeAt = this.#now() + pause * (0.5 + 0.5 * Math.random());
  }

  /** The caller gave up: this says nothing about the node. */
  gaveUp(): void {
    this.#probing = false;
  }
}
