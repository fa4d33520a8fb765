import type { Attributes } from '@opentelemetry/api';
import { type Exemplar, HistogramSeries, type Instrument } from './instruments.ts';
import { SHARED_LIMITS } from '../fleet/shares.ts';

interface NumberPoint {
  attributes: Attributes;
  value: number;
}

interface HistogramPoint {
  attributes: Attributes;
  counts: readonly number[];
  exemplars: readonly (Exemplar | undefined)[];
  count: number;
  sum: number;
  min: number;
  max: number;
}

/** An instrument as it was at a moment, to be sent to another process. */
export type InstrumentSnapshot = { name: string; unit: string; description: string } & (
  | { kind: 'counter' | 'gauge'; observed: boolean; points: readonly NumberPoint[] }
  | { kind: 'histogram'; bounds: readonly number[]; points: readonly HistogramPoint[] }
);

/** What instruments say at this moment. */
export function snapshotOf(instruments: Iterable<Instrument>): InstrumentSnapshot[] {
  return Array.from(instruments, (instrument): InstrumentSnapshot => {
    const { name, unit, description } = instrument;
    if (instrument.kind === 'histogram') {
      const points = Array.from(instrument.series(), (series) => {
        const { attributes, counts, exemplars, count, sum, min, max } = series;
        return { attributes, counts: [...counts], exemplars: [...exemplars], count, sum, min, max };
      });
      return { name, unit, description, kind: 'histogram', bounds: instrument.bounds, points };
    }
    const { kind, observed } = instrument;
    const points = Array.from(instrument.series(), ({ attributes, value }) => ({ attributes, value }));
    return { name, unit, description, kind, observed, points };
  });
}

/** What is of a process itself: shown for each, with its number. */
const OF_PROCESS = /^(process|v8js|nodejs)\./;
const PROCESS_ATTRIBUTE = 'scalingnote.process';

/** What one of the processes of a service measured. */
export interface Part {
  /** Which process it was; absent for what processes that are gone had counted. */
  process?: string;
  instruments: readonly InstrumentSnapshot[];
}

/** What several processes measured, as one: counts and spreads in sum, gauges as it makes sense for each. */
export function merged(parts: readonly Part[]): Instrument[] {
  const all = new Map<string, Merging>();
  for (const { process, instruments } of parts) {
    for (const each of instruments) {
      let merging = all.get(each.name);
      if (!merging) all.set(each.name, (merging = new Merging(each)));
      const isOwn = process !== undefined && OF_PROCESS.test(each.name);
      merging.add(each, isOwn ? { [PROCESS_ATTRIBUTE]: process } : {});
    }
  }
  return Array.from(all.values(), (merging) => merging.instrument);
}

/** Of a process that is gone: what still counts, since totals never fall. */
export function lasting(parts: readonly Part[]): InstrumentSnapshot[] {
  const counted = merged(parts).filter(({ name, kind }) => kind !== 'gauge' && !OF_PROCESS.test(name));
  return snapshotOf(counted);
}

class Merging {
  readonly #first: InstrumentSnapshot;
  readonly #numbers = new Map<string, NumberPoint>();
  readonly #histograms = new Map<string, HistogramSeries>();

  constructor(first: InstrumentSnapshot) {
    this.#first = first;
  }

  get instrument(): Instrument {
    const { name, unit, description } = this.#first;
    const about = { name, unit, description };
    if (this.#first.kind === 'histogram') {
      const { kind, bounds } = this.#first;
      return { ...about, kind, bounds, series: () => this.#histograms.values() };
    }
    const { kind, observed } = this.#first;
    return { ...about, kind, observed, series: () => this.#numbers.values() };
  }

  add(from: InstrumentSnapshot, own: Attributes): void {
    if (from.kind === 'histogram')
      for (const point of from.points) this.#addHistogram(point, from.bounds, own);
    else for (const point of from.points) this.#addNumber(point, own);
  }

  #addNumber({ attributes: given, value }: NumberPoint, own: Attributes): void {
    const attributes = { ...given, ...own };
    const key = keyOf(attributes);
    const known = this.#numbers.get(key);
    if (!known) {
      this.#numbers.set(key, { attributes, value });
      return;
    }
    const { name, kind, unit } = this.#first;
    const way = kind === 'counter' ? 'sum' : wayOf(name, unit, attributes);
    // A process that has not measured yet takes nothing away from those that have.
    if (Number.isNaN(known.value)) known.value = value;
    else if (!Number.isNaN(value)) known.value = WAYS[way](known.value, value);
  }

  #addHistogram(point: HistogramPoint, bounds: readonly number[], own: Attributes): void {
    const attributes = { ...point.attributes, ...own };
    const key = keyOf(attributes);
    let series = this.#histograms.get(key);
    if (!series) this.#histograms.set(key, (series = new HistogramSeries(attributes, bounds)));
    series.count += point.count;
    series.sum += point.sum;
    series.min = Math.min(series.min, point.min);
    series.max = Math.max(series.max, point.max);
    point.counts.forEach((count, bucket) => {
      series.counts[bucket]! += count;
      const exemplar = point.exemplars[bucket];
      if (exemplar && !(exemplar.time <= (series.exemplars[bucket]?.time ?? -1))) {
        series.exemplars[bucket] = exemplar;
      }
    });
  }
}

const WAYS = {
  sum: (a: number, b: number) => a + b,
  largest: Math.max,
  least: Math.min,
} as const satisfies Record<string, (a: number, b: number) => number>;

/** How gauges of several processes become one. */
function wayOf(name: string, unit: string, attributes: Attributes): keyof typeof WAYS {
  // The service serves where all its processes do.
  if (name === 'scalingnote.serving') return 'least';
  if (name === 'scalingnote.limit') {
    return SHARED_LIMITS.has(String(attributes['scalingnote.limit.name'])) ? 'sum' : 'largest';
  }
  // Ages, times and shares can't be added.
  return unit === 's' || unit === '1' ? 'largest' : 'sum';
}

function keyOf(attributes: Attributes): string {
  return JSON.stringify(Object.entries(attributes).sort(([a], [b]) => (a < b ? -1 : 1)));
}
