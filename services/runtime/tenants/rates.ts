import { Kept } from './kept.ts';

/**
 * Tenants whose buckets are remembered at a time. A bucket that is forgotten is full again: with more tenants than this in
 * one second, some get a second's worth more than their quota.
 */
export const MAX_BUCKETS = 20_000;

interface Bucket {
  level: number;
  /** When it had that level. */
  at: number;
}

/**
 * Token buckets, one for each name. A bucket fills at its rate and holds a second's worth. What costs more than it holds takes a full one and leaves
 * a debt, so that over time nobody gets more than the rate.
 */
export class Rates {
  readonly #buckets: Kept<Bucket>;
  readonly #now: () => number;

  /** @param now in milliseconds. @default performance.now */
  constructor(now: () => number = () => performance.now(), max = MAX_BUCKETS) {
    this.#now = now;
    this.#buckets = new Kept(max);
  }

  /** How many buckets there are. */
  get size(): number {
    return this.#buckets.size;
  }

  /**
   * Takes so much out, if the bucket has it.
   *
   * @param rate of the bucket now, in pieces per second
   * @returns 0, or after how many milliseconds it will have it
   */
  take(name: string, rate: number, amount: number): number {
    const bucket = this.#bucket(name, rate);
    const wait = waitMs(bucket, rate, Math.min(amount, capacity(rate)));
    if (wait === 0) bucket.level -= amount;
    return wait;
  }

  /** After how many milliseconds the bucket has anything; 0 for now. */
  waitMs(name: string, rate: number): number {
    return waitMs(this.#bucket(name, rate), rate, Math.min(1, capacity(rate)));
  }

  /** Takes so much out, whether or not it is there. */
  spend(name: string, rate: number, amount: number): void {
    this.#bucket(name, rate).level -= amount;
  }

  #bucket(name: string, rate: number): Bucket {
    const now = this.#now();
    const most = capacity(rate);
    const bucket = this.#buckets.get(name);
    if (!bucket) {
      const full = { level: most, at: now };
      this.#buckets.set(name, full);
      return full;
    }
    bucket.level = Math.min(most, bucket.level + ((now - bucket.at) / 1000) * rate);
    bucket.at = now;
    return bucket;
  }
}

/** One at least: a rate below one a second has to let one through. */
function capacity(rate: number): number {
  return Math.max(1, rate);
}

/** Below this a level is enough: sums of fractions are not exact. */
const SLACK = 1e-6;

function waitMs({ level }: Bucket, rate: number, needed: number): number {
  return level >= needed - SLACK ? 0 : Math.max(1, Math.ceil(((needed - level) / rate) * 1000));
}
