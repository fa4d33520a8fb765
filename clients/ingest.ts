import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ClientDuplexStream, status as Code } from '@grpc/grpc-js';
import type { IngestRequest } from '../proto/generated/scalingnote/v1/IngestRequest.ts';
import type { IngestResponse__Output } from '../proto/generated/scalingnote/v1/IngestResponse.ts';
import type { OutcomeKind__Output } from '../proto/generated/scalingnote/v1/OutcomeKind.ts';
import { unpackStatus } from '../proto/status.ts';
import { toStruct } from '../proto/struct.ts';
import { backoffMs } from './call.ts';
import { ScalingnoteError, toScalingnoteError } from './errors.ts';

/** A document to add or to replace. */
export interface DocumentInput {
  /** 1 to 512 bytes. */
  id: string;
  /** @default '' */
  title?: string;
  /** @default '' */
  text?: string;
  metadata?: Readonly<Record<string, unknown>>;
  /** A lower version than the stored one is rejected. @default 0 */
  version?: number;
  /** W3C trace context of whoever produced the document. */
  traceparent?: string;
}

/** A document to delete. */
export interface DeleteInput {
  delete: string;
  /** @default 0 */
  version?: number;
}

/** One operation of an ingest. `sequence` has to increase; it is counted up where it is not given. */
export type IngestOperation = (DocumentInput | DeleteInput) & { sequence?: number };

/** What became of one operation. */
export interface IngestOutcome {
  sequence: number;
  id: string;
  kind: 'indexed' | 'unchanged' | 'deleted' | 'rejected';
  /** How many passages the document has now; 0 unless it was indexed. */
  passages: number;
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
  /** Called once for each operation, in the order of the outcomes. */
  onOutcome?: (outcome: IngestOutcome) => void;
  /** Called when everything up to a sequence is durable: what a program keeps in order to resume later. */
  onWatermark?: (sequence: number) => void;
  /** Called when the connection broke and is tried again. */
  onReconnect?: (error: unknown, waitMs: number) => void;
  /** Gives the ingest up. What was acknowledged stays. */
  signal?: AbortSignal;
  /** How many operations may wait for a watermark; they are kept for sending again. @default 1024 */
  window?: number;
  /** How long to go on trying while nothing gets through, in milliseconds. @default 300000 */
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
}

const DEFAULT_WINDOW = 1024;
/** Bytes of text that may wait for a watermark: documents differ in size by a factor of a million. */
const WINDOW_BYTES = 32 * 1024 * 1024;
const DEFAULT_PATIENCE_MS = 300_000;
/** The document service takes messages of up to 64 MiB; a larger one would end the stream. */
const MAX_MESSAGE_CHARACTERS = 16 * 1024 * 1024;

const KINDS: Readonly<Record<OutcomeKind__Output, IngestOutcome['kind']>> = {
  OUTCOME_KIND_UNSPECIFIED: 'rejected',
  OUTCOME_KIND_INDEXED: 'indexed',
  OUTCOME_KIND_UNCHANGED: 'unchanged',
  OUTCOME_KIND_DELETED: 'deleted',
  OUTCOME_KIND_REJECTED: 'rejected',
};

type Call = ClientDuplexStream<IngestRequest, IngestResponse__Output>;

interface Pending {
  message: IngestRequest;
  bytes: number;
  /** Its outcome has been reported: if it is sent again, the second outcome is not news. */
  reported: boolean;
}

/**
 * Sends operations until the source is exhausted and everything is durable, over as many connections as it takes.
 * Every operation is reported once. The source is not asked for more while the server is busy.
 *
 * @throws {ScalingnoteError} what ended the stream for good; acknowledged documents stay
 */
export async function runIngest(
  connect: () => Call,
  source: Iterable<IngestOperation> | AsyncIterable<IngestOperation>,
  options: IngestOptions,
): Promise<IngestSummary> {
  const run = new IngestRun(source, options);
  const patience = options.patienceMs ?? DEFAULT_PATIENCE_MS;
  let attempt = 0;
  let lastProgress = Date.now();
  let watermark = 0;
  for (;;) {
    try {
      await run.connection(connect());
      return run.summary;
    } catch (thrown) {
      const error = toScalingnoteError(thrown);
      options.signal?.throwIfAborted();
      if (run.summary.watermark > watermark) {
        watermark = run.summary.watermark;
        lastProgress = Date.now();
        attempt = 0;
      }
      if (!(error instanceof ScalingnoteError) || !error.retryable) throw error;
      const wait = backoffMs(++attempt, error);
      if (Date.now() + wait - lastProgress > patience) throw error;
      options.onReconnect?.(error, wait);
      await sleep(wait, undefined, options.signal ? { signal: options.signal } : {});
    }
  }
}

