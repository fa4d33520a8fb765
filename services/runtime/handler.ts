import { setMaxListeners } from 'node:events';
import type {
  handleBidiStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
  Metadata,
  UntypedServiceImplementation,
} from '@grpc/grpc-js';
import type { Logger } from 'pino';
import type { MethodAccess, Visit } from './access/access.ts';
import type { Caller } from './access/caller.ts';
import type { RpcWatch, WatchedCall } from './telemetry/rpc.ts';
import type { IncomingCall } from './telemetry/tracer.ts';
import type { Span } from './telemetry/span.ts';
import {
  cancelled,
  deadlineExceeded,
  reportError,
  shuttingDown,
  toGrpcError,
  type ServiceError,
} from './errors.ts';
import { flawOf } from './request-guard.ts';
import { Reader, takenWriter, writer } from './stream-messages.ts';

/** What a handler knows of the call that it serves. Fits where the store wants its options. */
export interface Call {
  /** Aborted when nobody waits for the answer any more; the reason is the {@link ServiceError} to end with. */
  readonly signal: AbortSignal;
  /** When the caller stops waiting, in milliseconds since the epoch; absent where it waits for ever. */
  readonly deadline?: number;
  /** Aborted when the service begins to drain: what only waits should end then. */
  readonly draining?: AbortSignal;
  /** What the caller sent beside the request. */
  readonly metadata: Metadata;
  /** The span of the call, where the service is traced. */
  readonly span?: Span;
  /** Who calls, where callers are asked. */
  readonly caller?: Caller | undefined;
}

/** A call with streams in both directions. */
export interface StreamCall<Request, Response> extends Call {
  /**
   * Messages as they come; the next one is read from the connection when it is asked for, so that HTTP/2 flow control
   * holds back a client that sends faster than its messages are taken. Ends when the client is done, and when the
   * service drains: finish then what is in flight and return, and the client will be told to come again. It may end
   * where the client cancels, too: many clients end their messages then, and {@link signal} is told a moment later.
   *
   * A message that holds bytes that are not UTF-8 comes like any other: ask `flawOf`.
   */
  readonly requests: AsyncIterable<Request>;
  /** Sends a message; resolves when the connection can take the next. Rejects once {@link signal} is aborted. */
  write(message: Response): Promise<void>;
}

/** A call whose answer is a stream. Its {@link Call.signal} is aborted when the service drains, too. */
export interface ServerStreamCall<Response> extends Call {
  /**
   * Sends a message; resolves when the connection has taken it, so that a client that reads slowly holds back whoever
   * makes the messages, and one message at most waits here. Rejects once {@link signal} is aborted.
   */
  write(message: Response): Promise<void>;
}

/** Serves a call with one message in each direction; what it throws becomes the call's status. */
export type UnaryHandler<Request, Response> = (request: Request, call: Call) => Promise<Response>;

/** Serves a call with streams in both directions; what it throws ends the call. */
export type StreamHandler<Request, Response> = (call: StreamCall<Request, Response>) => Promise<void>;

/** Serves a call whose answer is a stream; what it throws ends the call. */
export type ServerStreamHandler<Request, Response> = (
  request: Request,
  call: ServerStreamCall<Response>,
) => Promise<void>;

/** The methods of a generated `...Handlers` interface, as this module takes them. */
export type Implementation<Handlers extends UntypedServiceImplementation> = {
  [
    Method in keyof Handlers as string extends Method ? never : Method
  ]: Handlers[Method] extends handleUnaryCall<infer Request, infer Response>
    ? UnaryHandler<Request, Response>
    : Handlers[Method] extends handleBidiStreamingCall<infer Request, infer Response>
      ? StreamHandler<Request, Response>
      : Handlers[Method] extends handleServerStreamingCall<infer Request, infer Response>
        ? ServerStreamHandler<Request, Response>
        : never;
};

/** Where calls are served. */
export interface Scope {
  readonly log: Logger;
  /** Aborted when the service begins to drain. */
  readonly draining: AbortSignal;
  /** Called when a call begins; the result is called when it has ended. */
  readonly enter: () => () => void;
  /** What is to be seen of the calls of a method, where anything is. */
  readonly watch?: (path: string, isStream: boolean) => RpcWatch;
  /** What a method asks of its callers; absent where everybody may do everything. */
  readonly access?: (path: string) => MethodAccess;
}

/** The handler of a unary method, as grpc-js has them. Every call passes here: the place for what is to be seen of each. */
export function unary<Request extends object, Response>(
  path: string,
  handler: UnaryHandler<Request, Response>,
  scope: Scope,
): handleUnaryCall<Request, Response> {
  const watch = scope.watch?.(path, false);
  const serve = watch?.activate(handler, (_, { span }) => span) ?? handler;
  const access = scope.access?.(path);
  return async (call, callback) => {
    const leave = scope.enter();
    const seen = watch?.begin(call);
    const visit = access?.begin(call);
    const life = new Lifetime(call, seen, scope.draining);
    try {
      life.admit(visit);
      const flaw = flawOf(call.request);
      if (flaw) throw flaw;
      visit?.check(call.request);
      const response = await serve(call.request, life.call);
      life.throwIfOver();
      if (seen) watch?.end(seen, undefined);
      visit?.end();
      callback(null, visit ? visit.shown(response) : response);
    } catch (error) {
      const status = life.blame(error, path, scope.log);
      if (seen) watch?.end(seen, status);
      visit?.end(status);
      callback(toGrpcError(status));
    } finally {
      life.end();
      leave();
    }
  };
}

