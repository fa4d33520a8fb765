import { randomUUID } from 'node:crypto';
import { type ClientDuplexStream, status as Code } from '@grpc/grpc-js';
import type { IngestOutcome__Output } from '../proto/generated/scalingnote/v1/IngestOutcome.ts';
import type { TextAnalysis } from './answers.ts';
import type { IngestBegin } from '../proto/generated/scalingnote/v1/IngestBegin.ts';
import type { IngestRequest } from '../proto/generated/scalingnote/v1/IngestRequest.ts';
import type { IngestResponse__Output } from '../proto/generated/scalingnote/v1/IngestResponse.ts';
import type { OutcomeKind__Output } from '../proto/generated/scalingnote/v1/OutcomeKind.ts';
import { unpackStatus } from '../proto/status.ts';
import { invalidArgument, ScalingnoteError, toScalingnoteError } from './errors.ts';
import { idOf, sequenceOf, type IngestOperation, toWireOperation, type WireOperation } from './operation.ts';
import { Patience, type PatienceOptions } from './patience.ts';
import { MAX_TIMER_MS, tookNoStream } from './retries.ts';
import { Source } from './source.ts';
import type { CallMetadata } from './tracing-interceptor.ts';
import { toWire } from './strict/message.ts';
import { describe } from './strict/read.ts';

/** What became of one operation. */
export interface IngestOutcome {
  sequence: number;
  id: string;
  kind: 'indexed' | 'unchanged' | 'deleted' | 'rejected';
  /** How many passages the document has now; 0 unless it was indexed. */
  passages: number;
  /** How many of these were encoded: none where metadata alone changed, few where most of the text is as it was. */
  encodedPassages: number;
  /** Why it was rejected. */
  error?: ScalingnoteError;
}

/** How to ingest. */
export interface IngestOptions {
  /** Logical name of the collection; it is created if it is not there. */
  collection: string;
  /** @default '' */
  tenant?: string;
  /** Keep texts out of the store. @default false */
  omitText?: boolean;
  /**
   * Many documents are coming: the index is built when the stream has ended, not while it runs.
   *
   * @default false
   */
  bulk?: boolean;
  /**
   * How texts become terms in a collection that the ingest makes. Where the collection has another analysis, the ingest ends
   * with `ANALYSIS_MISMATCH`.
   *
   * @default that of the collection; of a new one the language of each document
   */
  analysis?: TextAnalysis;
  /** Called once for each operation, in the order of the outcomes. What it throws ends the ingest. */
  onOutcome?: (outcome: IngestOutcome) => void;
  /**
   * Called when everything up to a sequence is durable: what a program keeps in order to resume later, by leaving out
   * all operations up to there. What it throws ends the ingest. The freshness token says how far the collection had come.
   */
  onWatermark?: (sequence: number, freshnessToken: string) => void;
  /**
   * Identity of the collection that earlier progress belongs to; see {@link IngestSummary.identity}. If the collection is
   * another one now, the ingest ends with `COLLECTION_REPLACED` before anything is written.
   *
   * @default none
   */
  expectedIdentity?: string;
  /**
   * Freshness token of the last watermark that earlier progress rests on; see {@link onWatermark}. If an older copy of
   * the data was put back since, the ingest ends with `COLLECTION_REPLACED` too.
   *
   * @default none
   */
  expectedFreshness?: string;
  /** Called when a stream is open, with the identity of its collection. What it throws ends the ingest. */
  onReady?: (ready: { identity: string }) => void;
  /** Called when the connection broke, before the wait and the next attempt. */
  onReconnect?: (error: ScalingnoteError, waitMs: number) => void;
  /** W3C trace context that the ingest belongs to. @default what is active in OpenTelemetry, if that is in use */
  traceparent?: string;
  /** What the ingest carries besides; see `CallBounds`. */
  metadata?: CallMetadata;
  /** Aborts the ingest. Acknowledged documents stay. */
  signal?: AbortSignal;
  /** How many operations may wait for a watermark; they are kept for sending again. @default 1024 */
  window?: number;
  /** How long to retry without progress, in milliseconds. @default 300000 */
  patienceMs?: number;
}

