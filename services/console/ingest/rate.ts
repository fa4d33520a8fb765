/** How many seconds it keeps. */
const SECONDS = 60;

/** Counts events for each second. */
export class Rate {
  readonly #counts = new Map<number, number>();
  #first: number | undefined;

  /** @param now - milliseconds since the epoch */
  count(now: number): void {
    const second = Math.floor(now / 1000);
    this.#first ??= second;
    this.#counts.set(second, (this.#counts.get(second) ?? 0) + 1);
    for (const old of this.#counts.keys()) {
      if (old > second - SECONDS) break;
      this.#counts.delete(old);
    }
  }

  /** Counts of the last complete seconds, the newest last; none before the first event. */
  seconds(now: number): number[] {
    if (this.#first === undefined) return [];
    const end = Math.floor(now / 1000);
    const begin = Math.max(this.#first, end - SECONDS);
    return Array.from({ length: end - begin }, (_, index) => this.#counts.get(begin + index) ?? 0);
  }
}
