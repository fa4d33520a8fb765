import { type TransformStreamDefaultController, TransformStream } from 'node:stream/web';
import {
  type DocumentClient,
  type IngestOperation,
  type IngestOutcome,
  readJsonLines,
} from '../../../clients/index.ts';
import { newTraceContext } from '../../runtime/telemetry/trace-context.ts';
import { callProblem, HttpError } from '../http/errors.ts';
import type { IngestBody, IngestState, Rejection } from '../shared/wire.ts';
import { Rate } from './rate.ts';

/** The page lists this many rejected documents; the others are only counted. */
const MAX_REJECTIONS = 200;

/** A page that was closed in the middle of a file stops sending without a word. */
const IDLE_MS = 60_000;

/** The ingest fails if the document service is away for longer. */
const PATIENCE_MS = 60_000;

/** A file on its way from a page into a collection. */
export class IngestRun {
  readonly id: string;
  /** Resolves when it has ended, in whatever way. */
  readonly ended: Promise<void>;
  readonly #request: IngestBody;
  #control!: TransformStreamDefaultController<Buffer>;
  /** A chunk is written once somebody has read it, so that at most one waits here. */
  readonly #chunks = new TransformStream<Buffer, Buffer>({
    start: (control) => void (this.#control = control),
  });
  readonly #writer = this.#chunks.writable.getWriter();
  readonly #stop = new AbortController();
  readonly #startedAt = new Date();
  readonly #trace = newTraceContext();
  readonly #rate = new Rate();
  readonly #rejections: Rejection[] = [];
  /** Documents that were sent and are above the watermark, oldest first. */
  readonly #waiting: { line: number; since: number }[] = [];
  readonly #counts = { sent: 0, indexed: 0, unchanged: 0, rejected: 0, passages: 0, reconnects: 0 };
  #state: IngestState['state'] = 'running';
  #problem: string | undefined;
  /** Milliseconds since the epoch. */
  #endedAt: number | undefined;
  #receivedBytes = 0;
  #receiving = false;
  #watermark = 0;
  #idle: NodeJS.Timeout | undefined;

  /** Begins at once. */
  constructor(id: string, request: IngestBody, documents: { address: string; client: DocumentClient }) {
    this.id = id;
    this.#request = request;
    this.#expectMore();
    this.ended = this.#run(documents);
  }

  /**
   * Takes the file's next bytes; resolves when they have been read, which is when the document service has room. It
   * skips bytes that it has already, so that a page that got no answer may send them again.
   *
   * @throws {HttpError} where these are not the next bytes, or the ingest has ended
   */
  async receive(offset: number, chunk: Buffer): Promise<void> {
    if (offset + chunk.length <= this.#receivedBytes && chunk.length > 0) return;
    this.#requireRunning();
    if (this.#receiving || offset !== this.#receivedBytes) {
      throw new HttpError(
        409,
        'CHUNK_OUT_OF_ORDER',
        `the next chunk begins at byte ${this.#receivedBytes}; send one at a time`,
      );
    }
    this.#receiving = true;
    clearTimeout(this.#idle);
    try {
      await this.#writer.write(chunk).catch(() => {
        throw this.#gone();
      });
      this.#receivedBytes += chunk.length;
    } finally {
      this.#receiving = false;
      this.#expectMore();
    }
  }

  /** The file has been sent to its end. */
  finish(): void {
    this.#requireRunning();
    clearTimeout(this.#idle);
    // A cancel meanwhile ends the stream with an error, which the reader reports.
    this.#writer.close().catch(() => {});
  }

  /** Cancels; documents that the service acknowledged stay. */
  cancel(problem?: string): void {
    if (this.#state !== 'running') return;
    this.#settle(problem === undefined ? 'cancelled' : 'failed', problem);
    this.#stop.abort();
    this.#control.error(this.#gone());
  }

  get state(): IngestState {
    const now = this.#endedAt ?? Date.now();
    const { name, collection, bytes } = this.#request;
    return {
      ingestId: this.id,
      traceId: this.#trace.traceId,
      name,
      collection,
      bytes,
      state: this.#state,
      ...(this.#problem === undefined ? {} : { problem: this.#problem }),
      startedAt: this.#startedAt.toISOString(),
      elapsedMs: now - this.#startedAt.getTime(),
      receivedBytes: this.#receivedBytes,
      ...this.#counts,
      watermark: this.#watermark,
      waiting: this.#waiting.length,
      oldestMs: this.#waiting.length === 0 ? 0 : now - this.#waiting[0]!.since,
      rate: this.#rate.seconds(now),
      rejections: this.#rejections,
    };
  }

  async #run({ address, client }: { address: string; client: DocumentClient }): Promise<void> {
    const { collection, tenant, omitText } = this.#request;
    try {
      await client.ingest(this.#operations(), {
        collection,
        tenant,
        omitText,
        signal: this.#stop.signal,
        traceparent: this.#trace.traceparent,
        patienceMs: PATIENCE_MS,
        onOutcome: (outcome) => this.#count(outcome),
        onWatermark: (line) => this.#durable(line),
        onReconnect: () => this.#counts.reconnects++,
      });
      this.#settle('done');
    } catch (error) {
      this.#settle('failed', callProblem(error, address));
    } finally {
      this.#control.error(this.#gone());
    }
  }

  async *#operations(): AsyncGenerator<IngestOperation> {
    for await (const record of readJsonLines(this.#chunks.readable)) {
      this.#counts.sent++;
      if ('problem' in record) {
        this.#reject({ line: record.line, reason: 'NOT_A_DOCUMENT', message: record.problem });
      } else {
        this.#waiting.push({ line: record.line, since: Date.now() });
        yield { ...record.document, sequence: record.line };
      }
    }
  }

  #count({ kind, sequence, id, passages, error }: IngestOutcome): void {
    if (kind === 'rejected') {
      this.#reject({
        line: sequence,
        id,
        reason: error?.reason || (error?.code ?? ''),
        message: error?.message ?? '',
      });
      return;
    }
    if (kind !== 'deleted') this.#counts[kind]++;
    this.#counts.passages += passages;
    this.#rate.count(Date.now());
  }

  #reject(rejection: Rejection): void {
    this.#counts.rejected++;
    this.#rate.count(Date.now());
    if (this.#rejections.length < MAX_REJECTIONS) this.#rejections.push(rejection);
  }

  #durable(line: number): void {
    this.#watermark = line;
    const above = this.#waiting.findIndex((each) => each.line > line);
    this.#waiting.splice(0, above === -1 ? this.#waiting.length : above);
  }

  #settle(state: IngestState['state'], problem?: string): void {
    if (this.#state !== 'running') return;
    clearTimeout(this.#idle);
    this.#state = state;
    this.#problem = problem;
    this.#endedAt = Date.now();
  }

  #expectMore(): void {
    clearTimeout(this.#idle);
    if (this.#state !== 'running') return;
    this.#idle = setTimeout(
      () =>
        this.cancel(
          'the page stopped sending; the collection has what was acknowledged: drop the file again',
        ),
      IDLE_MS,
    );
    this.#idle.unref();
  }

  #requireRunning(): void {
    if (this.#state !== 'running') throw this.#gone();
  }

  #gone(): HttpError {
    return new HttpError(409, 'INGEST_ENDED', this.#problem ?? `the ingest is ${this.#state}`);
  }
}