/** What an ingest did. */
export interface IngestSummary {
  sent: number;
  indexed: number;
  unchanged: number;
  deleted: number;
  rejected: number;
  /** Everything up to here is durable. */
  watermark: number;
  /** Identity of the collection that everything went to; empty where no stream was opened. */
  identity: string;
  /** Of the last watermark: a search that takes it sees everything up to there. Empty before the first one. */
  freshnessToken: string;
}

/** Several of the server's batches, so that the server never waits for the client. */
const DEFAULT_WINDOW = 1024;
/** Bytes that may wait for a watermark: documents differ in size by a factor of a million. */
const WINDOW_BYTES = 32 * 1024 * 1024;

const KINDS: Readonly<Record<OutcomeKind__Output, IngestOutcome['kind']>> = {
  OUTCOME_KIND_UNSPECIFIED: 'rejected',
  OUTCOME_KIND_INDEXED: 'indexed',
  OUTCOME_KIND_UNCHANGED: 'unchanged',
  OUTCOME_KIND_DELETED: 'deleted',
  OUTCOME_KIND_REJECTED: 'rejected',
};

type Call = ClientDuplexStream<IngestRequest, IngestResponse__Output>;

/**
 * Sends operations until the source is exhausted and everything is durable, over as many connections as it takes.
 * Every operation is reported once. The source is not asked for more while the server is busy. All connections write to
 * the collection of the first one: where it is replaced meanwhile, what was acknowledged is gone with it, and the ingest
 * ends with `COLLECTION_REPLACED`.
 *
 * @param connect - opens a stream
 * @param options - `openMs`: how long a server may take to say that a stream is open; then another attempt is made
 * @throws {ScalingnoteError} what ended the stream for good; acknowledged documents stay
 */
export async function runIngest(
  connect: () => Call | Promise<Call>,
  operations: Iterable<IngestOperation> | AsyncIterable<IngestOperation>,
  options: IngestOptions & Pick<PatienceOptions, 'beginMs'> & { openMs?: number },
): Promise<IngestSummary> {
  const { signal } = options;
  const ingest = new Ingest(operations, options);
  const patience = new Patience(options);
  let watermark = 0;
  try {
    for (;;) {
      signal?.throwIfAborted();
      const error = await ingest.overOneConnection(connect);
      if (error === undefined) return ingest.summary;
      if (ingest.hasBegun) patience.begun();
      if (ingest.summary.watermark > watermark) {
        watermark = ingest.summary.watermark;
        patience.progress();
      } else if (ingest.wasIdle) {
        patience.idle();
      }
      const isIdle = error instanceof ScalingnoteError && error.reason === 'STREAM_IDLE' && ingest.wasIdle;
      if (isIdle) await ingest.untilNeeded(signal);
      await patience.next(error);
    }
  } finally {
    ingest.release();
  }
}

interface Pending extends WireOperation {
  id: string;
  /** Whether its outcome was reported: if it is sent again, the second outcome is ignored. */
  reported: boolean;
}

/** The state of one connection. */
interface Connection {
  call: Call;
  ready: boolean;
  /** Operations to send again on this connection. */
  resend: Iterator<Pending>;
  /** How it ended: with an error, or with `undefined` if the server ended it. */
  end?: { error: unknown };
}

