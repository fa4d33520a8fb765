/** How long a sample of the fastest search counts, in milliseconds: twice this, at most. */
export const FLOOR_WINDOW_MS = 5000;

/** Weight of the newest sample in the mean: about the last twenty searches count. */
const NEWEST = 0.1;

/**
 * How long searches take, as they came in. The floor is the fastest one of the last seconds, so that it is refuted
 * by nothing but a faster one; it is forgotten when nothing was measured for a while, for otherwise a slow start
 * would have every impatient caller refused for ever.
 */
export class SearchDurations {
  #mean = 0;
  #current = Infinity;
  #previous = Infinity;
  #windowEnd = 0;

  /** Takes a search's time into account. @param now from `performance.now()` */
  record(ms: number, now: number): void {
    this.#roll(now);
    this.#mean = this.#mean === 0 ? ms : this.#mean + NEWEST * (ms - this.#mean);
    if (ms < this.#current) this.#current = ms;
  }

  /** Milliseconds that a search took lately, on average; 0 before the first. */
  get meanMs(): number {
    return this.#mean;
  }

  /** Milliseconds that the fastest search took lately; 0 where nothing is known. @param now as above */
  floorMs(now: number): number {
    this.#roll(now);
    const floor = Math.min(this.#current, this.#previous);
    return floor === Infinity ? 0 : floor;
  }

  #roll(now: number): void {
    if (now < this.#windowEnd) return;
    this.#previous = now < this.#windowEnd + FLOOR_WINDOW_MS ? this.#current : Infinity;
    this.#current = Infinity;
    this.#windowEnd = now + FLOOR_WINDOW_MS;
  }
}