class IngestRun {
  readonly summary: IngestSummary = {
    sent: 0,
    indexed: 0,
    unchanged: 0,
    deleted: 0,
    rejected: 0,
    watermark: 0,
  };
  readonly #options: IngestOptions;
  readonly #iterator: Iterator<IngestOperation> | AsyncIterator<IngestOperation>;
  /** Sent or to be sent, and not below a watermark yet; by sequence, in order. */
  readonly #pending = new Map<number, Pending>();
  #pendingBytes = 0;
  #sequence = 0;
  #exhausted = false;
  /** A pull that a broken connection left behind: its operation is the next one of the next connection. */
  #pull: Promise<IteratorResult<IngestOperation>> | undefined;
  #room: (() => void) | undefined;

  constructor(source: Iterable<IngestOperation> | AsyncIterable<IngestOperation>, options: IngestOptions) {
    this.#options = options;
    this.#iterator =
      Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
  }

  /** Works over one connection until everything is done, or the connection breaks. */
  async connection(call: Call): Promise<void> {
    const broken = new AbortController();
    const cancel = (): void => call.cancel();
    this.#options.signal?.addEventListener('abort', cancel, { once: true });
    const ended = new Promise<void>((resolve, reject) => {
      call.on('error', reject);
      call.on('end', resolve);
    });
    // Whoever waits for drain, for room or for the source learns of the end here.
    ended.catch(() => {}).finally(() => broken.abort());
    const ready = new Promise<void>((resolve) => {
      call.on('data', (response: IngestResponse__Output) => {
        if (response.ready) resolve();
        else this.#receive(response);
      });
    });
    try {
      if (this.#options.signal?.aborted) cancel();
      call.write({
        begin: {
          collection: this.#options.collection,
          tenant: this.#options.tenant ?? '',
          omitText: this.#options.omitText ?? false,
        },
      });
      await Promise.race([ready, ended]);
      const sending = this.#send(call, broken.signal);
      await Promise.race([sending, ended]);
      await sending;
      await ended;
    } catch (error) {
      call.cancel();
      // The status says more than whoever noticed first.
      await ended;
      throw error;
    } finally {
      this.#options.signal?.removeEventListener('abort', cancel);
    }
    if (this.#pending.size > 0) {
      throw new ScalingnoteError({
        code: Code.UNAVAILABLE,
        message: 'the server ended the stream before everything was durable',
        reason: '',
      });
    }
    this.summary.watermark = Math.max(this.summary.watermark, this.#sequence);
  }

  async #send(call: Call, broken: AbortSignal): Promise<void> {
    // A watermark may come in meanwhile; a Map's iteration copes with what is deleted under it.
    for (const { message } of this.#pending.values()) await write(call, message, broken);
    while (!this.#exhausted && !broken.aborted) {
      await this.#waitForRoom(broken);
      this.#pull ??= Promise.resolve(this.#iterator.next());
      const pulled = await Promise.race([this.#pull, aborted(broken)]);
      if (pulled === undefined) return;
      this.#pull = undefined;
      if (pulled.done === true) {
        this.#exhausted = true;
      } else {
        const message = this.#accept(pulled.value);
        if (message !== undefined) await write(call, message, broken);
      }
    }
    if (!broken.aborted) call.end();
  }

  /** Takes an operation in; `undefined` where it can't be sent and was rejected here. */
  #accept(operation: IngestOperation): IngestRequest | undefined {
    const sequence = operation.sequence ?? this.#sequence + 1;
    if (!Number.isSafeInteger(sequence) || sequence <= this.#sequence) {
      throw new RangeError(`sequence ${sequence} must be a whole number above ${this.#sequence}`);
    }
    this.#sequence = sequence;
    this.summary.sent++;
    const id = 'delete' in operation ? operation.delete : operation.id;
    try {
      const message = toMessage(sequence, operation);
      const bytes = size(operation);
      if (bytes > MAX_MESSAGE_CHARACTERS) {
        throw new RangeError(
          `the document has ${bytes} characters; at most ${MAX_MESSAGE_CHARACTERS} can be sent`,
        );
      }
      this.#pending.set(sequence, { message, bytes, reported: false });
      this.#pendingBytes += bytes;
      return message;
    } catch (error) {
      this.#report({
        sequence,
        id: String(id),
        kind: 'rejected',
        passages: 0,
        error: new ScalingnoteError({
          code: Code.INVALID_ARGUMENT,
          message: (error as Error).message,
          reason: 'INVALID_ARGUMENT',
        }),
      });
      return undefined;
    }
  }

  #receive(response: IngestResponse__Output): void {
    if (response.outcome) {
      const { outcome } = response;
      const sequence = Number(outcome.sequence);
      const pending = this.#pending.get(sequence);
      if (pending === undefined || pending.reported) return;
      pending.reported = true;
      this.#report({
        sequence,
        id: outcome.documentId,
        kind: KINDS[outcome.kind],
        passages: outcome.passages,
        ...(outcome.error ? { error: new ScalingnoteError(unpackStatus(outcome.error)) } : {}),
      });
    } else if (response.watermark) {
      const watermark = Number(response.watermark.sequence);
      for (const [sequence, { bytes }] of this.#pending) {
        if (sequence > watermark) break;
        this.#pending.delete(sequence);
        this.#pendingBytes -= bytes;
      }
      if (watermark > this.summary.watermark) {
        this.summary.watermark = watermark;
        this.#options.onWatermark?.(watermark);
      }
      this.#room?.();
    }
  }

  #report(outcome: IngestOutcome): void {
    this.summary[outcome.kind]++;
    this.#options.onOutcome?.(outcome);
  }

  async #waitForRoom(broken: AbortSignal): Promise<void> {
    const full = (): boolean =>
      this.#pending.size >= (this.#options.window ?? DEFAULT_WINDOW) || this.#pendingBytes >= WINDOW_BYTES;
    while (full() && !broken.aborted) {
      await new Promise<void>((resolve) => {
        this.#room = resolve;
        broken.addEventListener('abort', () => resolve(), { once: true });
      });
    }
  }
}

