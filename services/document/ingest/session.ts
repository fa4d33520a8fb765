import { status } from '@grpc/grpc-js';
import type { IngestRequest__Output } from '../../../proto/generated/scalingnote/v1/IngestRequest.ts';
import type { IngestResponse } from '../../../proto/generated/scalingnote/v1/IngestResponse.ts';
import type { Watermark } from '../../../proto/generated/scalingnote/v1/Watermark.ts';
import { collectionReplaced } from '../../../store/errors.ts';
import { type Freshness, freshnessToken } from '../../../store/freshness.ts';
import type { BulkLoad, Counts } from '../../../store/store.ts';
import {
  DEFAULT_RETRY_DELAY_MS,
  invalidArgument,
  ServiceError,
  toServiceError,
} from '../../runtime/errors.ts';
import type { StreamCall } from '../../runtime/handler.ts';
import { parseSequence } from '../../runtime/validate.ts';
import { withAnalysis } from '../../runtime/analysis.ts';
import { countRequest } from '../../runtime/tenants/per-tenant.ts';
import { tenantFlow } from '../../runtime/tenants/whose.ts';
import type { Telemetry } from '../../runtime/telemetry/telemetry.ts';
import { readBegin } from './begin.ts';
import type { Share } from './budget.ts';
import { type Collections, isGone, openExpected } from './open-expected.ts';
import { readOperation, type DocumentTrace } from './operation.ts';
import type { Runs } from './runs.ts';
import type { Shared } from './stream-context.ts';
import { StreamTrace } from './stream-trace.ts';
import { Window } from './window.ts';

/**
 * Most operations of one stream that are not settled, or whose outcome has not gone out. It bounds what a client that
 * never reads can pile up: a settled operation takes less than a kilobyte.
 */
export const WINDOW_OPERATIONS = 4096;

/** Most outcomes between two watermarks. After a break a client sends again what no watermark covered. */
export const WATERMARK_OUTCOMES = 256;

/** How long the end of a bulk load may take, in milliseconds: the client waits for it. */
const BULK_END_MS = 5000;

/** The Ingest call, as a session sees it. */
export type IngestCall = Pick<
  StreamCall<IngestRequest__Output, IngestResponse>,
  'requests' | 'write' | 'signal' | 'span' | 'caller'
>;

/** What a session shares with all others. */
export interface SessionContext extends Shared, Collections {
  telemetry: Telemetry | undefined;
  /** Name of the tower. */
  model: string;
  runs: Runs;
  /** Takes a place for a stream of a tenant. @throws {ServiceError} where there is none for it */
  claim(stream: IngestSession, tenant: string): void;
  /** What a tenant has in a collection. @throws {StoreError} */
  count(physicalName: string, tenant: string, signal: AbortSignal): Promise<Counts>;
  /** What writes to a collection are refused with, where they are. */
  distrust?: ((physicalName: string) => ServiceError | undefined) | undefined;
  /** @throws {StoreError} */
  beginBulk(physicalName: string, signal: AbortSignal): Promise<BulkLoad>;
}

/**
 * One stream of the Ingest call. It checks the order of what comes in, and sends outcomes in the order of the
 * operations. A watermark follows when everything before it has its outcome, and when the collection is still the one
 * that the stream was opened with: first come the writes, then its identity is read, so what the watermark covers lies in
 * that very collection.
 */
