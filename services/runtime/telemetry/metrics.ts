import { Instruments } from './instruments.ts';

/** Bounds of durations in seconds, as the semantic conventions advise for `rpc.server.call.duration` and its kin. */
export const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];
/** Of what takes microseconds here: waiting in a queue, a store in this process. */
const SHORT_SECONDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, ...SECONDS];
const SIZES = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];
const TOKENS = [16, 64, 256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536];
const RATIOS = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99];

/**
 * What the services measure, under the names of the semantic conventions where they have one; the others start with
 * `scalingnote.`.
 */
export class Metrics extends Instruments {
  /** Calls that were answered, by method and status, in seconds. */
  readonly callDuration = this.histogram(
    'rpc.server.call.duration',
    's',
    'Duration of calls that came in',
    SECONDS,
  );
  /** Calls and documents that were rejected or failed, by reason. */
  readonly rejected = this.counter(
    'scalingnote.rejected',
    '{request}',
    'Calls that were refused or failed, by reason',
  );
  /** Time in a queue, by queue, in seconds. */
  readonly queueWait = this.histogram(
    'scalingnote.queue.wait',
    's',
    'Time that was spent in a queue',
    SHORT_SECONDS,
  );
  readonly batchSize = this.histogram(
    'scalingnote.batch.size',
    '{input}',
    'Inputs in a run of the model',
    SIZES,
  );
  readonly batchTokens = this.histogram(
    'scalingnote.batch.tokens',
    '{token}',
    'Tokens in a run of the model',
    TOKENS,
  );
  readonly batchPadding = this.histogram(
    'scalingnote.batch.padding',
    '1',
    'Share of a run that is padding',
    RATIOS,
  );
  readonly batchDuration = this.histogram(
    'scalingnote.batch.duration',
    's',
    'Duration of a run of the model',
    SHORT_SECONDS,
  );
  /** Padding is not counted. */
  readonly tokens = this.counter('scalingnote.tokens', '{token}', 'Tokens that were encoded');
  /** By result. */
  readonly cacheLookups = this.counter(
    'scalingnote.cache.lookups',
    '{lookup}',
    'Looks at the cache of query vectors',
  );
  /** By operation, in seconds. */
  readonly storeDuration = this.histogram(
    'db.client.operation.duration',
    's',
    'Duration of calls of the store',
    SHORT_SECONDS,
  );
  /** Documents and deletes, by outcome. */
  readonly documents = this.counter(
    'scalingnote.documents',
    '{document}',
    'Operations of ingest streams, by outcome',
  );
  readonly liveCosine = this.histogram(
    'scalingnote.live.cosine',
    '1',
    'Cosine of the vectors of query tower and teacher for live queries',
    RATIOS,
  );
  readonly liveOverlap = this.histogram(
    'scalingnote.live.overlap',
    '1',
    'Share of the teacher’s ten best documents that the query tower finds for live queries',
    RATIOS,
  );
  /** By what became of the comparison. */
  readonly liveSamples = this.counter(
    'scalingnote.live.samples',
    '{query}',
    'Live queries chosen for the teacher',
  );
  readonly unknownTokens = this.histogram(
    'scalingnote.query.unknown_tokens',
    '1',
    'Share of the tokens of a query that the query tower hardly saw in training',
    RATIOS,
  );
  /** By collection, when last measured. */
  readonly unknownInCollection = this.gauge(
    'scalingnote.collection.unknown_tokens',
    '1',
    'Share of the tokens of a collection that the query tower hardly saw in training',
  );
}