/** An ingest over all its connections: what was sent, what is not durable yet, what was reported. */
class Ingest {
  readonly summary: IngestSummary = {
    sent: 0,
    indexed: 0,
    unchanged: 0,
    deleted: 0,
    rejected: 0,
    watermark: 0,
    identity: '',
    freshnessToken: '',
  };
  /** Where the operations go. */
  readonly #target: IngestBegin;
  /** Whether a server ever took the stream. */
  hasBegun = false;
  /** Whether the last connection was open and only waited for the source. */
  wasIdle = false;
  readonly #options: IngestOptions & { openMs?: number };
  readonly #source: Source<IngestOperation>;
  /** Sent and above the watermark, by sequence, in order. */
  readonly #pending = new Map<number, Pending>();
  #pendingBytes = 0;
  #sequence = 0;
  /** Names the run to the service, which then ends an older connection that it still holds open. */
  readonly #runId = randomUUID();
  #attempt = 0;
  /** Wakes the loop that feeds the connection. */
  #wake = (): void => {};

  constructor(
    source: Iterable<IngestOperation> | AsyncIterable<IngestOperation>,
    options: IngestOptions & { openMs?: number },
  ) {
    const { collection, tenant, omitText, bulk, analysis } = options;
    this.#target = toWire(
      'scalingnote.v1.IngestBegin',
      { collection, tenant, omitText, bulk, analysis },
      { required: ['collection'] },
    );
    this.#options = options;
    this.summary.identity = options.expectedIdentity ?? '';
    this.#source = new Source(source, () => this.#wake());
  }

  /** Ends the iteration of the source. */
  release(): void {
    this.#source.release();
  }

  /** Waits until the source has something to send: before, a connection would only take a place from others. */
  async untilNeeded(signal: AbortSignal | undefined): Promise<void> {
    const wake = (): void => this.#wake();
    signal?.addEventListener('abort', wake, { once: true });
    try {
      for (;;) {
        const changed = new Promise<void>((resolve) => (this.#wake = resolve));
        signal?.throwIfAborted();
        if (this.#source.isReady()) return;
        await changed;
      }
    } finally {
      signal?.removeEventListener('abort', wake);
    }
  }

  /**
   * Works over one connection; resolves with what ended it, or with nothing when all is done.
   *
   * @throws what the source or a callback threw: no other connection would help
   */
  async overOneConnection(connect: () => Call | Promise<Call>): Promise<unknown> {
    const call = await connect();
    const connection: Connection = { call, ready: false, resend: [...this.#pending.values()].values() };
    const cancel = (): void => call.cancel();
    const thrown = new Promise<never>((_, reject) => {
      call.on('data', (response: IngestResponse__Output) => {
        try {
          this.#receive(connection, response);
        } catch (error) {
          reject(error);
        }
        this.#wake();
      });
    });
    const end = (error: unknown): void => {
      connection.end ??= { error };
      this.#wake();
    };
    call.on('error', (error: Error) => end(toScalingnoteError(error)));
    call.on('end', () => end(undefined));
    call.on('drain', () => this.#wake());
    this.#options.signal?.addEventListener('abort', cancel, { once: true });
    const { openMs = MAX_TIMER_MS } = this.#options;
    const opening = setTimeout(() => {
      if (!connection.ready) end(tookNoStream(call.getPeer(), openMs));
    }, openMs);
    try {
      await Promise.race([this.#feed(connection), thrown]);
      this.wasIdle = connection.ready && this.#pending.size === 0;
      return this.#verdict(connection);
    } finally {
      clearTimeout(opening);
      this.#options.signal?.removeEventListener('abort', cancel);
      call.cancel();
    }
  }

  /** Writes whatever may be written, until the connection has ended. */
  async #feed(connection: Connection): Promise<void> {
    const { call } = connection;
    const expectedIdentity = this.summary.identity;
    const expectedFreshnessToken = this.summary.freshnessToken || (this.#options.expectedFreshness ?? '');
    const run = { runId: this.#runId, attempt: ++this.#attempt };
    call.write({ begin: { ...this.#target, expectedIdentity, expectedFreshnessToken, ...run } });
    let ended = false;
    while (connection.end === undefined) {
      const changed = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      const blocked = !connection.ready || call.writableNeedDrain || ended;
      const message = blocked ? undefined : this.#next(connection);
      if (message === 'exhausted') {
        call.end();
        ended = true;
      } else if (message !== undefined) {
        call.write(message);
      } else {
        await changed;
      }
    }
  }

  /** The next message; `undefined` if there is none yet. */
  #next(connection: Connection): IngestRequest | 'exhausted' | undefined {
    const again = connection.resend.next();
    if (again.done !== true) return again.value.message;
    for (;;) {
      if (this.#pending.size >= (this.#options.window ?? DEFAULT_WINDOW)) return undefined;
      if (this.#pendingBytes >= WINDOW_BYTES) return undefined;
      const taken = this.#source.take();
      if (taken === undefined) return undefined;
      if (taken.done === true) return 'exhausted';
      const message = this.#accept(taken.value);
      if (message !== undefined) return message;
    }
  }

  /** Accepts an operation; `undefined` if it cannot be sent and was rejected here. */
  #accept(operation: IngestOperation): IngestRequest | undefined {
    const sequence = sequenceOf(operation) ?? this.#sequence + 1;
    if (!Number.isSafeInteger(sequence) || sequence <= this.#sequence) {
      throw invalidArgument(
        'sequence',
        `sequence is ${describe(sequence)}, but must be a whole number above ${this.#sequence}`,
      );
    }
    this.#sequence = sequence;
    this.summary.sent++;
    const id = idOf(operation);
    try {
      const wire = toWireOperation(sequence, operation);
      this.#pending.set(sequence, { ...wire, id, reported: false });
      this.#pendingBytes += wire.bytes;
      return wire.message;
    } catch (error) {
      if (!(error instanceof ScalingnoteError)) throw error;
      this.#report({ sequence, id, kind: 'rejected', passages: 0, encodedPassages: 0, error });
      return undefined;
    }
  }

  #receive(connection: Connection, { ready, outcome, watermark }: IngestResponse__Output): void {
    if (ready) {
      connection.ready = true;
      this.hasBegun = true;
      this.summary.identity = ready.collection?.identity ?? '';
      this.#options.onReady?.({ identity: this.summary.identity });
    } else if (outcome) this.#outcome(outcome);
    else if (watermark) this.#watermark(Number(watermark.sequence), watermark.freshnessToken);
  }

  #outcome(outcome: IngestOutcome__Output): void {
    const sequence = Number(outcome.sequence);
    const pending = this.#pending.get(sequence);
    if (pending === undefined || pending.reported) return;
    pending.reported = true;
    this.#report({
      sequence,
      // As the caller wrote it: the server leaves out an id that it refuses.
      id: pending.id,
      kind: KINDS[outcome.kind],
      passages: outcome.passages,
      encodedPassages: outcome.encodedPassages,
      ...(outcome.error ? { error: new ScalingnoteError(unpackStatus(outcome.error)) } : {}),
    });
  }

  #report(outcome: IngestOutcome): void {
    this.summary[outcome.kind]++;
    this.#options.onOutcome?.(outcome);
  }

  #watermark(watermark: number, freshnessToken = this.summary.freshnessToken): void {
    this.summary.freshnessToken = freshnessToken;
    for (const [sequence, { bytes }] of this.#pending) {
      if (sequence > watermark) break;
      this.#pending.delete(sequence);
      this.#pendingBytes -= bytes;
    }
    if (watermark <= this.summary.watermark) return;
    this.summary.watermark = watermark;
    this.#options.onWatermark?.(watermark, freshnessToken);
  }

  #verdict({ end }: Connection): unknown {
    if (end?.error !== undefined) return end.error;
    if (this.#pending.size > 0 || !this.#source.exhausted) {
      const message = 'the server ended the stream before everything was durable';
      return new ScalingnoteError({ code: Code.UNAVAILABLE, message, reason: '' });
    }
    // This covers operations that were rejected here, after the last one that was sent.
    this.#watermark(this.#sequence);
    return undefined;
  }
}
