import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { constants, type Http2ServerRequest } from 'node:http2';
import type { Socket } from 'node:net';
import { Metadata, status } from '@grpc/grpc-js';
import type { Logger } from 'pino';
import { cancelled, invalidArgument, overloaded, reportError, ServiceError, toGrpcError } from '../errors.ts';
import type { Peer } from './calls.ts';
import type { GrpcError } from './wire-error.ts';

/**
 * Most bytes of bodies that are under way at a time, over all connections, where there is memory for it: one of the largest that
 * any service takes. See `admission/budgets.ts`.
 */
export const MAX_BODY_BYTES_IN_ALL = 64 * 1024 * 1024;
/** How long the rest of a request is read, and thrown away, after its answer. */
const LINGER_MS = 1_000;
/** What a caller is told to wait that comes while there are more. */
const BUSY_DELAY_MS = 1_000;

/** An error of HTTP, which has a status of its own. */
export class HttpError extends ServiceError {
  readonly http: number;
  constructor(http: number, code: status, message: string) {
    super(code, 'HTTP_REQUEST_INVALID', message);
    this.http = http;
  }
}

/** The error of a request that speaks no protocol of its address: it is told so in plain text. */
export class UnspokenError extends HttpError {
  constructor(message: string, http = 415, code = status.INVALID_ARGUMENT) {
    super(http, code, message);
  }
}

/** The bytes that have come of bodies which are not whole yet. */
export class HeldBytes {
  readonly #max: number;
  #now = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** @throws {ServiceError} `OVERLOADED` where these are too many beside the others */
  take(bytes: number): void {
    if (this.#now + bytes > this.#max) {
      throw overloaded('too many bytes of other requests are under way; send this one later', BUSY_DELAY_MS);
    }
    this.#now += bytes;
  }

  give(bytes: number): void {
    this.#now -= bytes;
  }
}

/** Time for the body of a request to come. */
export const BODY_TIMEOUT_MS = 30_000;

/** What all calls and exchanges of a port have in common. */
export interface ExchangeLimits {
  /** Largest body or message, in bytes, as it was sent and as it is after inflation. */
  readonly maxReceiveBytes: number;
  /** Time for a whole body to come. */
  readonly bodyTimeoutMs: number;
  readonly held: HeldBytes;
  /** Aborted when the service begins to drain. */
  readonly draining: AbortSignal;
  readonly log: Logger;
  /** Errors of the port itself go without details; see `ServerOptions`. */
  readonly bareErrors: boolean;
}

/** A request that is no gRPC, over HTTP/1.1 or HTTP/2, and the answer to it. */
export class Exchange implements Peer {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly headers: IncomingHttpHeaders;
  readonly limits: ExchangeLimits;
  /** The address without the part after `?`. */
  readonly path: string;
  /** That part, where there is one. */
  readonly query: string | undefined;
  /** See `Ticket`. */
  arrived: number | undefined;
  visitor: object | undefined;

