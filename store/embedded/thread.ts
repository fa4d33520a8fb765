import { Worker } from 'node:worker_threads';
import { StoreError } from '../errors.ts';
import type { CallOptions } from '../store.ts';
import type { Engine } from './engine.ts';
import type { Operation, Request, Response, SerializedError, WorkerOptions } from './protocol.ts';

interface Pending {
  resolve: (value: unknown) => void;
  reject: (reason: unknown) => void;
}

/** `setTimeout` fires at once for more than this. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

/** An engine in a thread of its own, with the calls that it has not answered. It lives until it is closed, or dies. */
export class EngineThread {
  /** Settles when the database has been opened. */
  readonly opened: Promise<void>;
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending>();
  readonly #exited: Promise<void>;
  #lastId = 0;
  #closing = false;
  #ended: StoreError | undefined;

  /** @param log told of what concerns whoever runs the process */
  constructor(workerData: WorkerOptions, log: { warn(message: string): void } | undefined) {
    this.#worker = new Worker(new URL('./worker.js', import.meta.url), {
      workerData,
      name: 'embedded-store',
    });
    this.opened = new Promise((resolve, reject) => {
      this.#pending.set(0, { resolve: () => resolve(), reject });
    });
    // Where it is not waited for, the calls tell as much.
    this.opened.catch(() => {});
    this.#worker.on('message', (response: Response) => {
      if ('warning' in response) log?.warn(response.warning);
      else if ('error' in response) this.#failed(response.id, deserialize(response.error));
      else this.#pending.get(response.id)?.resolve(response.value);
    });
    const die = (why: string, cause?: unknown): void => {
      if (!this.#closing && !this.#ended) {
        log?.warn(`the thread of the embedded store died, and the next call starts another: ${why}`);
      }
      this.#end(unavailable(`its thread died: ${why}; try again`, cause));
    };
    this.#worker.on('error', (cause) => die(String(cause), cause));
    this.#exited = new Promise((resolve) => {
      this.#worker.on('exit', (code) => {
        die(`exit ${code}`);
        resolve();
      });
    });
  }

  /** Why no call can be made any more, once that is so. */
  get ended(): StoreError | undefined {
    return this.#ended;
  }

  async close(): Promise<void> {
    this.#closing = true;
    this.#post({ close: true });
    await this.#exited;
  }

  /** @throws {StoreError} as the operation does; `STORE_UNAVAILABLE` where the thread dies before it answers */
  async call<Name extends Operation>(
    operation: Name,
    parameters: Parameters<Engine[Name]>,
    { signal, deadline }: CallOptions,
    transfer: ArrayBuffer[],
  ): Promise<ReturnType<Engine[Name]>> {
    signal?.throwIfAborted();
    const remainingMs = deadline === undefined ? undefined : deadline - Date.now();
    if (remainingMs !== undefined && remainingMs <= 0) throw deadlineExceeded();
    if (this.#ended) throw this.#ended;

    const id = ++this.#lastId;
    let cancel: (reason: unknown) => void;
    const answer = new Promise<unknown>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      cancel = (reason) => {
        reject(reason);
        this.#post({ cancel: id });
      };
    });
    const onAbort = () => cancel(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    const timer =
      remainingMs === undefined
        ? undefined
        : setTimeout(() => cancel(deadlineExceeded()), Math.min(remainingMs, MAX_TIMEOUT_MS));
    try {
      this.#post({ id, operation, parameters } as Request, transfer);
      return (await answer) as ReturnType<Engine[Name]>;
    } finally {
      this.#pending.delete(id);
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    }
  }

  #post(request: Request, transfer: ArrayBuffer[] = []): void {
    this.#worker.postMessage(request, transfer);
  }

  #failed(id: number, error: StoreError): void {
    // Without a database there is nothing to call.
    if (id === 0) this.#end(error);
    else this.#pending.get(id)?.reject(error);
  }

  #end(error: StoreError): void {
    this.#ended ??= error;
    for (const { reject } of this.#pending.values()) reject(this.#ended);
    this.#pending.clear();
  }
}

/** The store can't be used for now. */
export function unavailable(why: string, cause?: unknown): StoreError {
  return new StoreError('STORE_UNAVAILABLE', `the embedded store cannot be used: ${why}`, { cause });
}

function deserialize({ reason, message, metadata, stack }: SerializedError): StoreError {
  const error = new StoreError(reason, message, { metadata });
  if (stack !== undefined) error.stack = stack;
  return error;
}

function deadlineExceeded(): DOMException {
  return new DOMException('the deadline of the store call has passed', 'TimeoutError');
}
