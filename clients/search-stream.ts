import type { ClientDuplexStream } from '@grpc/grpc-js';
import { status as Code } from '@grpc/grpc-js';
import type { SearchStreamRequest } from '../proto/generated/scalingnote/v1/SearchStreamRequest.ts';
import type { SearchStreamResponse__Output } from '../proto/generated/scalingnote/v1/SearchStreamResponse.ts';
import { unpackStatus } from '../proto/status.ts';
import type { SearchResult } from './answers.ts';
import type { CallOptions } from './call.ts';
import { ScalingnoteError, toScalingnoteError } from './errors.ts';
import { fromSearchResponse } from './from-wire.ts';
import { Retries } from './retries.ts';
import { type SearchRequest, toWireSearch } from './search-request.ts';
import type { Server, Servers } from './servers.ts';
import { checkOptions } from './strict/options.ts';
import { QUERY_BOUNDS } from './strict/tables.ts';

type Call = ClientDuplexStream<SearchStreamRequest, SearchStreamResponse__Output>;

/** Bounds of one query of a stream. */
export interface QueryBounds {
  /** Gives the query up. */
  signal?: AbortSignal;
  /** How long the query may take, reconnections included, in milliseconds. @default the client's */
  timeoutMs?: number;
  /** W3C trace context of this query, for a stream outlives a trace. */
  traceparent?: string;
}

/** A query that is not answered yet. */
interface Waiting {
  message: Pick<SearchStreamRequest, 'search' | 'traceparent'>;
  deadline: number;
  retries: Retries;
  /** What it was sent over, and under which number. */
  sent: { line: Line; sequence: number } | undefined;
  resolve(result: SearchResult | undefined): void;
  reject(error: unknown): void;
}

/** A stream to a server. */
interface Line {
  server: Server;
  call: Call;
  isOver: boolean;
  /** The last query that it answered anything to. */
  heard: number;
}

/**
 * Search as you type: a newer query supersedes the older one. A stream that breaks is opened again, on another server
 * where there is one, and the newest query is asked again, as long as its deadline allows; the older ones count as
 * superseded.
 */
export class SearchStream {
  readonly #servers: Servers;
  readonly #open: (server: Server) => Call;
  readonly #options: Pick<CallOptions, 'timeoutMs' | 'attempts' | 'waitForReady'>;
  readonly #refusal: unknown;
  /** In the order in which they were asked. */
  readonly #waiting = new Set<Waiting>();
  #line: Line | undefined;
  #isOpening = false;
  #sequence = 0;
  #closed = false;
  #whenAnswered: (() => void)[] = [];

  /**
   * @param open - opens a stream to a server
   * @param refusal - what every query fails with, because the stream can't be opened as it was asked for
   */
  constructor(
    servers: Servers,
    open: (server: Server) => Call,
    options: Pick<CallOptions, 'timeoutMs' | 'attempts' | 'waitForReady'>,
    refusal?: unknown,
  ) {
    this.#refusal = refusal;
    this.#servers = servers;
    this.#open = open;
    this.#options = options;
  }

