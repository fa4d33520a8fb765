import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import type { Metadata } from '@grpc/grpc-js';
import { endAnswered, linger } from '../admission/refuse-stream.ts';
import { callStream, type StreamOutput } from './calls.ts';
import { failureOf, type ExchangeLimits } from './exchange.ts';
import { frame } from './frames.ts';
import {
  decoderOf,
  errorFields,
  grpcEncodingOf,
  grpcHeaders,
  grpcTrailers,
  refusalHeaders,
  WITH_TRAILERS,
} from './grpc-fields.ts';
import { messagesOf } from './messages.ts';
import type { Method } from './methods.ts';
import type { Ticket } from './seams.ts';
import type { GrpcError } from './wire-error.ts';

/** Serves a call of gRPC with a stream in one direction or both, on a stream of HTTP/2. */
export function serveGrpcStream(
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  method: Method,
  limits: ExchangeLimits,
  deadline: number,
  ticket: Ticket | undefined,
): void {
  if (ticket?.read) stream.prependListener('data', (chunk: Buffer) => ticket.read!(chunk));
  const failure = (error: unknown): GrpcError => failureOf(error, limits, method.path);
  const onGone = (listener: () => void): void => void stream.once('close', listener);
  const output = new GrpcOutput(stream, method, ticket);
  const inputs = messagesOf(chunksOf(stream, ticket), limits, grpcEncodingOf(headers), decoderOf(method));
  const head = {
    headers,
    arrived: ticket?.arrived,
    visitor: ticket?.visitor,
    get refusal() {
      return ticket?.refusal;
    },
  };
  const options = { head, deadline };
  callStream(method, inputs, options, output, { failure, onGone }).catch((error: unknown) =>
    output.end(failure(error), undefined),
  );
}

/** The bytes of a stream as they come, and may be looked at. Ends early where the caller goes away. */
async function* chunksOf(
  stream: ServerHttp2Stream,
  ticket: Ticket | undefined,
): AsyncGenerator<Buffer, void, undefined> {
  try {
    for await (const chunk of stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      if (ticket?.turn) await ticket.turn;
      // Refused by whoever was told of it.
      if (stream.closed) return;
      yield chunk;
    }
  } catch (error) {
    if (!stream.closed && !stream.destroyed) throw error;
  } finally {
    // What nobody reads keeps a stream from closing, and with it whatever the call holds. While the iterator listened,
    // `linger` could not throw it away.
    stream.resume();
  }
}

/** The answer of such a call. */
class GrpcOutput implements StreamOutput {
  readonly #stream: ServerHttp2Stream;
  readonly #method: Method;
  readonly #ticket: Ticket | undefined;
  #hasBegun = false;
  #hasEnded = false;

  constructor(stream: ServerHttp2Stream, method: Method, ticket: Ticket | undefined) {
    this.#stream = stream;
    this.#method = method;
    this.#ticket = ticket;
  }

  /** Headers without metadata go with the first message, so that an error before it is one block of headers. */
  headers(metadata: Metadata | undefined): void {
    if (metadata) this.#begin(metadata);
  }

  message(value: object): Promise<void> {
    const framed = frame(0, this.#method.encode(value));
    this.#ticket?.answered?.();
    if (!this.#begin(undefined)) return Promise.resolve();
    return new Promise((resolve) => this.#stream.write(framed, () => resolve()));
  }

  end(error: GrpcError | undefined, trailers: Metadata | undefined): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    // An error is an answer as well: the slot is others' from now on, whenever the stream closes.
    this.#ticket?.answered?.();
    const stream = this.#stream;
    if (error && !this.#hasBegun) {
      endAnswered(stream, refusalHeaders(error));
      return;
    }
    if (!this.#begin(undefined)) return;
    const fields: OutgoingHttpHeaders = error ? errorFields(error) : grpcTrailers(trailers);
    stream.on('wantTrailers', () => stream.sendTrailers(fields));
    stream.end(() => linger(stream));
  }

  /** @returns whether anything can be sent; somebody else may have answered: see `Admission` */
  #begin(metadata: Metadata | undefined): boolean {
    const stream = this.#stream;
    if (stream.closed || stream.destroyed) return false;
    if (this.#hasBegun) return true;
    if (stream.headersSent) return false;
    this.#hasBegun = true;
    stream.respond(grpcHeaders(metadata), WITH_TRAILERS);
    return true;
  }
}
