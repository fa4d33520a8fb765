import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import type { Metadata } from '@grpc/grpc-js';
import { endAnswered } from '../admission/refuse-stream.ts';
import { internal, ServiceError } from '../errors.ts';
import { UnaryCall, type UnaryAnswer } from './calls.ts';
import { failureOf, type ExchangeLimits } from './exchange.ts';
import { COMPRESSED, frame, OneMessage } from './frames.ts';
import {
  decoderOf,
  errorFields,
  grpcEncodingOf,
  grpcHeaders,
  grpcTrailers,
  refusalHeaders,
  WITH_TRAILERS,
} from './grpc-fields.ts';
import { inflate } from './inflate.ts';
import type { Method } from './methods.ts';
import type { Ticket } from './seams.ts';
import type { GrpcError } from './wire-error.ts';

/**
 * A call of gRPC with one message in each direction, on a stream of HTTP/2: reads its request, calls the handler that
 * all protocols call, and answers.
 */
export class GrpcUnary {
  readonly #stream: ServerHttp2Stream;
  readonly #headers: IncomingHttpHeaders;
  readonly #method: Method;
  readonly #limits: ExchangeLimits;
  readonly #deadline: number;
  readonly #message: OneMessage;
  readonly #ticket: Ticket | undefined;
  #call: UnaryCall | undefined;
  /** Whether it was answered, or its caller is gone. */
  #isOver = false;

  /** @param deadline - when the caller stops waiting, in milliseconds since the epoch */
  constructor(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    method: Method,
    limits: ExchangeLimits,
    deadline: number,
    ticket: Ticket | undefined,
  ) {
    this.#stream = stream;
    this.#headers = headers;
    this.#method = method;
    this.#limits = limits;
    this.#deadline = deadline;
    this.#ticket = ticket;
    this.#message = new OneMessage(limits, grpcEncodingOf(headers) !== undefined);
  }

  /** Begins to read. */
  serve(): void {
    const stream = this.#stream;
    stream.on('data', (chunk: Buffer) => this.#read(chunk));
    stream.on('end', () => this.#begin());
    stream.on('close', () => this.#close());
  }

  /** Whether nothing of the call is worth work any more. Somebody else may have answered: see `Admission`. */
  get #isDone(): boolean {
    return this.#isOver || this.#stream.headersSent || this.#stream.closed;
  }

  #read(chunk: Buffer): void {
    this.#ticket?.read?.(chunk);
    if (this.#isDone) return;
    try {
      this.#message.read(chunk);
    } catch (error) {
      this.#refuse(error);
    }
  }

  #begin(): void {
    if (this.#isDone) return;
    try {
      const { flags, data } = this.#message.end();
      if ((flags & COMPRESSED) === 0) this.#serve(data);
      else this.#inflate(data);
    } catch (error) {
      this.#refuse(error);
    }
  }

  #inflate(data: Buffer): void {
    inflate(data, grpcEncodingOf(this.#headers), this.#limits)
      .then((bytes) => {
        this.#ticket?.inflated?.(bytes.length);
        if (!this.#isDone) this.#serve(bytes);
      })
      .catch((error: unknown) => this.#refuse(error));
  }

  #serve(bytes: Buffer): void {
    const request = decoderOf(this.#method)(bytes);
    const head = {
      headers: this.#headers,
      arrived: this.#ticket?.arrived,
      visitor: this.#ticket?.visitor,
    };
    this.#call = new UnaryCall(this.#method, request, { head, deadline: this.#deadline }, (answer) =>
      this.#answer(answer),
    );
  }

  #close(): void {
    this.#isOver = true;
    this.#ticket?.done?.();
    this.#message.drop();
    this.#call?.cancel();
  }

  #answer({ value, error, headers, trailers }: UnaryAnswer): void {
    if (this.#isDone) return;
    if (error) {
      this.#fail(error, headers);
      return;
    }
    let body: Buffer;
    try {
      body = frame(0, this.#method.encode(value!));
    } catch (thrown) {
      this.#fail(internal(thrown), headers);
      return;
    }
    this.#isOver = true;
    this.#respond(headers, grpcTrailers(trailers), body);
  }

  #refuse(error: unknown): void {
    this.#message.drop();
    if (!this.#isDone) this.#fail(failureOf(error, this.#limits, this.#method.path), undefined);
  }

  #fail(error: GrpcError | ServiceError, headers: Metadata | undefined): void {
    this.#isOver = true;
    const known = error instanceof ServiceError ? failureOf(error, this.#limits, this.#method.path) : error;
    if (headers) this.#respond(headers, errorFields(known), undefined);
    else endAnswered(this.#stream, refusalHeaders(known));
  }

  #respond(headers: Metadata | undefined, trailers: OutgoingHttpHeaders, body: Buffer | undefined): void {
    const stream = this.#stream;
    stream.respond(grpcHeaders(headers), WITH_TRAILERS);
    stream.on('wantTrailers', () => stream.sendTrailers(trailers));
    stream.end(body);
  }
}
