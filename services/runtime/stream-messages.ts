import { once } from 'node:events';
import type { ServerDuplexStream, ServerWritableStream } from '@grpc/grpc-js';
import type { Visit } from './access/access.ts';
import { cancelled, type ServiceError } from './errors.ts';
import { fatalFlawOf } from './request-guard.ts';

/** Reads a stream's messages one at a time. */
export class Reader<Request extends object, Response> {
  /** Whether draining ended the messages before the client did. */
  cutOff = false;
  readonly #call: ServerDuplexStream<Request, Response>;
  readonly #signal: AbortSignal;
  readonly #draining: AbortSignal;
  readonly #visit: Visit | undefined;
  #closed = false;
  #wake = (): void => {};

  constructor(
    call: ServerDuplexStream<Request, Response>,
    signal: AbortSignal,
    draining: AbortSignal,
    visit: Visit | undefined,
  ) {
    this.#visit = visit;
    this.#call = call;
    this.#signal = signal;
    this.#draining = draining;
  }

  async *messages(): AsyncGenerator<Request, void, undefined> {
    const call = this.#call;
    const resumeReading = holdReading(call);
    const onEvent = (): void => this.#wake();
    call.on('readable', onEvent).on('end', onEvent);
    this.#signal.addEventListener('abort', onEvent);
    this.#draining.addEventListener('abort', onEvent);
    try {
      while (!this.#closed) {
        this.#signal.throwIfAborted();
        if (this.#draining.aborted) {
          this.cutOff = !call.readableEnded;
          return;
        }
        resumeReading();
        const message = call.read() as Request | null;
        if (message !== null) {
          const flaw = fatalFlawOf(message);
          if (flaw) throw flaw;
          this.#visit?.check(message);
          yield message;
        } else if (call.readableEnded) {
          return;
        } else {
          await new Promise<void>((resolve) => (this.#wake = resolve));
        }
      }
    } finally {
      call.off('readable', onEvent).off('end', onEvent);
      this.#signal.removeEventListener('abort', onEvent);
      this.#draining.removeEventListener('abort', onEvent);
    }
  }

  /** Ends the messages: a handler that failed may have left somebody behind who still waits for the next one. */
  close(): void {
    this.#closed = true;
    this.#wake();
  }
}

/**
 * Keeps a stream from reading ahead: left alone it fills its buffer of 16 messages, which may be 16 large documents,
 * whether or not anybody takes them. Reading goes on when the buffer is empty and the result is called.
 */
function holdReading<Request, Response>(call: ServerDuplexStream<Request, Response>): () => void {
  const read = call._read.bind(call);
  let held = false;
  call._read = (size) => {
    if (call.readableLength === 0) read(size);
    else held = true;
  };
  return () => {
    if (!held || call.readableLength > 0) return;
    held = false;
    read(1);
  };
}

/** Writes messages; resolves when the connection can take the next. See `StreamCall.write`. */
export function writer<Request, Response>(
  call: ServerDuplexStream<Request, Response>,
  signal: AbortSignal,
): (message: Response) => Promise<void> {
  let drained: Promise<unknown> | undefined;
  return async (message) => {
    signal.throwIfAborted();
    // A handler that failed may have left somebody behind who still writes. After the status that is an error of the
    // stream to grpc-js, which then never sends the status.
    if (call.writableEnded) throw cancelled();
    if (call.write(message)) return;
    drained ??= once(call, 'drain', { signal }).finally(() => (drained = undefined));
    await drained;
  };
}

/** Writes one message at a time; see `ServerStreamCall.write`. */
export function takenWriter<Request, Response>(
  call: ServerWritableStream<Request, Response>,
  signal: AbortSignal,
): (message: Response) => Promise<void> {
  return (message) => {
    if (signal.aborted) return Promise.reject(signal.reason as ServiceError);
    return new Promise((resolve, reject) => {
      const abort = (): void => reject(signal.reason as ServiceError);
      signal.addEventListener('abort', abort, { once: true });
      call.write(message, (error: Error | null | undefined) => {
        signal.removeEventListener('abort', abort);
        if (error) reject(error);
        else resolve();
      });
    });
  };
}
