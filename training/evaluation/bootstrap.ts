import { seededRandom } from '../random.ts';

/** Enough that the ends of the interval are stable to the third digit. */
const RESAMPLES = 10_000;

/** Share of resamples beyond each end of a 95 % interval. */
const TAIL = 0.025;

/**
 * 95 % interval of the ratio of two means over the same queries, by the paired percentile bootstrap (Efron, 1979):
 * queries are drawn with replacement, both systems' values of a query together.
 *
 * @param values - the system's value of each query
 * @param baseline - the values of what it is compared with, of the same queries in the same order
 */
export function ratioInterval(
  values: readonly number[],
  baseline: readonly number[],
  seed = 1,
): [low: number, high: number] {
  const size = values.length;
  return percentiles(seed, (random) => {
    let numerator = 0;
    let denominator = 0;
    for (let draw = 0; draw < size; draw++) {
      const query = Math.floor(random() * size);
      numerator += values[query]!;
      denominator += baseline[query]!;
    }
    return denominator === 0 ? 0 : numerator / denominator;
  });
}

/** One data set's values for {@link meanRatioInterval}. */
export interface PairedValues {
  values: readonly number[];
  baseline: readonly number[];
}

/**
 * 95 % interval of the mean of such ratios over several sets of queries, each set drawn from by itself: it says what other
 * queries would change, not what other sets would.
 */
export function meanRatioInterval(sets: readonly PairedValues[], seed = 1): [low: number, high: number] {
  return percentiles(seed, (random) => {
    let sum = 0;
    for (const { values, baseline } of sets) {
      let [numerator, denominator] = [0, 0];
      for (let draw = 0; draw < values.length; draw++) {
        const query = Math.floor(random() * values.length);
        numerator += values[query]!;
        denominator += baseline[query]!;
      }
      sum += denominator === 0 ? 0 : numerator / denominator;
    }
    return sum / sets.length;
  });
}

/** 95 % interval of the difference of two means over the same queries, in the same way. */
export function differenceInterval(
  values: readonly number[],
  baseline: readonly number[],
  seed = 1,
): [low: number, high: number] {
  const size = values.length;
  const differences = values.map((value, query) => value - baseline[query]!);
  return percentiles(seed, (random) => {
    let sum = 0;
    for (let draw = 0; draw < size; draw++) sum += differences[Math.floor(random() * size)]!;
    return sum / size;
  });
}

/**
 * 95 % interval of the mean, over several data sets, of {@link differenceInterval}'s difference: queries are drawn within each
 * set, and each set counts the same.
 */
export function meanDifferenceInterval(
  sets: readonly { values: readonly number[]; baseline: readonly number[] }[],
  seed = 1,
): [low: number, high: number] {
  const differences = sets.map(({ values, baseline }) =>
    values.map((value, query) => value - baseline[query]!),
  );
  return percentiles(seed, (random) => {
    let sum = 0;
    for (const own of differences) {
      let drawn = 0;
      for (let draw = 0; draw < own.length; draw++) drawn += own[Math.floor(random() * own.length)]!;
      sum += drawn / own.length;
    }
    return sum / sets.length;
  });
}

function percentiles(seed: number, resample: (random: () => number) => number): [low: number, high: number] {
  const random = seededRandom(seed);
  const found = Float64Array.from({ length: RESAMPLES }, () => resample(random)).sort();
  return [found[Math.floor(TAIL * RESAMPLES)]!, found[Math.ceil((1 - TAIL) * RESAMPLES) - 1]!];
}
