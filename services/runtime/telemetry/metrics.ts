import { type Attributes, type Histogram as ApiHistogram, type Meter, ValueType } from '@opentelemetry/api';
import type { Span } from './span.ts';

/** Bounds of durations in seconds, as the semantic conventions advise for `rpc.server.call.duration` and its kin. */
export const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];
/** Of what takes microseconds here: waiting in a queue, a store in this process. */
const SHORT_SECONDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, ...SECONDS];
const SIZES = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];
const TOKENS = [16, 64, 256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536];
const RATIOS = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99];

/** A value of a histogram that can be traced: it links a bucket to what was in it. */
export interface Exemplar {
  value: number;
  traceId: string;
  spanId: string;
  /** Milliseconds since the epoch. */
  time: number;
}

/** A histogram that remembers, for each of its buckets, the last value whose trace is kept. */
export class Histogram {
  readonly name: string;
  readonly bounds: readonly number[];
  readonly #histogram: ApiHistogram;
  readonly #exemplars = new Map<string, (Exemplar | undefined)[]>();

  constructor(meter: Meter, name: string, unit: string, description: string, bounds: readonly number[]) {
    this.name = name;
    this.bounds = bounds;
    this.#histogram = meter.createHistogram(name, {
      unit,
      description,
      valueType: ValueType.DOUBLE,
      advice: { explicitBucketBoundaries: [...bounds] },
    });
  }

  /** @param span whose value it is */
  record(value: number, attributes: Attributes, span?: Span): void {
    this.#histogram.record(value, attributes);
    if (!span?.sampled) return;
    const key = seriesKey(attributes);
    let exemplars = this.#exemplars.get(key);
    if (!exemplars) this.#exemplars.set(key, (exemplars = []));
    const bucket = this.bounds.findIndex((bound) => value <= bound);
    exemplars[bucket < 0 ? this.bounds.length : bucket] = {
      value,
      traceId: span.traceId,
      spanId: span.id,
      time: Date.now(),
    };
  }

  /** The last value of each bucket whose trace is kept; the last bucket is that without a bound. */
  exemplars(attributes: Attributes): readonly (Exemplar | undefined)[] {
    return this.#exemplars.get(seriesKey(attributes)) ?? [];
  }
}

function seriesKey(attributes: Attributes): string {
  const pairs = Object.entries(attributes).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify(pairs);
}

/**
 * What is measured, under the names of the semantic conventions where they have one; the others start with
 * `scalingnote.`.
 */
export class Metrics {
  readonly meter: Meter;
  readonly histograms: readonly Histogram[];
  /** Calls that were answered, by method and status, in seconds. */
  readonly callDuration: Histogram;
  /** Calls and documents that were refused, by reason. */
  readonly rejected;
  /** Time in a queue, by queue, in seconds. */
  readonly queueWait: Histogram;
  readonly batchSize: Histogram;
  readonly batchTokens: Histogram;
  readonly batchPadding: Histogram;
  readonly batchDuration: Histogram;
  /** Tokens that were encoded, padding not counted. */
  readonly tokens;
  /** Looks at the cache of query vectors, by result. */
  readonly cacheLookups;
  /** Calls of the store, by operation, in seconds. */
  readonly storeDuration: Histogram;
  /** What became of documents and deletes, by outcome. */
  readonly documents;
  /** Cosine of a student's vector with its teacher's. */
  readonly liveCosine: Histogram;
  /** Share of the teacher's ten best documents that the student found as well. */
  readonly liveOverlap: Histogram;
  /** Queries that were chosen for the comparison, by what became of it. */
  readonly liveSamples;
  /** Share of a query's tokens that the query tower's training hardly saw. */
  readonly unknownTokens: Histogram;
  /** The same of a collection's, by collection, when last measured. */
  readonly unknownInCollection;

  constructor(meter: Meter) {
    this.meter = meter;
    const made: Histogram[] = [];
    const histogram = (name: string, unit: string, description: string, bounds: readonly number[]) => {
      const histogram = new Histogram(meter, name, unit, description, bounds);
      made.push(histogram);
      return histogram;
    };
    const counter = (name: string, unit: string, description: string) =>
      meter.createCounter(name, { unit, description });
    this.callDuration = histogram('rpc.server.call.duration', 's', 'Duration of calls that came in', SECONDS);
    this.rejected = counter(
      'scalingnote.rejected',
      '{request}',
      'Calls that were refused or failed, by reason',
    );
    this.queueWait = histogram(
      'scalingnote.queue.wait',
      's',
      'Time that was spent in a queue',
      SHORT_SECONDS,
    );
    this.batchSize = histogram('scalingnote.batch.size', '{input}', 'Inputs in a run of the model', SIZES);
    this.batchTokens = histogram(
      'scalingnote.batch.tokens',
      '{token}',
      'Tokens in a run of the model',
      TOKENS,
    );
    this.batchPadding = histogram('scalingnote.batch.padding', '1', 'Share of a run that is padding', RATIOS);
    this.batchDuration = histogram(
      'scalingnote.batch.duration',
      's',
      'Duration of a run of the model',
      SHORT_SECONDS,
    );
    this.tokens = counter('scalingnote.tokens', '{token}', 'Tokens that were encoded');
    this.cacheLookups = counter(
      'scalingnote.cache.lookups',
      '{lookup}',
      'Looks at the cache of query vectors',
    );
    this.storeDuration = histogram(
      'db.client.operation.duration',
      's',
      'Duration of calls of the store',
      SHORT_SECONDS,
    );
    this.documents = counter(
      'scalingnote.documents',
      '{document}',
      'Operations of ingest streams, by outcome',
    );
    this.liveCosine = histogram(
      'scalingnote.live.cosine',
      '1',
      'Cosine of the vectors of query tower and teacher for live queries',
      RATIOS,
    );
    this.liveOverlap = histogram(
      'scalingnote.live.overlap',
      '1',
      'Share of the teacher’s ten best documents that the query tower finds for live queries',
      RATIOS,
    );
    this.liveSamples = counter('scalingnote.live.samples', '{query}', 'Live queries chosen for the teacher');
    this.unknownTokens = histogram(
      'scalingnote.query.unknown_tokens',
      '1',
      'Share of the tokens of a query that the query tower hardly saw in training',
      RATIOS,
    );
    this.unknownInCollection = meter.createGauge('scalingnote.collection.unknown_tokens', {
      unit: '1',
      description: 'Share of the tokens of a collection that the query tower hardly saw in training',
    });
    this.histograms = made;
  }

  /** Has a number looked at whenever somebody asks for the metrics. */
  observe(
    name: string,
    unit: string,
    description: string,
    read: () => number,
    attributes: Attributes = {},
  ): void {
    const gauge = this.meter.createObservableGauge(name, { unit, description });
    gauge.addCallback((result) => result.observe(read(), attributes));
  }

  /** As {@link observe}, for a number that only grows. */
  observeTotal(
    name: string,
    unit: string,
    description: string,
    read: () => number,
    attributes: Attributes = {},
  ): void {
    const counter = this.meter.createObservableCounter(name, { unit, description });
    counter.addCallback((result) => result.observe(read(), attributes));
  }
}
