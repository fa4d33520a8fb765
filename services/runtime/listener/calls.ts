import { Duplex } from 'node:stream';
import { Metadata, status, type handleUnaryCall, type sendUnaryData } from '@grpc/grpc-js';
import { deadlineExceeded } from '../errors.ts';
import { HttpError, type Exchange } from './exchange.ts';
import type { Method } from './methods.ts';
import type { GrpcError } from './wire-error.ts';

/** Headers that belong to the connection or to the protocol and are no metadata of a call. */
const NO_METADATA =
  /^(:.*|connection|keep-alive|proxy-connection|transfer-encoding|upgrade|host|te|trailer|expect|content-(type|length|encoding)|accept|accept-encoding|connect-(timeout-ms|protocol-version|content-encoding|accept-encoding)|grpc-(timeout|encoding|accept-encoding)|x-grpc-web|cookie|origin|referer|sec-.*)$/;
/** Names that metadata can have; a header by another name can reach no handler of gRPC either. */
const METADATA_NAME = /^[0-9a-z_.-]+$/;
/** Longest time that a timer takes. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** What the caller sent beside the request. */
export function metadataOf({ headers }: Pick<Exchange, 'headers'>): Metadata {
  const kept = Object.entries(headers).filter(
    ([name]) => METADATA_NAME.test(name) && !NO_METADATA.test(name),
  );
  return Metadata.fromHttp2Headers(Object.fromEntries(kept));
}

/** What a call is told beside its request. */
export interface CallOptions {
  metadata: Metadata;
  /** When the caller stops waiting, in milliseconds since the epoch; `Infinity` for never. */
  deadline: number;
}

/** How a call with one message ended. */
export interface UnaryAnswer {
  /** One of these is there. */
  value?: object | undefined;
  error?: GrpcError | undefined;
  headers: Metadata | undefined;
  trailers: Metadata | undefined;
}

/**
 * Calls a unary handler of gRPC with what it needs to know of a call. Resolves with `undefined` where nobody waits any
 * more.
 */
export function callUnary(
  method: Method,
  request: object,
  { metadata, deadline }: CallOptions,
  exchange: Pick<Exchange, 'response' | 'failure'>,
): Promise<UnaryAnswer | undefined> {
  return new Promise((resolve) => {
    let cancel = (): void => {};
    let headers: Metadata | undefined;
    const call = {
      request,
      metadata,
      cancelled: false,
      getDeadline: () => deadline,
      getPath: () => method.path,
      sendMetadata: (sent: Metadata) => void (headers = sent),
      once: (_: 'cancelled', listener: () => void) => (cancel = listener),
    };
    const stop = untilDeadline(deadline, () => {
      cancel();
      resolve({ error: exchange.failure(deadlineExceeded()), headers, trailers: undefined });
    });
    exchange.response.once('close', () => {
      stop();
      cancel();
      resolve(undefined);
    });
    (method.handler as handleUnaryCall<object, object>)(call as never, (error, value, trailers) => {
      stop();
      if (error) resolve({ error, headers, trailers: undefined });
      else resolve({ value: value!, headers, trailers: trailers ?? undefined });
    });
  });
}

/** Where the answers of a call with streams go. */
export interface StreamOutput {
  /** The call begins to answer. Comes once, before anything else. */
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
  exchange: Exchange,
): Promise<void> {
  const { requestStream, responseStream, path } = method;
  const failed = (error: unknown): GrpcError => exchange.failure(error);
  const call = new WebCall(path, inputs, options, output, failed);
  const stop = untilDeadline(options.deadline, () => call.fail(failed(deadlineExceeded())));
  exchange.response.once('close', () => call.abandon());
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

function oneRequest(problem: string): HttpError {
  return new HttpError(400, status.UNIMPLEMENTED, `the call ${problem}; this method takes one`);
}

/** A call with streams, with all that our handlers and those of grpc-js's companions use of one. */
class WebCall extends Duplex {
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
    { metadata, deadline }: CallOptions,
    output: StreamOutput,
    failed: (error: unknown) => GrpcError,
  ) {
    super({ objectMode: true, autoDestroy: false, emitClose: false });
    this.metadata = metadata;
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
        () => taken(),
      );
    } catch (error) {
      this.fail(this.#failed(error));
      taken();
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

  #begin(metadata: Metadata | undefined): void {
    if (this.#begun) return;
    this.#begun = true;
    this.#output.headers(metadata);
  }
}

function untilDeadline(deadline: number, passed: () => void): () => void {
  if (!Number.isFinite(deadline)) return () => {};
  const timer = setTimeout(passed, Math.min(deadline - Date.now(), MAX_TIMER_MS));
  return () => clearTimeout(timer);
}
