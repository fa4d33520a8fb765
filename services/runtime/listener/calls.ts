import type { IncomingHttpHeaders } from 'node:http';
import { Duplex } from 'node:stream';
import { Metadata, type handleUnaryCall, type sendUnaryData } from '@grpc/grpc-js';
import { deadlineExceeded, ServiceError } from '../errors.ts';
import { oneRequest } from './frames.ts';
import type { Method } from './methods.ts';
import type { GrpcError } from './wire-error.ts';

/** Headers that belong to the connection or to the protocol and are no metadata of a call; so do those of `sec-`. */
const NO_METADATA: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'host',
  'te',
  'trailer',
  'expect',
  'content-type',
  'content-length',
  'content-encoding',
  'accept',
  'accept-encoding',
  'connect-timeout-ms',
  'connect-protocol-version',
  'connect-content-encoding',
  'connect-accept-encoding',
  'grpc-timeout',
  'grpc-encoding',
  'grpc-accept-encoding',
  'x-grpc-web',
  'cookie',
  'origin',
  'referer',
]);
/** Names that metadata can have; a header by another name can reach no handler. */
const METADATA_NAME = /^[0-9a-z_.-]+$/;
/** Longest time that a timer takes. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** What the caller sent beside the request. */
function metadataOf({ headers }: CallHead): Metadata {
  const kept: IncomingHttpHeaders = {};
  for (const name in headers) {
    // Most headers are known; those of HTTP/2 begin with a colon.
    if (NO_METADATA.has(name) || !METADATA_NAME.test(name) || name.startsWith('sec-')) continue;
    kept[name] = headers[name];
  }
  return Metadata.fromHttp2Headers(kept);
}

/** What comes of a call before its request. */
export interface CallHead {
  readonly headers: Readonly<IncomingHttpHeaders>;
  /** See `Ticket`. */
  readonly arrived?: number | undefined;
  readonly visitor?: object | undefined;
  readonly refusal?: ServiceError | undefined;
}

/** What a call is told beside its request. */
export interface CallOptions {
  /** Metadata are made of it where somebody asks for them. */
  head: CallHead;
  /** When the caller stops waiting, in milliseconds since the epoch; `Infinity` for never. */
  deadline: number;
}

/** Who made a call, as the seam sees them. */
export interface Peer {
  /** Called once when nobody waits any more. */
  onGone(listener: () => void): void;
  /** An error that now leaves the port, as gRPC has it. */
  failure(error: unknown): GrpcError;
}

/** How a call with one message ended: with a value, or an error. */
export interface UnaryAnswer {
  value?: object | undefined;
  /** As the handler has it; a deadline that has passed ends the call with a {@link ServiceError}. */
  error?: GrpcError | ServiceError | undefined;
  headers: Metadata | undefined;
  trailers: Metadata | undefined;
}

/**
 * A call with one message in each direction, with all that our handlers and those of grpc-js's companions use of one.
 * It ends with the answer, with the deadline, or when nobody waits any more.
 */
export class UnaryCall {
  readonly request: object;
  readonly head: CallHead;
  cancelled = false;
  #metadata: Metadata | undefined;
  readonly #path: string;
  readonly #deadline: number;
  readonly #answered: (answer: UnaryAnswer) => void;
  readonly #timer: NodeJS.Timeout | undefined;
  #headers: Metadata | undefined;
  #onCancelled: (() => void) | undefined;
  #ended = false;

  /** @param answered - called once, unless {@link cancel} was called before */
  constructor(
    method: Method,
    request: object,
    { head, deadline }: CallOptions,
    answered: (answer: UnaryAnswer) => void,
  ) {
    this.request = request;
    this.head = head;
    this.#path = method.path;
    this.#deadline = deadline;
    this.#answered = answered;
    if (deadline !== Infinity) this.#timer = timerUntil(deadline, () => this.#pass());
    type Handler = handleUnaryCall<object, object>;
    (method.handler as Handler)(this as never, (error, value, trailers) => {
      if (error) this.#end({ error, headers: this.#headers, trailers: undefined });
      else this.#end({ value: value!, headers: this.#headers, trailers: trailers ?? undefined });
    });
  }

  get metadata(): Metadata {
    return (this.#metadata ??= metadataOf(this.head));
  }

  getDeadline(): number {
    return this.#deadline;
  }

  getPath(): string {
    return this.#path;
  }

  sendMetadata(metadata: Metadata): void {
    this.#headers = metadata;
  }

  once(_: 'cancelled', listener: () => void): this {
    this.#onCancelled = listener;
    return this;
  }

  /** Nobody waits any more: tells the handler. */
  cancel(): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#tell();
  }

  #pass(): void {
    this.#end({ error: deadlineExceeded(), headers: this.#headers, trailers: undefined });
    this.#tell();
  }

  #tell(): void {
    this.cancelled = true;
    this.#onCancelled?.();
  }

  #end(answer: UnaryAnswer): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#answered(answer);
  }
}

/**
 * Calls a unary handler of gRPC with what it needs to know of a call. Resolves with `undefined` where nobody waits any
 * more.
 */
export function callUnary(
  method: Method,
  request: object,
  options: CallOptions,
  peer: Peer,
): Promise<(UnaryAnswer & { error?: GrpcError | undefined }) | undefined> {
  return new Promise((resolve) => {
    const call = new UnaryCall(method, request, options, ({ error, ...answer }) =>
      resolve({ ...answer, error: error instanceof ServiceError ? peer.failure(error) : error }),
    );
    peer.onGone(() => {
      call.cancel();
      resolve(undefined);
    });
  });
}

