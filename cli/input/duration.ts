const UNITS: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Longest that is meant: ten years. */
const MAX_MS = 3_660 * 86_400_000;

/** Milliseconds of `30m`, `12h` or `90d`; `NaN` for anything else. */
export function durationMs(text: string): number {
  const { count, unit } = /^(?<count>[1-9]\d{0,6})(?<unit>[mhd])$/.exec(text)?.groups ?? {};
  if (count === undefined || unit === undefined) return Number.NaN;
  const ms = Number(count) * UNITS[unit]!;
  return ms <= MAX_MS ? ms : Number.NaN;
}