export class IngestSession {
  readonly #context: SessionContext;
  readonly #call: IngestCall;
  #share: Share | undefined;
  readonly #trace: StreamTrace | undefined;
  /** Aborted when the stream gives up. */
  readonly #life = new AbortController();
  #window: Window | undefined;
  #collection = { name: '', physicalName: '', identity: '' };
  #options = { tenant: '', omitText: false };
  /** Set once the stream has its place. */
  #target: { tenant: string; collection: string } | undefined;
  /** Highest sequence that was received, and that was answered. */
  #received = 0;
  #answered = 0;
  /** Outcomes that went out since the last watermark, and the traces of their documents. */
  #uncovered = 0;
  #uncoveredTraces: DocumentTrace[] = [];
  #ready: IngestResponse | undefined;
  #bulk: BulkLoad | undefined;
  /** Set when the stream takes nothing more in. `now`: it gives up what is not settled. `mute`: and tells no outcome. */
  #ending: { error: ServiceError | undefined; now: boolean; mute?: true } | undefined;
  /** The service works for the stream, other than at its operations. */
  #isBusy = false;
  /** When the client last sent or took something, as of `performance.now()`. */
  #lastProgress = performance.now();
  #evict = (): void => {};
  #endRun = (): void => {};
  readonly #evicted = new Promise<void>((resolve) => (this.#evict = resolve));
  #wakeReader = (): void => {};
  #wakeWriter = (): void => {};

  constructor(context: SessionContext, call: IngestCall) {
    this.#context = context;
    this.#call = call;
    const { telemetry, model } = context;
    this.#trace = telemetry && new StreamTrace(telemetry, call.span, model);
  }

  /**
   * Serves the stream to its end.
   *
   * @throws {ServiceError} the error that the stream ends with
   */
  async run(): Promise<void> {
    const { signal } = this.#call;
    const onAbort = (): void => this.#fail(signal.reason);
    signal.addEventListener('abort', onAbort);
    try {
      void this.#read();
      const writing = this.#write();
      // One that ended its wait for a place is not waited for: its client may never read what was written.
      writing.catch(() => {});
      await Promise.race([writing, this.#evicted]);
      if (this.#ending?.error) throw this.#ending.error;
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#fail(undefined);
      this.#endRun();
      await this.#endBulk();
    }
  }

  /** Operations that no watermark covers yet. */
  get lag(): { operations: number; oldestMs: number } {
    const oldest = this.#window?.oldestArrival;
    return {
      operations: (this.#window?.size ?? 0) + this.#uncovered,
      oldestMs: oldest === undefined ? 0 : performance.now() - oldest,
    };
  }

  /** How long the client has neither sent nor read anything, in milliseconds; 0 while the service works for it. */
  get idleMs(): number {
    const isServed = this.#isBusy || this.#share?.wanted !== undefined || (this.#window?.unsettled ?? 0) > 0;
    return isServed ? 0 : performance.now() - this.#lastProgress;
  }

  /** Whether the client has ever sent an operation. */
  get hasWorked(): boolean {
    return this.#received > 0;
  }

  /** Ends the stream, so that another one can have its place. */
  evict(): void {
    const seconds = Math.round(this.idleMs / 1000);
    this.#fail(
      new ServiceError(
        status.UNAVAILABLE,
        'STREAM_IDLE',
        `the stream did nothing for ${seconds} s, and another one needs its place; connect again when there is more to send`,
        { retryDelayMs: DEFAULT_RETRY_DELAY_MS },
      ),
    );
    this.#evict();
  }

  /** Whose stream it is, and of which logical collection; `undefined` before it has said so. */
  get target(): { tenant: string; collection: string } | undefined {
    return this.#target;
  }

  /** Takes nothing more in, answers what it has taken, and ends: another tenant needs the place. */
  yield(error: ServiceError): void {
    this.#finish(error);
  }

  /** Ends the stream because a later one of its run begins. */
  supersede(error: ServiceError): void {
    this.#fail(error);
    this.#evict();
  }

  /** Ends the stream because its writes can't be trusted: not even those that are done are acknowledged. */
  distrust(): void {
    const error = this.#context.distrust?.(this.#collection.physicalName);
    if (error === undefined || this.#ending?.mute) return;
    this.#ending = { error, now: true, mute: true };
    this.#fail(error);
    this.#evict();
  }

  /** Takes messages in until the client is done, the service drains, or something fails. Never rejects. */
  async #read(): Promise<void> {
    try {
      for await (const request of this.#call.requests) {
        this.#lastProgress = performance.now();
        const room = this.#window
          ? this.#takeOperation(this.#window, request)
          : this.#atWork(() => this.#begin(request));
        if (room) await room;
        if (this.#ending) return;
      }
      this.#finish(undefined);
    } catch (error) {
      this.#finish(this.#located(toServiceError(error)));
    }
  }

  async #begin(request: IngestRequest__Output): Promise<void> {
    const { collection, tenant, omitText, bulk, expectedIdentity, runId, attempt, progress, analysis } =
      readBegin(request);
    const { quotas, budget, runs } = this.#context;
    if (quotas) countRequest(quotas, this.#call, tenant);
    this.#target = { tenant, collection };
    this.#context.claim(this, tenant);
    this.#endRun = runs.begin(JSON.stringify([collection, tenant]), runId, attempt, this);
    // A tenant has one share, in however many collections. Data without a tenant are of whoever has the collection.
    const owner = tenant === '' ? `collection ${collection}` : tenantFlow(tenant);
    const share = budget.open(owner, quotas?.weight(tenant));
    this.#share = share;
    const expected = { identity: expectedIdentity, progress };
    const info = await openExpected(
      this.#context,
      { collection, tenant, analysis },
      expected,
      this.#call.signal,
    );
    this.#collection = { name: collection, physicalName: info.physicalName, identity: info.identity };
    if (bulk) await this.#beginBulk(info.physicalName);
    this.#options = { tenant, omitText };
    const lane = { group: share.tenant };
    const target = { collection: info.physicalName, tenant, omitText, lane };
    this.#trace?.opened(collection);
    this.#window = new Window(this.#context, share, target, this.#trace, {
      onSettled: () => this.#wakeWriter(),
      onFailure: (error) => this.#fail(this.#unlessGone(error)),
    });
    const counts = await this.#context.count(info.physicalName, tenant, this.#call.signal);
    this.#ready = { ready: { collection: { ...withAnalysis(info), ...counts } } };
    this.#wakeWriter();
  }

  /** Nothing that lasts is the client's fault meanwhile. */
  async #atWork<T>(work: () => Promise<T>): Promise<T> {
    this.#isBusy = true;
    try {
      return await work();
    } finally {
      this.#isBusy = false;
      this.#lastProgress = performance.now();
    }
  }

  async #beginBulk(physicalName: string): Promise<void> {
    this.#bulk = await this.#context.beginBulk(physicalName, this.#call.signal);
    // The stream may have ended while the load began.
    if (this.#ending) await this.#endBulk();
  }

  /** A store that can't be reached ends the load by itself after a while. */
  async #endBulk(): Promise<void> {
    const bulk = this.#bulk;
    this.#bulk = undefined;
    await bulk?.end({ signal: AbortSignal.timeout(BULK_END_MS) }).catch((error: unknown) => {
      this.#context.log.warn({ err: error }, 'the end of a bulk load did not reach the store');
    });
  }

