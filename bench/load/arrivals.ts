/** When calls are to begin, whatever becomes of those before. */
export type Arrivals = 'poisson' | 'fixed';

/**
 * The time between two arrivals, in milliseconds.
 *
 * @param perSecond how many there are on average
 * @param random 0 to 1, 1 excluded
 */
export function gapMs(arrivals: Arrivals, perSecond: number, random: () => number): number {
  const mean = 1000 / perSecond;
  return arrivals === 'fixed' ? mean : -Math.log(1 - random()) * mean;
}

/** Numbers from 0 to 1 that are the same in every run (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
