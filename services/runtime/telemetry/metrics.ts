import type { Tower } from '../../../towers/tower.ts';
import { Instruments } from './instruments.ts';

/** Bounds of durations in seconds, as the semantic conventions advise them. */
const CALL_BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];
/**
 * For `rpc.server.call.duration` and its kin: the advised bounds put all of Encode into one bucket. Each is at most 1.6
 * times the one before, up to a second, so that a percentile is known to as much.
 */
const SECONDS = {
  unit: 's',
  bounds: [
    0.000_25, 0.0004, 0.0006, 0.0009, 0.0014, 0.0022, 0.0035, 0.005, 0.0075, 0.01, 0.016, 0.025, 0.035, 0.05,
    0.075, 0.1, 0.16, 0.25, 0.35, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
  ],
};
/** For what takes microseconds here: waiting in a queue, a store in this process. */
const SHORT_SECONDS = { unit: 's', bounds: [0.0001, 0.00025, 0.0005, 0.001, 0.0025, ...CALL_BOUNDS] };
const INPUTS = { unit: '{input}', bounds: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512] };
const TOKENS = {
  unit: '{token}',
  bounds: [16, 64, 256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536],
};
const SHARE = { unit: '1', bounds: [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99] };

/**
 * What the services measure, under the names of the semantic conventions where they have one; the others start with
 * `scalingnote.`.
 */
export class Metrics extends Instruments {
  /** Calls that were answered, by method and status, in seconds. */
  readonly callDuration = this.histogram('rpc.server.call.duration', 'Duration of incoming calls', SECONDS);
  /** Calls that have begun and have not ended, by method: a stream may last for hours. */
  readonly activeCalls = this.gauge('scalingnote.calls.active', '{call}', 'Calls in progress');
  /** Queries of search streams that were answered, by status; `CANCELLED` are those that a newer query superseded. */
  readonly streamQueryDuration = this.histogram(
    'scalingnote.stream.query.duration',
    'Duration of the queries of search streams',
    SECONDS,
  );
  /** Calls and documents that were rejected or failed, by reason. */
  readonly rejected = this.counter(
    'scalingnote.rejected',
    '{request}',
    'Calls rejected or failed, by reason',
  );
  /** Time in a queue, by queue, in seconds. */
  readonly queueWait = this.histogram('scalingnote.queue.wait', 'Time spent in a queue', SHORT_SECONDS);
  readonly batchSize = this.histogram('scalingnote.batch.size', 'Inputs of a model run', INPUTS);
  readonly batchTokens = this.histogram('scalingnote.batch.tokens', 'Tokens of a model run', TOKENS);
  readonly batchPadding = this.histogram('scalingnote.batch.padding', 'Share of padding in a run', SHARE);
  readonly batchDuration = this.histogram(
    'scalingnote.batch.duration',
    'Duration of a model run',
    SHORT_SECONDS,
  );
  /** Padding is not counted. */
  readonly tokens = this.counter('scalingnote.tokens', '{token}', 'Encoded tokens');
  /** By result. */
  readonly cacheLookups = this.counter('scalingnote.cache.lookups', '{lookup}', 'Lookups of query vectors');
  /** By operation, in seconds. */
  readonly storeDuration = this.histogram(
    'db.client.operation.duration',
    'Duration of store calls',
    SHORT_SECONDS,
  );
  /** Documents and deletes, by outcome. */
  readonly documents = this.counter('scalingnote.documents', '{document}', 'Ingest operations, by outcome');
  readonly liveCosine = this.histogram(
    'scalingnote.live.cosine',
    'Cosine of the vectors of query tower and teacher for live queries',
    SHARE,
  );
  readonly liveOverlap = this.histogram(
    'scalingnote.live.overlap',
    'Share of the teacher’s ten best documents that the query tower finds for live queries',
    SHARE,
  );
  /** By what became of the comparison. */
  readonly liveSamples = this.counter(
    'scalingnote.live.samples',
    '{query}',
    'Queries chosen for the teacher',
  );
  /** When last measured. */
  readonly spaceDrift = this.gauge(
    'scalingnote.space.drift',
    '1',
    'Largest cosine distance between the golden vectors and those that the document tower makes of the same texts',
  );
  readonly spaceDrifted = this.gauge(
    'scalingnote.space.drifted',
    '{record}',
    'Records of golden vectors that the document tower does not agree with',
  );
  readonly spaceVerified = this.gauge(
    'scalingnote.space.verified',
    's',
    'When the document tower last agreed with all golden vectors, in seconds since 1970',
  );
  readonly probeTokens = this.counter(
    'scalingnote.space.probe_tokens',
    '{token}',
    'Tokens encoded to compare the document tower with its golden vectors',
  );
  readonly unknownTokens = this.histogram(
    'scalingnote.query.unknown_tokens',
    'Share of the tokens of a query that the query tower hardly saw in training',
    SHARE,
  );
  /** By collection, when last measured. */
  readonly unknownInCollection = this.gauge(
    'scalingnote.collection.unknown_tokens',
    '1',
    'Share of the tokens of a collection that the query tower hardly saw in training',
  );
}

/** Measures the runs of a tower's model. */
export function measureTower(tower: Pick<Tower, 'manifest' | 'onBatch'>, metrics: Metrics): void {
  const attributes = { 'scalingnote.tower': tower.manifest.name };
  const sizes = metrics.batchSize(attributes);
  const tokensPerRun = metrics.batchTokens(attributes);
  const padding = metrics.batchPadding(attributes);
  const durations = metrics.batchDuration(attributes);
  const total = metrics.tokens(attributes);
  tower.onBatch(({ size, tokens, paddingRatio, encodeMs }) => {
    sizes.record(size);
    tokensPerRun.record(tokens);
    padding.record(paddingRatio);
    durations.record(encodeMs / 1000);
    total.add(tokens);
  });
}
