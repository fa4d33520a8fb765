import type { Measures, ServiceMeasures } from './wire.ts';

/** A service's measures at one time. */
export interface Look {
  /** Milliseconds since the epoch. */
  at: number;
  measures: Measures;
}

/** What happened between two looks. */
export interface Interval {
  seconds: number;
  /** By how much each total grew. */
  grown: Measures['totals'];
}

/** Means over ten seconds are steady, and still follow what happens. */
export const WINDOW_MS = 10_000;

/**
 * Adds a look, and drops those outside the window. A service that restarted counts from zero, so its older looks are
 * dropped as well.
 */
export function withLook(looks: readonly Look[], { at, measures }: ServiceMeasures): Look[] {
  if (measures === undefined) return [];
  const last = looks.at(-1);
  const restarted = last !== undefined && measures.totals.calls < last.measures.totals.calls;
  const kept = restarted ? [] : looks.filter((look) => at - look.at <= WINDOW_MS);
  return [...kept, { at, measures }];
}

/** The growth since the oldest look; undefined where there is only one. */
export function intervalOf(looks: readonly Look[]): Interval | undefined {
  const [first] = looks;
  const last = looks.at(-1);
  if (first === undefined || last === undefined || last.at <= first.at) return undefined;
  const names = Object.keys(last.measures.totals) as (keyof Measures['totals'])[];
  const grown = Object.fromEntries(
    names.map((name) => [name, last.measures.totals[name] - first.measures.totals[name]]),
  ) as unknown as Measures['totals'];
  return { seconds: (last.at - first.at) / 1000, grown };
}

/** A quotient; undefined where the divisor is zero. */
export function per(total: number, by: number): number | undefined {
  return by > 0 ? total / by : undefined;
}