async function write(call: Call, message: IngestRequest, broken: AbortSignal): Promise<void> {
  if (broken.aborted || call.write(message)) return;
  // The connection's own failure is reported by whoever waits for its end.
  await once(call, 'drain', { signal: broken }).catch(() => {});
}

function aborted(signal: AbortSignal): Promise<undefined> {
  if (signal.aborted) return Promise.resolve(undefined);
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(undefined), { once: true }));
}

function toMessage(sequence: number, operation: IngestOperation): IngestRequest {
  const version = operation.version ?? 0;
  if (!Number.isSafeInteger(version) || version < 0) {
    throw new RangeError(`version ${version} must be a whole number from 0 to 2^53 - 1`);
  }
  if ('delete' in operation) return { sequence, delete: { id: text('delete', operation.delete), version } };
  return {
    sequence,
    document: {
      id: text('id', operation.id),
      title: text('title', operation.title ?? ''),
      text: text('text', operation.text ?? ''),
      version,
      traceparent: operation.traceparent ?? '',
      ...(operation.metadata === undefined ? {} : { metadata: toStruct(operation.metadata, 'metadata') }),
    },
  };
}

/** Half a surrogate pair can't be written as UTF-8: it would arrive as another character. */
function text(field: string, value: unknown): string {
  if (typeof value !== 'string') throw new TypeError(`${field} must be a string`);
  if (!value.isWellFormed()) {
    throw new TypeError(`${field} has half a surrogate pair; repair it with toWellFormed()`);
  }
  return value;
}

function size(operation: IngestOperation): number {
  if ('delete' in operation) return operation.delete.length;
  const metadata = operation.metadata === undefined ? 0 : JSON.stringify(operation.metadata).length;
  return operation.id.length + (operation.title?.length ?? 0) + (operation.text?.length ?? 0) + metadata;
}
