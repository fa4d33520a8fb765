import type { Logger } from 'pino';
import { StoreError } from '../../../store/errors.ts';
import type { CollectionInfo, Store } from '../../../store/store.ts';
import type { SpaceDefinition } from '../../../towers/space.ts';
import type { ServiceError } from '../../runtime/errors.ts';
import { Quotas } from '../../runtime/tenants/quotas.ts';
import type { StorageQuotas } from '../../runtime/tenants/storage.ts';
import { StreamPlaces } from '../../runtime/tenants/stream-places.ts';
import type { DriftGuard } from '../../runtime/drift/guard.ts';
import type { Metrics } from '../../runtime/telemetry/metrics.ts';
import type { Telemetry } from '../../runtime/telemetry/telemetry.ts';
import type { Analysis } from '../../../towers/lexical/analysis.ts';
import { Analyses, analysisToMake } from './analyses.ts';
import { Budget } from './budget.ts';
import { DocumentEncoder, type IngestTower } from './encoder.ts';
import { PatientStore } from './patient-store.ts';
import { DEFAULT_BACKOFF, type Backoff } from './retry.ts';
import { Runs } from './runs.ts';
import { IngestSession, type IngestCall, type SessionContext } from './session.ts';

/** Settings of ingest. */
export interface IngestSettings {
  /**
   * Most tokens in flight over all streams. The usual 32 768 are sixteen batches of a CPU or two of an accelerator: enough
   * to keep the tower busy while the store makes a write durable, and to sort texts by length. On two CPU cores it is
   * about seven seconds of work, which a drain has to finish.
   */
  budgetTokens: number;
  /**
   * Most streams at once. Each may hold two messages that no budget counts: one half received, and one that waits for room.
   * A producer needs one stream, so the usual 32 serve many producers.
   */
  maxStreams: number;
  /**
   * How long a stream may do nothing, in milliseconds, before it has to give its place to a new one. Where places are
   * free nothing is ended. The usual 30 s are longer than any pause of a producer that has something to send.
   *
   * @default 30000
   */
  idleMs?: number;
  /** Waits between attempts at a store that is away or a tower that is full. @default {@link DEFAULT_BACKOFF} */
  backoff?: Backoff;
}

const DEFAULT_IDLE_MS = 30_000;

/**
 * Memory for all long documents in flight, with what is made of them until their one write: room for one of the longest
 * (8 MiB of text) and some shorter ones. One that takes more goes alone.
 */
const LONG_DOCUMENT_BYTES = 64 * 1024 * 1024;

/** Bytes that a token of a document in flight takes: text, passages and terms, about 16, and its part of a vector. */
function bytesPerToken({ dimensions, passageWindow: { tokens, overlap } }: SpaceDefinition): number {
  return 16 + (dimensions * Float32Array.BYTES_PER_ELEMENT) / Math.max(1, tokens - overlap);
}

/** What ingest needs of a store. */
export type IngestStore = Pick<
  Store,
  | 'kind'
  | 'findCollection'
  | 'ensureCollection'
  | 'goldenVectors'
  | 'beginBulk'
  | 'lookupDocuments'
  | 'readDocuments'
  | 'writeDocuments'
  | 'freshness'
  | 'count'
>;

/** What a pipeline works with. */
export interface PipelineParts {
  store: IngestStore;
  tower: IngestTower;
  log: Logger;
  telemetry?: Telemetry | undefined;
  /** Refuses writes while the tower does not encode as it did. @default nobody does */
  drift?: Pick<DriftGuard, 'admit' | 'errorOf' | 'newRecord' | 'onCheck'> | undefined;
  /** How much tenants may do, and have. @default as much as they like */
  quotas?: Quotas | undefined;
  storage?: StorageQuotas | undefined;
}

/** All ingest streams of a process: one store, one tower, one budget. */
export class IngestPipeline {
  readonly #context: SessionContext;
  readonly #places: StreamPlaces<IngestSession>;

