import type { Measures, ServiceMeasures } from './wire.ts';

/** A look at a service's measures. */
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

/** Looks of the last seconds: means over ten of them are steady, and still follow what happens. */
export const WINDOW_MS = 10_000;

/**
 * The looks that are still of interest, with a new one. A service that was started again counts from nothing: what was
 * seen before that is no measure for it.
 */
export function withLook(looks: readonly Look[], { at, measures }: ServiceMeasures): Look[] {
  if (measures === undefined) return [];
  const last = looks.at(-1);
  const restarted = last !== undefined && measures.totals.calls < last.measures.totals.calls;
  const kept = restarted ? [] : looks.filter((look) => at - look.at <= WINDOW_MS);
  return [...kept, { at, measures }];
}

/** What happened since the oldest look; undefined where there is but one. */
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

/** A quotient, where there is something to divide by. */
export function per(total: number, by: number): number | undefined {
  return by > 0 ? total / by : undefined;
}