/** Where the answers of a call with streams go. */
export interface StreamOutput {
  /** The call begins to answer. Comes once, before anything else. @param metadata - where there is any */
  headers(metadata: Metadata | undefined): void;
  /** Resolves when the connection can take the next. */
  message(value: object): Promise<void>;
  /** Nothing comes after it. */
  end(error: GrpcError | undefined, trailers: Metadata | undefined): void;
}

/**
 * Calls a handler of gRPC of any kind with messages as they come; resolves when the answer has ended.
 *
 * @param inputs - the requests; what it throws ends the call
 */
export async function callStream(
  method: Method,
  inputs: AsyncIterator<object>,
  options: CallOptions,
  output: StreamOutput,
  peer: Peer,
): Promise<void> {
  const { requestStream, responseStream, path } = method;
  const failed = (error: unknown): GrpcError => peer.failure(error);
  const call = new WebCall(path, inputs, options, output, failed);
  const stop = untilDeadline(options.deadline, () => call.fail(failed(deadlineExceeded())));
  peer.onGone(() => call.abandon());
  try {
    if (!requestStream) {
      try {
        call.request = await onlyOf(inputs);
      } catch (error) {
        call.finish(failed(error));
      }
    }
    if (!call.finished) {
      const answered: sendUnaryData<object> = (error, value, trailers) => {
        if (error) call.finish(error);
        else call.answer(value!, trailers ?? undefined);
      };
      type Handler = (call: unknown, answered?: sendUnaryData<object>) => void;
      (method.handler as Handler)(call, responseStream ? undefined : answered);
    }
    await call.done;
  } finally {
    stop();
    void inputs.return?.().catch(() => {});
  }
}

/** The request of a method that takes one. */
async function onlyOf(inputs: AsyncIterator<object>): Promise<object> {
  const first = await inputs.next();
  if (first.done) throw oneRequest('has no request');
  const second = await inputs.next();
  if (!second.done) throw oneRequest('has more than one request');
  return first.value;
}

/** A call with streams, with all that our handlers and those of grpc-js's companions use of one. */
class WebCall extends Duplex {
  readonly head: CallHead;
  readonly metadata: Metadata;
  readonly done: Promise<void>;
  request: object | undefined;
  cancelled = false;
  finished = false;
  readonly #path: string;
  readonly #inputs: AsyncIterator<object>;
  readonly #output: StreamOutput;
  readonly #deadline: number;
  readonly #failed: (error: unknown) => GrpcError;
  #resolve = (): void => {};
  #begun = false;
  #error: GrpcError | undefined;
  #trailers: Metadata | undefined;

  constructor(
    path: string,
    inputs: AsyncIterator<object>,
    { head, deadline }: CallOptions,
    output: StreamOutput,
    failed: (error: unknown) => GrpcError,
  ) {
    super({ objectMode: true, autoDestroy: false, emitClose: false });
    this.head = head;
    this.metadata = metadataOf(head);
    this.#path = path;
    this.#inputs = inputs;
    this.#output = output;
    this.#deadline = deadline;
    this.#failed = failed;
    this.done = new Promise((resolve) => (this.#resolve = resolve));
    // What was written before goes out before.
    this.on('error', (error) => {
      this.#error ??= error;
      super.end();
    });
  }

  getDeadline(): number {
    return this.#deadline;
  }

  getPath(): string {
    return this.#path;
  }

  sendMetadata(metadata: Metadata): void {
    this.#begin(metadata);
  }

  override _read(): void {
    this.#inputs.next().then(
      ({ done, value }) => {
        if (!this.cancelled) this.push(done ? null : value);
      },
      (error: unknown) => this.fail(this.#failed(error)),
    );
  }

  override _write(message: object, _: BufferEncoding, taken: (error?: Error | null) => void): void {
    if (this.finished) {
      taken();
      return;
    }
    this.#begin(undefined);
    try {
      this.#output.message(message).then(
        () => taken(),
        (error: unknown) => this.#unsent(error, taken),
      );
    } catch (error) {
      this.#unsent(error, taken);
    }
  }

  override _final(ended: () => void): void {
    this.finish(this.#error, this.#trailers);
    ended();
  }

  /** As in grpc-js, where trailers may come with the end. */
  override end(...parameters: unknown[]): this {
    const [trailers] = parameters;
    if (trailers instanceof Metadata) this.#trailers = trailers;
    return super.end();
  }

  /** Answers a call that has one answer. */
  answer(value: object, trailers: Metadata | undefined): void {
    this._write(value, 'utf8', () => this.finish(undefined, trailers));
  }

  /** Ends the call from this side, and tells the handler. */
  fail(error: GrpcError): void {
    this.finish(error);
    this.abandon();
  }

  /** Nobody waits any more. */
  abandon(): void {
    if (this.cancelled) return;
    this.finished = true;
    this.cancelled = true;
    this.push(null);
    this.emit('cancelled');
    this.#resolve();
  }

  finish(error: GrpcError | undefined, trailers?: Metadata): void {
    if (this.finished) return;
    this.finished = true;
    if (!this.#begun) this.#begin(undefined);
    this.#output.end(error, trailers);
    this.#resolve();
  }

  /** A message could not be sent. */
  #unsent(error: unknown, taken: () => void): void {
    this.fail(this.#failed(error));
    taken();
  }

  #begin(metadata: Metadata | undefined): void {
    if (this.#begun) return;
    this.#begun = true;
    this.#output.headers(metadata);
  }
}

function untilDeadline(deadline: number, passed: () => void): () => void {
  if (!Number.isFinite(deadline)) return () => {};
  const timer = timerUntil(deadline, passed);
  return () => clearTimeout(timer);
}

function timerUntil(deadline: number, passed: () => void): NodeJS.Timeout {
  return setTimeout(passed, Math.min(deadline - Date.now(), MAX_TIMER_MS));
}
