import { type Comparison, median } from './report.ts';

/** Both sides, measured one right after the other. */
export interface Pair {
  ours: number;
  peer: number;
}

/** What the ratio is to be. */
export type RatioGoal = { atLeast: number } | { atMost: number };

/** How sure an interval of the median is, where there are pairs enough for it. */
const CONFIDENCE = 0.95;

/** Compares pair by pair: the ratio is the median of the pairs' ratios, `ours` and `peer` are medians by themselves. */
export function comparePairs(
  what: string,
  unit: string,
  pairs: readonly Pair[],
  goal?: RatioGoal,
): Comparison {
  const ratios = pairs.map(({ ours, peer }) => ours / peer).sort((a, b) => a - b);
  const ratio = median(ratios);
  const found = {
    what,
    unit,
    ours: median(pairs.map(({ ours }) => ours)),
    peer: median(pairs.map(({ peer }) => peer)),
    ratio,
    interval: medianInterval(ratios),
    extremes: [ratios[0]!, ratios.at(-1)!] as const,
  };
  if (!goal) return found;
  const met = 'atLeast' in goal ? ratio >= goal.atLeast : ratio <= goal.atMost;
  const text = 'atLeast' in goal ? `at least ${goal.atLeast}` : `at most ${goal.atMost}`;
  return { ...found, goal: { text, met } };
}

/**
 * An interval that holds the true median with {@link CONFIDENCE}, whatever the distribution: the sign test's
 * (W. J. Conover, Practical Nonparametric Statistics, 3.2). With fewer than six samples it goes from the lowest to
 * the highest, and is less sure than that.
 *
 * @param sorted the lowest first, at least one
 */
export function medianInterval(sorted: readonly number[]): readonly [low: number, high: number] {
  const count = sorted.length;
  // The chance that at most `left` of `count` fair coins show heads.
  let left = -1;
  let chance = 0;
  let next = 0.5 ** count;
  while (chance + next <= (1 - CONFIDENCE) / 2) {
    chance += next;
    left++;
    next *= (count - left) / (left + 1);
  }
  const at = Math.max(0, left);
  return [sorted[at]!, sorted[count - 1 - at]!];
}
