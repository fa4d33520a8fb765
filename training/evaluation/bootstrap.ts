import { seededRandom } from '../random.ts';

/** Enough that the ends of the interval are stable to the third digit. */
const RESAMPLES = 10_000;

/** Ends of a 95 % interval. */
const TAIL = 0.025;

/**
 * 95 % interval of the ratio of two means over the same queries, by the paired percentile bootstrap (Efron, 1979):
 * queries are drawn with replacement, both systems' values of a query together.
 *
 * @param values - of the system in question, a query each
 * @param baseline - of what it is compared with, the same queries in the same order
 */
export function ratioInterval(
  values: readonly number[],
  baseline: readonly number[],
  seed = 1,
): [low: number, high: number] {
  const random = seededRandom(seed);
  const size = values.length;
  const ratios = new Float64Array(RESAMPLES);
  for (let resample = 0; resample < RESAMPLES; resample++) {
    let numerator = 0;
    let denominator = 0;
    for (let draw = 0; draw < size; draw++) {
      const query = Math.floor(random() * size);
      numerator += values[query]!;
      denominator += baseline[query]!;
    }
    ratios[resample] = denominator === 0 ? 0 : numerator / denominator;
  }
  ratios.sort();
  return [ratios[Math.floor(TAIL * RESAMPLES)]!, ratios[Math.ceil((1 - TAIL) * RESAMPLES) - 1]!];
}