  constructor(request: IncomingMessage, response: ServerResponse, limits: ExchangeLimits) {
    this.request = request;
    this.response = response;
    this.headers = request.headers;
    this.limits = limits;
    const { url = '' } = request;
    const mark = url.indexOf('?');
    this.path = mark === -1 ? url : url.slice(0, mark);
    this.query = mark === -1 ? undefined : url.slice(mark + 1);
    if (limits.draining.aborted && request.httpVersionMajor === 1) response.setHeader('connection', 'close');
    if (request.httpVersionMajor === 1) response.once('finish', () => this.#dropRest());
    else {
      const { stream } = request as unknown as Http2ServerRequest;
      // The end of the answer is on its way one turn after this; a reset before it would take its place.
      stream.once('wantTrailers', () => setImmediate(() => this.#dropRest()));
    }
  }

  /**
   * What of the request has not come when the answer has gone is not waited for. HTTP/2 ends the stream; HTTP/1.1 reads
   * on for a moment, because a caller that still sends would lose the answer with the connection.
   */
  #dropRest(): void {
    const { request } = this;
    if (request.httpVersionMajor === 2) {
      const { stream } = request as unknown as Http2ServerRequest;
      if (stream.state.remoteClose === 0) stream.close(constants.NGHTTP2_NO_ERROR);
      return;
    }
    if (request.complete) return;
    const { socket } = request;
    const timer = setTimeout(() => socket.destroy(), LINGER_MS);
    request.once('end', () => clearTimeout(timer)).once('close', () => clearTimeout(timer));
    request.resume();
  }

  /** A header that is given once. */
  header(name: string): string | undefined {
    const value = this.headers[name];
    return typeof value === 'string' ? value : undefined;
  }

  /** The bytes of the body as they come. Ends early where the caller goes away. */
  chunks(): AsyncIterable<Buffer> {
    return this.request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>;
  }

  /**
   * The whole body.
   *
   * @throws {ServiceError} where it is too large, alone or beside the others, or comes too slowly
   */
  async body(): Promise<Buffer> {
    const { maxReceiveBytes, bodyTimeoutMs, held } = this.limits;
    const { request } = this;
    const chunks: Buffer[] = [];
    let taken = 0;
    let timer: NodeJS.Timeout | undefined;
    try {
      if (Number(request.headers['content-length'] ?? 0) > maxReceiveBytes) throw tooLarge(maxReceiveBytes);
      await new Promise<void>((resolve, reject) => {
        timer = setTimeout(() => reject(tooSlow(bodyTimeoutMs)), bodyTimeoutMs);
        request.on('data', (chunk: Buffer) => {
          try {
            if (taken + chunk.length > maxReceiveBytes) throw tooLarge(maxReceiveBytes);
            held.take(chunk.length);
            taken += chunk.length;
            chunks.push(chunk);
          } catch (error) {
            reject(error);
          }
        });
        request.once('end', resolve);
        const gone = (): void => reject(new HttpError(400, status.CANCELLED, 'the body ends early'));
        request.once('error', gone).once('close', gone);
      });
    } finally {
      clearTimeout(timer);
      request.removeAllListeners('data').removeAllListeners('close');
      held.give(taken);
    }
    return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
  }

  /** Whether the answer has ended, or nobody is there for it any more. */
  get isGone(): boolean {
    const { request, response } = this;
    if (request.httpVersionMajor === 1) return response.closed || request.socket.destroyed;
    return (request as unknown as Http2ServerRequest).stream.closed;
  }

  /** At once, where {@link isGone} is so already: what happens while a call waits to be let in is told to nobody later. */
  onGone(listener: () => void): void {
    if (this.isGone) {
      listener();
      return;
    }
    const { request, response } = this;
    if (request.httpVersionMajor !== 1) {
      response.once('close', listener);
      return;
    }
    const tell = (): void => {
      response.off('close', tell);
      forget();
      listener();
    };
    // Node never closes an answer that waits behind another one when their connection ends.
    const forget = onConnectionEnd(request.socket, tell);
    response.once('close', tell);
  }

  failure(error: unknown): GrpcError {
    return failureOf(isGone(error) ? cancelled() : error, this.limits, this.path);
  }

  /** Answers, where nobody has. */
  send(http: number, headers: Readonly<Record<string, string | string[]>>, body: string | Uint8Array): void {
    const { response } = this;
    if (response.headersSent || response.destroyed) return;
    response.writeHead(http, {
      ...headers,
      'content-length': Buffer.byteLength(body),
      'x-content-type-options': 'nosniff',
    });
    if (this.request.method === 'HEAD') response.end();
    else response.end(body);
  }
}

/** Who is told of the end of a connection of HTTP/1.1. */
const told = new WeakMap<Socket, Set<() => void>>();

/** @returns what makes the listener be told no more */
function onConnectionEnd(socket: Socket, listener: () => void): () => void {
  let all = told.get(socket);
  if (!all) {
    const listeners = (all = new Set());
    told.set(socket, listeners);
    socket.once('close', () => {
      for (const each of listeners) each();
    });
  }
  const listeners = all;
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

/** Whether it is the error of a request whose caller went away while it was read, which is no fault of ours. */
function isGone(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ERR_STREAM_PREMATURE_CLOSE' || code === 'ECONNRESET';
}

/** An error that now leaves the port, as gRPC has it. */
export function failureOf(
  error: unknown,
  { log, bareErrors }: Pick<ExchangeLimits, 'log' | 'bareErrors'>,
  path: string,
): GrpcError {
  const known = toGrpcError(reportError(error, log, { path: path.slice(0, 256) }));
  if (bareErrors) known.metadata = new Metadata();
  return known;
}

/** The text that bytes are. @throws {ServiceError} where they are not UTF-8 */
export function utf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw invalidArgument('body', 'holds bytes that are not UTF-8; send it as UTF-8');
  }
}

/** The error of a body or a message that is larger than the limit. */
export function tooLarge(max: number): HttpError {
  return new HttpError(
    413,
    status.RESOURCE_EXHAUSTED,
    `the body is larger than ${max} bytes; send less at a time`,
  );
}

function tooSlow(ms: number): HttpError {
  return new HttpError(
    408,
    status.DEADLINE_EXCEEDED,
    `the body did not come within ${ms / 1000} s; send it faster, or less at a time`,
  );
}