  constructor(parts: PipelineParts, settings: IngestSettings) {
    const { budgetTokens, maxStreams, idleMs = DEFAULT_IDLE_MS, backoff = DEFAULT_BACKOFF } = settings;
    const { store, tower, log, telemetry, drift, storage, quotas = new Quotas() } = parts;
    const excess = Math.floor(LONG_DOCUMENT_BYTES / bytesPerToken(tower.manifest.space));
    this.#places = new StreamPlaces({ most: maxStreams, idleMs, quotas });
    this.limits = { 'ingest.streams': maxStreams, 'ingest.tokens': budgetTokens };
    this.#context = {
      store: new PatientStore(store, backoff, log),
      encoder: new DocumentEncoder(tower, backoff),
      budget: new Budget(budgetTokens, { excess }),
      log,
      telemetry,
      model: tower.manifest.name,
      runs: new Runs(),
      quotas,
      storage,
      claim: (stream, tenant) => this.#places.claim(stream, tenant),
      count: (physicalName, tenant, signal) => store.count(physicalName, tenant, undefined, { signal }),
      analyses: new Analyses((physicalName) => store.findCollection(physicalName), log),
      openCollection: (name, analysis, signal) => openCollection(parts, name, analysis, signal),
      distrust: drift && ((physicalName) => drift.errorOf(physicalName)),
      findCollection: (name, signal) => store.findCollection(name, { signal }),
      beginBulk: (physicalName, signal) => store.beginBulk(physicalName, { signal }),
    };
    if (telemetry?.metrics) this.#observe(telemetry.metrics);
    drift?.onCheck(() => {
      for (const session of this.#places.streams) session.distrust();
    });
  }

  /** What is in force, by name. */
  readonly limits: Readonly<Record<string, number>>;

  /** Tokens in flight over all streams. */
  get tokensInFlight(): number {
    return this.#context.budget.held;
  }

  /** Streams that are open. */
  get streams(): number {
    return this.#places.streams.size;
  }

  /** Streams of a tenant that are open. */
  streamsOf(tenant: string): number {
    return this.#places.of(tenant);
  }

  /**
   * Why no stream is taken now. A stream that has long done nothing gives its place up, so ask only for a new one.
   *
   * @param ofPeer how many the same peer has open. @default nobody knows
   */
  refusal(ofPeer = 0): ServiceError | undefined {
    return this.#places.refusal(ofPeer);
  }

  /**
   * Serves one stream to its end.
   *
   * @throws {ServiceError} that the stream has to end with; `TOO_MANY_STREAMS` where no more are taken
   */
  async serve(call: IngestCall): Promise<void> {
    const full = this.refusal();
    if (full) throw full;
    const session = new IngestSession(this.#context, call);
    await this.#places.keep(session, () => session.run());
  }

  /**
   * Ends the streams of a tenant, and refuses new ones until the result is called.
   *
   * @param collection where its streams end. @default everywhere
   * @returns when the streams have ended
   */
  dropTenant(tenant: string, collection?: string): Promise<() => void> {
    return this.#places.close(tenant, collection);
  }

  /** Registers gauges that read the state of all streams. */
  #observe(metrics: Metrics): void {
    const lags = () => [...this.#places.streams].map(({ lag }) => lag);
    const sum = (numbers: number[]) => numbers.reduce((total, each) => total + each, 0);
    metrics.observe(
      'scalingnote.ingest.streams',
      '{stream}',
      'Ingest streams that are open',
      () => this.streams,
    );
    const inFlight = () => this.tokensInFlight;
    const lag = () => sum(lags().map(({ operations }) => operations));
    const age = () => Math.max(0, ...lags().map(({ oldestMs }) => oldestMs)) / 1000;
    const waiting = () => this.#context.budget.waiting;
    metrics.observe(
      'scalingnote.ingest.tokens_in_flight',
      '{token}',
      'Tokens of operations in flight',
      inFlight,
    );
    metrics.observe('scalingnote.ingest.watermark_lag', '{operation}', 'Operations without a watermark', lag);
    metrics.observe('scalingnote.ingest.watermark_age', 's', 'Age of the oldest of these operations', age);
    const queue = { 'scalingnote.queue': 'ingest' };
    metrics.observe('scalingnote.queue.depth', '{request}', 'Requests that wait', waiting, queue);
  }
}

/**
 * Opens the collection of a stream, and makes it where it is not there: with the golden vectors of the tower, which every
 * later writer is compared with.
 *
 * @throws {ServiceError} `SPACE_DRIFTED` @throws {StoreError} `SPACE_MISMATCH`
 */
async function openCollection(
  { store, tower, drift }: PipelineParts,
  name: string,
  wanted: Analysis | undefined,
  signal: AbortSignal,
): Promise<CollectionInfo> {
  const { fingerprint, dimensions } = tower.manifest.space;
  const space = { fingerprint, dimensions, analysis: analysisToMake(wanted) };
  if (!drift) return store.ensureCollection(name, space, { signal });
  const isThere = await store.findCollection(name, { signal }).then(
    () => true,
    (error: unknown) => {
      if (error instanceof StoreError && error.reason === 'COLLECTION_NOT_FOUND') return false;
      throw error;
    },
  );
  const made = isThere ? {} : { goldenVectors: await drift.newRecord() };
  const info = await store.ensureCollection(name, { ...space, ...made }, { signal });
  // Another process may have been quicker.
  await drift.admit(info, await store.goldenVectors(info.physicalName, { signal }));
  return info;
}
