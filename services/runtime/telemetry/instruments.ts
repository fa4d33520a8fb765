import type { Attributes, Histogram, Meter } from '@opentelemetry/api';
import type { Span } from './span.ts';

// OpenTelemetry's own instruments hash the attributes of each value that is recorded, which is a microsecond: with a
// dozen of them a search that is more than its spans take. Here a series is looked up once and kept.

/** A number under one set of attributes. */
export interface NumberSeries {
  readonly attributes: Attributes;
  readonly value: number;
}

/** A recorded value and the span that it was measured in. */
export interface Exemplar {
  value: number;
  traceId: string;
  spanId: string;
  /** Milliseconds since the epoch. */
  time: number;
}

/** Something that is measured, under each of its sets of attributes. */
export type Instrument = {
  readonly name: string;
  readonly unit: string;
  readonly description: string;
} & (
  | {
      readonly kind: 'counter' | 'gauge';
      /** Whether the number is read when the metrics are exported. */
      readonly observed: boolean;
      /** Those that have a value. */
      series(): Iterable<NumberSeries>;
    }
  | {
      readonly kind: 'histogram';
      readonly bounds: readonly number[];
      series(): Iterable<HistogramSeries>;
    }
);

/** A count under one set of attributes. */
export class CounterSeries implements NumberSeries {
  readonly attributes: Attributes;
  value = 0;

  constructor(attributes: Attributes) {
    this.attributes = attributes;
  }

  add(more: number): void {
    this.value += more;
  }
}

/** A number that goes up and down, under one set of attributes. */
export class GaugeSeries implements NumberSeries {
  readonly attributes: Attributes;
  /** Not a number before the first. */
  value = Number.NaN;

  constructor(attributes: Attributes) {
    this.attributes = attributes;
  }

  set(value: number): void {
    this.value = value;
  }
}

/** How values spread under one set of attributes, with an exemplar for each bucket: the last value whose trace is exported. */
export class HistogramSeries {
  readonly attributes: Attributes;
  readonly bounds: readonly number[];
  /** One more than bounds: the last bucket has none. A value that is a bound is in the bucket below. */
  readonly counts: number[];
  /** By bucket. */
  readonly exemplars: (Exemplar | undefined)[];
  count = 0;
  sum = 0;
  min = Infinity;
  max = -Infinity;
  readonly #sdk: Histogram | undefined;

  /** @param sdk - the same histogram of an OpenTelemetry SDK, which is given every value as well */
  constructor(attributes: Attributes, bounds: readonly number[], sdk?: Histogram) {
    this.#sdk = sdk;
    this.attributes = attributes;
    this.bounds = bounds;
    this.counts = Array.from({ length: bounds.length + 1 }, () => 0);
    this.exemplars = Array.from({ length: bounds.length + 1 }, () => undefined);
  }

  /** @param span whose value it is */
  record(value: number, span?: Span): void {
    if (Number.isNaN(value)) return;
    this.#sdk?.record(value, this.attributes, span?.libraryContext);
    const { bounds } = this;
    let bucket = 0;
    while (bucket < bounds.length && value > bounds[bucket]!) bucket++;
    this.counts[bucket]!++;
    this.count++;
    this.sum += value;
    if (value < this.min) this.min = value;
    if (value > this.max) this.max = value;
    if (span?.sampled !== true) return;
    // One object a bucket, for good.
    const exemplar = (this.exemplars[bucket] ??= { value: 0, traceId: '', spanId: '', time: 0 });
    exemplar.value = value;
    const { traceId, spanId } = span.spanContext();
    exemplar.traceId = traceId;
    exemplar.spanId = spanId;
    exemplar.time = Date.now();
  }
}

/** The series of an instrument with these attributes; to be kept by whoever records often. */
export type SeriesOf<Series> = (attributes: Attributes) => Series;

/** What the values of a histogram are, and which buckets they are counted in. */
export interface Scale {
  unit: string;
  bounds: readonly number[];
}

/** A number that is read when it is asked for. */
type Observed = [
  name: string,
  unit: string,
  description: string,
  read: () => number,
  attributes?: Attributes,
];

/** All that is measured in a process. */
export class Instruments {
  readonly #instruments = new Map<string, Instrument>();
  readonly #meter: Meter | undefined;

  /** @param meter - of an OpenTelemetry SDK, which then has all instruments as well */
  constructor(meter?: Meter) {
    this.#meter = meter;
  }

  get all(): Iterable<Instrument> {
    return this.#instruments.values();
  }

  counter(name: string, unit: string, description: string): SeriesOf<CounterSeries> {
    const { of, all } = seriesBy((attributes) => new CounterSeries(attributes));
    const series = (): NumberSeries[] => [...all()];
    this.#add({ kind: 'counter', name, unit, description, observed: false, series });
    return of;
  }

  gauge(name: string, unit: string, description: string): SeriesOf<GaugeSeries> {
    const { of, all } = seriesBy((attributes) => new GaugeSeries(attributes));
    const series = (): NumberSeries[] => [...all()].filter(({ value }) => !Number.isNaN(value));
    this.#add({ kind: 'gauge', name, unit, description, observed: false, series });
    return of;
  }

  histogram(name: string, description: string, { unit, bounds }: Scale): SeriesOf<HistogramSeries> {
    const advice = { explicitBucketBoundaries: [...bounds] };
    const sdk = this.#meter?.createHistogram(name, { unit, description, advice });
    const { of, all } = seriesBy((attributes) => new HistogramSeries(attributes, bounds, sdk));
    const series = (): HistogramSeries[] => [...all()];
    this.#add({ kind: 'histogram', name, unit, description, bounds, series });
    return of;
  }

  /** Reads a number whenever somebody asks for the metrics; the same name again adds a series. */
  observe(...observed: Observed): void {
    this.#observe('gauge', ...observed);
  }

  /** As {@link observe}, for a number that only grows. */
  observeTotal(...observed: Observed): void {
    this.#observe('counter', ...observed);
  }

  #observe(kind: 'counter' | 'gauge', ...[name, unit, description, read, attributes = {}]: Observed): void {
    const series = {
      attributes,
      get value() {
        return read();
      },
    };
    const known = this.#instruments.get(name);
    const before = known && known.kind !== 'histogram' ? [...known.series()] : [];
    const all = [...before, series];
    this.#add({ kind, name, unit, description, observed: true, series: () => all });
  }

  #add(instrument: Instrument): void {
    const { name, unit, description, kind } = instrument;
    const isNew = !this.#instruments.has(name);
    this.#instruments.set(name, instrument);
    if (!this.#meter || !isNew || kind === 'histogram') return;
    // The SDK reads our numbers when it exports: recording them costs nothing more.
    const observable =
      kind === 'counter'
        ? this.#meter.createObservableCounter(name, { unit, description })
        : this.#meter.createObservableGauge(name, { unit, description });
    observable.addCallback((result) => {
      const current = this.#instruments.get(name);
      if (!current || current.kind === 'histogram') return;
      for (const { value, attributes } of current.series()) result.observe(value, attributes);
    });
  }
}

/** Series by their attributes, in whatever order these come. */
function seriesBy<Series>(make: (attributes: Attributes) => Series): {
  of: SeriesOf<Series>;
  all: () => Iterable<Series>;
} {
  const known = new Map<string, Series>();
  const of = (attributes: Attributes): Series => {
    const key = JSON.stringify(Object.entries(attributes).sort(([a], [b]) => (a < b ? -1 : 1)));
    let series = known.get(key);
    if (!series) known.set(key, (series = make(attributes)));
    return series;
  };
  return { of, all: () => known.values() };
}