  /**
   * Searches; `undefined` where a newer query came first.
   *
   * @throws {ScalingnoteError} why this query failed; later ones may go through
   */
  async search(request: SearchRequest, bounds?: QueryBounds): Promise<SearchResult | undefined> {
    if (this.#closed) {
      const message = 'the search stream is closed; open another with searchStream()';
      throw new ScalingnoteError({ code: Code.FAILED_PRECONDITION, message, reason: 'STREAM_CLOSED' });
    }
    if (this.#refusal !== undefined) throw this.#refusal;
    const checked = checkOptions(bounds, QUERY_BOUNDS);
    const { traceparent = '', timeoutMs = this.#options.timeoutMs, signal } = checked;
    signal?.throwIfAborted();
    const message = { search: toWireSearch(request), traceparent };
    const deadline = Date.now() + timeoutMs;
    const { attempts, waitForReady } = this.#options;
    const over = new AbortController();
    this.#servers.budget.deposit();
    try {
      return await new Promise((resolve, reject) => {
        const retries = new Retries(this.#servers, { attempts, waitForReady, deadline, signal: over.signal });
        const waiting: Waiting = { message, deadline, retries, sent: undefined, resolve, reject };
        const timer = setTimeout(() => this.#tooLate(waiting, timeoutMs), timeoutMs);
        const abort = (): void => reject(signal!.reason as Error);
        signal?.addEventListener('abort', abort, { once: true });
        over.signal.addEventListener('abort', () => {
          clearTimeout(timer);
          signal?.removeEventListener('abort', abort);
          this.#waiting.delete(waiting);
          if (this.#waiting.size === 0) for (const done of this.#whenAnswered.splice(0)) done();
        });
        this.#waiting.add(waiting);
        if (this.#line) this.#send(this.#line, waiting);
        else void this.#connect();
      });
    } finally {
      over.abort();
    }
  }

  /** Ends the stream; what is waiting is still answered. */
  close(): void {
    this.#closed = true;
    this.#line?.call.end();
  }

  /** For `using stream = ...`: closes the stream when the block ends. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** For `await using stream = ...`: closes the stream, and waits for the answers that are under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    if (this.#waiting.size > 0) await new Promise<void>((resolve) => this.#whenAnswered.push(resolve));
  }

  /** Opens a stream for the newest query. */
  async #connect(): Promise<void> {
    if (this.#isOpening) return;
    this.#isOpening = true;
    const asked = this.#newest();
    try {
      const server = await this.#servers.pick(asked?.deadline ?? 0, undefined, asked?.sent?.line.server);
      const newest = this.#newest();
      if (newest === undefined) return;
      const line: Line = { server, call: this.#open(server), isOver: false, heard: 0 };
      const { call } = line;
      call.on('data', (response: SearchStreamResponse__Output) => this.#answer(line, response));
      call.on('error', (error: Error) => this.#ended(line, toScalingnoteError(error)));
      call.on('end', () => {
        const message = 'the server ended the search stream; search again';
        this.#ended(line, new ScalingnoteError({ code: Code.UNAVAILABLE, message, reason: '' }));
      });
      this.#line = line;
      this.#send(line, newest);
      if (this.#closed) call.end();
    } catch (error) {
      for (const waiting of this.#waiting) waiting.reject(error);
    } finally {
      this.#isOpening = false;
    }
  }

  #newest(): Waiting | undefined {
    return [...this.#waiting].at(-1);
  }

  /** Asks a query; those before it that no server knows of are superseded by it. */
  #send(line: Line, waiting: Waiting): void {
    for (const older of this.#waiting) {
      if (older === waiting) break;
      if (older.sent?.line !== line) this.#supersede(older);
    }
    const sequence = ++this.#sequence;
    waiting.sent = { line, sequence };
    line.call.write({ sequence, ...waiting.message });
  }

  #supersede(waiting: Waiting): void {
    this.#waiting.delete(waiting);
    waiting.resolve(undefined);
  }

  #answer(line: Line, response: SearchStreamResponse__Output): void {
    const sequence = Number(response.sequence);
    line.heard = Math.max(line.heard, sequence);
    const waiting = [...this.#waiting].find(({ sent }) => sent?.line === line && sent.sequence === sequence);
    if (waiting === undefined) return;
    if (response.result) waiting.resolve(fromSearchResponse(response.result));
    else if (response.error) void this.#again(waiting, new ScalingnoteError(unpackStatus(response.error)));
    else waiting.resolve(undefined);
  }

  #ended(line: Line, failure: unknown): void {
    if (line.isOver) return;
    line.isOver = true;
    if (this.#line === line) this.#line = undefined;
    const lost = [...this.#waiting].filter(({ sent }) => sent?.line === line);
    const newest = this.#newest();
    const mayRetry = failure instanceof ScalingnoteError && failure.retryable;
    for (const waiting of lost) {
      if (waiting === newest || !mayRetry) void this.#again(waiting, failure);
      else this.#supersede(waiting);
    }
  }

  /** Asks a query again that failed, if that is worth while. */
  async #again(waiting: Waiting, failure: unknown): Promise<void> {
    const server = waiting.sent?.line.server;
    try {
      await waiting.retries.next(failure, server);
    } catch (error) {
      waiting.reject(error);
      return;
    }
    if (!this.#waiting.has(waiting)) return;
    if (waiting !== this.#newest()) this.#supersede(waiting);
    else if (this.#line === undefined) await this.#connect();
    // A stream that was closed meanwhile takes no more queries.
    else if (this.#closed) waiting.reject(failure);
    else this.#send(this.#line, waiting);
  }

  #tooLate(waiting: Waiting, timeoutMs: number): void {
    const { sent } = waiting;
    const what = sent ? `${sent.line.server.address} did not answer` : 'no server was reached';
    const message = `${what} within ${timeoutMs} ms`;
    waiting.reject(
      new ScalingnoteError({ code: Code.DEADLINE_EXCEEDED, message, reason: 'DEADLINE_EXCEEDED' }),
    );
    // A server that answers nothing at all is not asked again over this stream.
    if (sent && sent.line.heard < sent.sequence && sent.line === this.#line) {
      this.#line = undefined;
      sent.line.call.cancel();
    }
  }
}
