import type { Attributes } from '@opentelemetry/api';
import {
  type CounterSeries,
  type GaugeSeries,
  type HistogramSeries,
  Instruments,
  type SeriesOf,
} from './instruments.ts';

/** Bounds of durations in seconds, as the semantic conventions advise for `rpc.server.call.duration` and its kin. */
export const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];
/** Of what takes microseconds here: waiting in a queue, a store in this process. */
const SHORT_SECONDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, ...SECONDS];
const SIZES = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];
const TOKENS = [16, 64, 256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536];
const RATIOS = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99];

/**
 * What is measured, under the names of the semantic conventions where they have one; the others start with
 * `scalingnote.`.
 */
export class Metrics {
  readonly instruments = new Instruments();
  /** Calls that were answered, by method and status, in seconds. */
  readonly callDuration: SeriesOf<HistogramSeries>;
  /** Calls that have begun and have not ended, by method: a stream may last for hours. */
  readonly activeCalls: SeriesOf<GaugeSeries>;
  /** Queries of search streams that were answered, by status, in seconds; `CANCELLED` are those that were superseded. */
  readonly streamQueryDuration: SeriesOf<HistogramSeries>;
  /** Calls and documents that were refused, by reason. */
  readonly rejected: SeriesOf<CounterSeries>;
  /** Time in a queue, by queue, in seconds. */
  readonly queueWait: SeriesOf<HistogramSeries>;
  readonly batchSize: SeriesOf<HistogramSeries>;
  readonly batchTokens: SeriesOf<HistogramSeries>;
  readonly batchPadding: SeriesOf<HistogramSeries>;
  readonly batchDuration: SeriesOf<HistogramSeries>;
  /** Tokens that were encoded, padding not counted. */
  readonly tokens: SeriesOf<CounterSeries>;
  /** Looks at the cache of query vectors, by result. */
  readonly cacheLookups: SeriesOf<CounterSeries>;
  /** Calls of the store, by operation, in seconds. */
  readonly storeDuration: SeriesOf<HistogramSeries>;
  /** What became of documents and deletes, by outcome. */
  readonly documents: SeriesOf<CounterSeries>;
  /** Cosine of a student's vector with its teacher's. */
  readonly liveCosine: SeriesOf<HistogramSeries>;
  /** Share of the teacher's ten best documents that the student found as well. */
  readonly liveOverlap: SeriesOf<HistogramSeries>;
  /** Queries that were chosen for the comparison, by what became of it. */
  readonly liveSamples: SeriesOf<CounterSeries>;
  /** Share of a query's tokens that the query tower's training hardly saw. */
  readonly unknownTokens: SeriesOf<HistogramSeries>;
  /** The same of a collection's, by collection, when last measured. */
  readonly unknownInCollection: SeriesOf<GaugeSeries>;

  constructor() {
    const { instruments } = this;
    const histogram = instruments.histogram.bind(instruments);
    const counter = instruments.counter.bind(instruments);
    this.callDuration = histogram('rpc.server.call.duration', 's', 'Duration of calls that came in', SECONDS);
    this.activeCalls = instruments.gauge(
      'scalingnote.calls.active',
      '{call}',
      'Calls that have begun and have not ended',
    );
    this.streamQueryDuration = histogram(
      'scalingnote.stream.query.duration',
      's',
      'Duration of the queries of search streams',
      SECONDS,
    );
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
    this.unknownInCollection = instruments.gauge(
      'scalingnote.collection.unknown_tokens',
      '1',
      'Share of the tokens of a collection that the query tower hardly saw in training',
    );
  }

  /** Has a number looked at whenever somebody asks for the metrics. */
  observe(
    name: string,
    unit: string,
    description: string,
    read: () => number,
    attributes: Attributes = {},
  ): void {
    this.instruments.observe('gauge', { name, unit, description }, read, attributes);
  }

  /** As {@link observe}, for a number that only grows. */
  observeTotal(
    name: string,
    unit: string,
    description: string,
    read: () => number,
    attributes: Attributes = {},
  ): void {
    this.instruments.observe('counter', { name, unit, description }, read, attributes);
  }
}
