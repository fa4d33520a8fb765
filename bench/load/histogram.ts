/** Values below this are kept as they are; above, to three figures: a bucket is a thousandth of its values wide. */
const EXACT = 2048;
const STEPS = EXACT / 2;
const LARGEST_BITS = 27;

/** A histogram of whole numbers up to 2^27 with high dynamic range, of which a value costs a nanosecond or two. */
export class Histogram {
  readonly #counts = new Uint32Array(EXACT + STEPS * (LARGEST_BITS - 11));
  count = 0;
  max = 0;
  #sum = 0;

  record(value: number): void {
    const whole = value <= 0 ? 0 : value >= 2 ** LARGEST_BITS ? 2 ** LARGEST_BITS - 1 : Math.round(value);
    if (whole < EXACT) this.#counts[whole]!++;
    else {
      // Bits beyond those that are kept.
      const shift = 21 - Math.clz32(whole);
      this.#counts[EXACT + (shift - 1) * STEPS + (whole >>> shift) - STEPS]!++;
    }
    this.count++;
    this.#sum += whole;
    if (whole > this.max) this.max = whole;
  }

  get mean(): number {
    return this.count === 0 ? 0 : this.#sum / this.count;
  }

  /** The value that so many of a hundred do not exceed, up to the width of a bucket; 0 where there are none. */
  percentile(percent: number): number {
    let left = Math.max(1, Math.ceil((percent / 100) * this.count));
    for (let index = 0; index < this.#counts.length; index++) {
      left -= this.#counts[index]!;
      if (left > 0) continue;
      if (index < EXACT) return index;
      const shift = Math.floor((index - EXACT) / STEPS) + 1;
      return Math.min(this.max, ((((index - EXACT) % STEPS) + STEPS + 1) << shift) - 1);
    }
    return 0;
  }
}