  /** @returns a promise that the next message has to wait for, if any */
  #takeOperation(window: Window, request: IngestRequest__Output): Promise<void> | undefined {
    if (request.begin) {
      throw invalidArgument('begin', 'came twice; send it once, and open another stream for another target');
    }
    const sequence = parseSequence(request.sequence, this.#received);
    const read = readOperation(request, sequence, this.#options);
    this.#received = sequence;
    const traceparent = request.document?.traceparent ?? '';
    const trace = this.#trace?.document(sequence, read.documentId, traceparent);
    const operation = trace ? { ...read, trace } : read;
    const enter = (admitted: boolean): Promise<void> | undefined => {
      if (!admitted) return undefined;
      window.add(operation);
      if (window.size < WINDOW_OPERATIONS) return undefined;
      return new Promise((resolve) => (this.#wakeReader = resolve));
    };
    const take = (): Promise<void> | undefined => {
      const isSettled = operation.state === 'settled';
      const admitted = isSettled || this.#context.budget.admit(this.#share!, operation.tokens);
      if (typeof admitted === 'boolean') return enter(admitted);
      return admitted.then((room) => {
        this.#trace?.admitted(operation.arrivedAt);
        return enter(room);
      });
    };
    // It waits here, before it has any of the budget, which others need.
    const waits =
      operation.state === 'received' &&
      this.#context.quotas?.tokensReady(this.#options.tenant, this.#life.signal);
    return waits ? this.#atWork(() => waits).then(take) : take();
  }

  /** Sends messages until the stream ends. */
  async #write(): Promise<void> {
    for (;;) {
      const message = this.#nextMessage();
      if (message?.watermark) await this.#sendWatermark(message.watermark);
      else if (message) await this.#send(message);
      else if (this.#isDone()) return;
      else await new Promise<void>((resolve) => (this.#wakeWriter = resolve));
    }
  }

  #nextMessage(): IngestResponse | undefined {
    if (this.#ending?.mute) return undefined;
    if (this.#ready) {
      const ready = this.#ready;
      this.#ready = undefined;
      return ready;
    }
    const settled = this.#uncovered < WATERMARK_OUTCOMES ? this.#window?.takeSettled() : undefined;
    if (settled) {
      this.#uncovered++;
      this.#answered = settled.sequence;
      if (settled.trace) this.#uncoveredTraces.push(settled.trace);
      this.#wakeReader();
      return { outcome: settled.outcome };
    }
    // A stream that gives up can't tell any more where its writes went.
    if (this.#uncovered === 0 || this.#ending?.now) return undefined;
    return { watermark: { sequence: this.#answered } };
  }

  /** Sends a watermark where the collection is still the same, and gives the stream up where it is not. */
  async #sendWatermark(watermark: Watermark): Promise<void> {
    let freshness: Freshness;
    try {
      const { name, physicalName, identity } = this.#collection;
      const { tenant } = this.#options;
      freshness = await this.#atWork(() =>
        this.#context.store.freshness(physicalName, this.#life.signal, tenant),
      );
      if (freshness.identity !== identity) throw collectionReplaced(name, identity, freshness.identity);
    } catch (error) {
      this.#fail(this.#unlessGone(error));
      return;
    }
    await this.#send({ watermark: { ...watermark, freshnessToken: freshnessToken(freshness) } });
    this.#trace?.visible(this.#answered, this.#uncovered, this.#uncoveredTraces);
    this.#uncovered = 0;
    this.#uncoveredTraces = [];
  }

  async #send(message: IngestResponse): Promise<void> {
    await this.#call.write(message);
    this.#lastProgress = performance.now();
  }

  #isDone(): boolean {
    return this.#ending !== undefined && (this.#ending.now || !this.#window || this.#window.size === 0);
  }

  /** Takes nothing more in, and ends with `error` once everything in flight is answered. */
  #finish(error: ServiceError | undefined): void {
    this.#ending ??= { error, now: false };
    this.#wakeWriter();
  }

  /** Gives up what is not settled, returns its share of the budget, and ends with what was thrown. */
  #fail(error: unknown): void {
    if (!this.#ending?.now) {
      this.#ending = { error: error === undefined ? undefined : toServiceError(error), now: true };
    }
    this.#life.abort();
    this.#window?.abandon();
    if (this.#share) this.#context.budget.close(this.#share);
    this.#wakeReader();
    this.#wakeWriter();
  }

  /** A collection that is gone under an open stream has been dropped: the stream's progress is void. */
  #unlessGone(error: unknown): unknown {
    const { name, identity } = this.#collection;
    return isGone(error) ? collectionReplaced(name, identity, 'gone') : error;
  }

  /** A message that can't be read has no sequence: the error says after which one it came. */
  #located(error: ServiceError): ServiceError {
    if (error.reason !== 'MALFORMED_MESSAGE') return error;
    const { code, reason, message, cause } = error;
    const located = `the message after sequence ${this.#received}: ${message}`;
    return new ServiceError(code, reason, located, { cause });
  }
}
