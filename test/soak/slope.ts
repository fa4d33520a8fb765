/** How a series goes up or down, after H. Theil and P. K. Sen: the median of the slopes of all pairs. */
export interface Slope {
  /** By hour. */
  perHour: number;
  /** In between it lies with 95 % certainty, where the points are independent. */
  low: number;
  high: number;
  /** Over the whole series. */
  grown: number;
  isNoise: boolean;
}

const Z_95 = 1.96;
const HOUR_S = 3600;

/**
 * @param seconds of each point
 * @param least growth over the whole series that counts as one
 */
export function slopeOf(seconds: readonly number[], values: readonly number[], least: number): Slope {
  const count = seconds.length;
  const slopes: number[] = [];
  for (let one = 0; one < count; one++) {
    for (let other = one + 1; other < count; other++) {
      const apart = seconds[other]! - seconds[one]!;
      if (apart > 0) slopes.push((values[other]! - values[one]!) / apart);
    }
  }
  if (slopes.length === 0) return { perHour: 0, low: 0, high: 0, grown: 0, isNoise: true };
  slopes.sort((one, other) => one - other);
  const at = (index: number): number => slopes[Math.min(slopes.length - 1, Math.max(0, Math.round(index)))]!;
  const spread = Z_95 * Math.sqrt((count * (count - 1) * (2 * count + 5)) / 18);
  const middle = (slopes.length - 1) / 2;
  const median = (at(Math.floor(middle)) + at(Math.ceil(middle))) / 2;
  const [low, high] = [at(middle - spread / 2), at(middle + spread / 2)];
  const grown = median * (seconds.at(-1)! - seconds[0]!);
  return {
    perHour: median * HOUR_S,
    low: low * HOUR_S,
    high: high * HOUR_S,
    grown,
    isNoise: low <= 0 || grown < least,
  };
}