/** The same for a method with streams in both directions. */
export function stream<Request extends object, Response>(
  path: string,
  handler: StreamHandler<Request, Response>,
  scope: Scope,
): handleBidiStreamingCall<Request, Response> {
  const watch = scope.watch?.(path, true);
  const serve = watch?.activate(handler, ({ span }) => span) ?? handler;
  const access = scope.access?.(path);
  return async (call) => {
    const leave = scope.enter();
    const seen = watch?.begin(call);
    const visit = access?.begin(call);
    const life = new Lifetime(call, seen, scope.draining);
    const reader = new Reader(call, life.call.signal, scope.draining, visit);
    try {
      life.admit(visit);
      await serve({ ...life.call, requests: reader.messages(), write: writer(call, life.call.signal) });
      if (reader.cutOff) throw shuttingDown();
      // Its requests ended because it was.
      if (life.refusal) throw life.refusal;
      if (seen) watch?.end(seen, undefined);
      visit?.end();
      call.end();
    } catch (error) {
      const status = life.blame(error, path, scope.log);
      if (seen) watch?.end(seen, status);
      visit?.end(status);
      if (!call.cancelled) call.emit('error', toGrpcError(status));
    } finally {
      reader.close();
      life.end();
      leave();
    }
  };
}

/**
 * The same for a method that answers with a stream. Draining ends the call between two messages: a client can
 * go on elsewhere after the last one that it has.
 */
export function serverStream<Request extends object, Response>(
  path: string,
  handler: ServerStreamHandler<Request, Response>,
  scope: Scope,
): handleServerStreamingCall<Request, Response> {
  const watch = scope.watch?.(path, true);
  const serve = watch?.activate(handler, (_, { span }) => span) ?? handler;
  const access = scope.access?.(path);
  return async (call) => {
    const leave = scope.enter();
    const seen = watch?.begin(call);
    const visit = access?.begin(call);
    const life = new Lifetime(call, seen, scope.draining);
    const drain = (): void => life.abort(shuttingDown());
    scope.draining.addEventListener('abort', drain);
    try {
      life.admit(visit);
      const flaw = flawOf(call.request);
      if (flaw) throw flaw;
      if (scope.draining.aborted) throw shuttingDown();
      visit?.check(call.request);
      const write = takenWriter(call, life.call.signal);
      await serve(call.request, { ...life.call, write: visit ? visit.whileValid(write) : write });
      if (seen) watch?.end(seen, undefined);
      visit?.end();
      call.end();
    } catch (error) {
      const status = life.blame(error, path, scope.log);
      if (seen) watch?.end(seen, status);
      visit?.end(status);
      if (!call.cancelled) call.emit('error', toGrpcError(status));
    } finally {
      scope.draining.removeEventListener('abort', drain);
      life.end();
      leave();
    }
  };
}

/** What all shapes of calls have in common, as grpc-js has them. */
interface ServerCall extends IncomingCall {
  getDeadline(): Date | number;
  once(event: 'cancelled', listener: () => void): unknown;
}

/**
 * A client whose deadline has passed cancels the call, and a server that was slow to take the call in counts from later
 * on: what is cancelled so shortly before its deadline, in milliseconds, is taken for a call that ran out of time.
 */
const DEADLINE_SKEW_MS = 50;

/** The time from a call's arrival to its answer, or to the moment when nobody waits any more. */
class Lifetime {
  /** Signal and metadata are made for whoever asks, or spreads the call. */
  readonly call: { -readonly [Part in keyof Call]: Call[Part] };
  /** Made for whoever asks: most calls are answered in the turn in which they came, and it costs as much as some of them. */
  #controller: AbortController | undefined;
  /** Why nobody waits any more. */
  #reason: ServiceError | undefined;
  #ended = false;
  readonly #head: ServerCall['head'];

  constructor(call: ServerCall, seen: WatchedCall | undefined, draining: AbortSignal) {
    this.#head = call.head;
    const deadline = Number(call.getDeadline());
    const signal = (): AbortSignal => this.#signal;
    this.call = {
      get signal() {
        return signal();
      },
      draining,
      get metadata() {
        return call.metadata;
      },
    };
    if (seen?.span) this.call.span = seen.span;
    if (Number.isFinite(deadline)) this.call.deadline = deadline;
    call.once('cancelled', () => {
      // A stream tells of it after a proper end as well, and an error costs as much as the rest of a small call.
      if (this.#ended) return;
      const isLate = Date.now() >= deadline - DEADLINE_SKEW_MS;
      this.abort(this.refusal ?? (isLate ? deadlineExceeded() : cancelled()));
    });
  }

  /** Lets the caller in, where callers are asked. @throws {ServiceError} where it may not call this method */
  admit(visit: Visit | undefined): void {
    if (!visit) return;
    visit.admit();
    this.call.caller = visit.caller;
  }

  /** Why whoever lets calls in has ended it. */
  get refusal(): ServiceError | undefined {
    return this.#head?.refusal;
  }

  /** What a handler made that went on although nobody waits any more is no answer. @throws {ServiceError} why nobody does */
  throwIfOver(): void {
    if (this.#reason) throw this.#reason;
  }

  /** Ends the call early. The first reason stays; after the answer there is nothing to end. */
  abort(reason: ServiceError): void {
    if (this.#ended || this.#reason) return;
    this.#reason = reason;
    this.#controller?.abort(reason);
  }

  end(): void {
    this.#ended = true;
  }

  /** The status for what a handler threw. */
  blame(error: unknown, method: string, log: Logger): ServiceError {
    return reportError(this.#reason ?? error, log, { method, ...this.call.span?.logFields });
  }

  get #signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      // A call may be many pieces of work, the texts of an Encode for example, and each of them listens.
      setMaxListeners(0, this.#controller.signal);
      if (this.#reason) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }
}
