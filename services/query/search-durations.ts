/** The fastest search is remembered for one to two windows of this many milliseconds. */
export const FLOOR_WINDOW_MS = 5000;

/** Weight of the newest sample in the mean: about the last twenty searches count. */
const NEWEST = 0.1;

/**
 * How long recent searches took. The floor is the fastest search of the last seconds. It is forgotten when nothing was
 * measured for a while: otherwise a slow start would have every impatient caller rejected for ever.
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
    this.#current = Math.min(this.#current, ms);
  }

  /** Mean duration of recent searches, in milliseconds; 0 before the first. */
  get meanMs(): number {
    return this.#mean;
  }

  /** Duration of the fastest recent search, in milliseconds; 0 if nothing is known. @param now from `performance.now()` */
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
