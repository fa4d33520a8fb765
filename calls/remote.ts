import type { ChildProcess } from 'node:child_process';
import type { Worker } from 'node:worker_threads';
import { holdExit } from './exit-gate.ts';

/**
 * Calls to an object that lives in another thread or process. {@link Remote} is the caller's side; `serve` (in
 * `serve.ts`) is the other one.
 */

type Method<Api, Name extends keyof Api> = Extract<Api[Name], (...parameters: never[]) => unknown>;

/** Names of the methods of an object. */
export type MethodName<Api> = {
  [Name in keyof Api]: Api[Name] extends (...parameters: never[]) => unknown ? Name : never;
}[keyof Api] &
  string;

/** An error that crosses the boundary; structured clone would keep its message alone. */
export interface SentError {
  reason: string;
  message: string;
  metadata: Readonly<Record<string, string>>;
  stack?: string | undefined;
}

/** What a call answers: a method that is a generator works in slices, and what it returns is the answer. */
export type Answer<Api, Name extends keyof Api> =
  ReturnType<Method<Api, Name>> extends Generator<unknown, infer Result>
    ? Result
    : Awaited<ReturnType<Method<Api, Name>>>;

/** From the caller to the object. The first message makes the object, and has its answer under `id` 0. */
export type Request =
  /** A thread gets a gate; see `exit-gate.ts`. */
  | { init: unknown; gate?: SharedArrayBuffer }
  | { id: number; method: string; parameters: readonly unknown[] }
  /** Nobody waits for the call any more: do not begin it, or end it after its slice. */
  | { cancel: number }
  /** Answer what was asked before, and end. */
  | { close: true };

/** From the object to the caller. */
export type Response = { id: number; value: unknown } | { id: number; error: SentError } | { notice: string };

/** How a caller deals with the other side's errors, its end and its notices. */
export interface RemoteOptions {
  /** Makes an error of what crossed the boundary. */
  revive: (error: SentError) => Error;
  /** Called once when the thread or process ends, for whatever reason. @returns what every open and later call fails with */
  ended: (how: string, cause?: unknown) => Error;
  /** Receives lines that the object wants logged. */
  onNotice?: (line: string) => void;
  /**
   * Makes a result of what crossed, where the other side has packed it. It sees each of them in their order, also where
   * nobody waits for it any more.
   */
  unpack?: (value: unknown) => unknown;
}

/** Bounds of one call. */
export interface RemoteCallOptions {
  signal?: AbortSignal | undefined;
  /** Milliseconds since the epoch. */
  deadline?: number | undefined;
  /** Buffers that move to the other thread; a process gets copies. */
  transfer?: readonly ArrayBuffer[];
}

/** `setTimeout` fires at once for more than this. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

/**
 * An object in another thread or process. Its methods run one at a time, in the order of the calls; those that work in
 * slices let others in between.
 */
export class Remote<Api extends object> {
  /** Settles when the object has been made. */
  readonly opened: Promise<void>;
  /** Settles when the thread or process has ended. */
  readonly exited: Promise<void>;
  readonly #post: (request: Request, transfer?: readonly ArrayBuffer[]) => void;
  readonly #pending = new Map<
    number,
    { resolve: (value: unknown) => void; reject: (reason: unknown) => void }
  >();
  #lastId = 0;
  #failure: Error | undefined;

  /** @param init what the other side makes the object from */
  constructor(
    peer: Worker | ChildProcess,
    init: unknown,
    { revive, ended, onNotice, unpack = (value) => value }: RemoteOptions,
  ) {
    this.#post = (request, transfer = []) => {
      if ('postMessage' in peer) peer.postMessage(request, transfer);
      // Where the request can't be sent any more, the end of the process says why.
      else peer.send(request, () => {});
    };
    this.opened = new Promise((resolve, reject) => {
      this.#pending.set(0, { resolve: () => resolve(), reject });
    });
    // Where nobody waits for it, the calls fail with the same reason.
    this.opened.catch(() => {});
    const gate = 'postMessage' in peer ? holdExit() : undefined;
    const revived = (sent: SentError): Error => {
      const error = revive(sent);
      if (sent.stack !== undefined) error.stack = sent.stack;
      return error;
    };
    peer.on('message', (response: Response) => {
      if ('notice' in response) onNotice?.(response.notice);
      else if ('value' in response) {
        const value = unpack(response.value);
        this.#pending.get(response.id)?.resolve(value);
      } else if (response.id === 0) this.#end(revived(response.error));
      else this.#pending.get(response.id)?.reject(revived(response.error));
    });
    const end = (how: string, cause?: unknown): void => {
      if (this.#failure === undefined) this.#end(ended(how, cause));
    };
    this.exited = new Promise((resolve) => {
      peer.on('error', (cause: Error) => {
        end(String(cause), cause);
        // A process that could not be started has no exit.
        if ('pid' in peer && peer.pid === undefined) resolve();
      });
      peer.on('exit', (code: number | null, signal?: string | null) => {
        end(signal ?? `exit code ${code}`);
        resolve();
      });
    });
    if (gate) void this.exited.then(gate.release);
    this.#post({ init, ...(gate && { gate: gate.memory }) });
  }

  /** Why no call can be made any more, once that is so. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /** @throws what the method threw, the reason of the signal, a `TimeoutError`, or {@link failure} */
  async call<Name extends MethodName<Api>>(
    method: Name,
    parameters: Parameters<Method<Api, Name>>,
    { signal, deadline, transfer }: RemoteCallOptions = {},
  ): Promise<Answer<Api, Name>> {
    signal?.throwIfAborted();
    const remainingMs = deadline === undefined ? undefined : deadline - Date.now();
    if (remainingMs !== undefined && remainingMs <= 0) throw deadlineExceeded();
    if (this.#failure) throw this.#failure;
    const id = ++this.#lastId;
    let cancel: (reason: unknown) => void;
    const answer = new Promise<unknown>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      cancel = (reason) => {
        reject(reason);
        this.#post({ cancel: id });
      };
    });
    const onAbort = (): void => cancel(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    const timer =
      remainingMs === undefined
        ? undefined
        : setTimeout(() => cancel(deadlineExceeded()), Math.min(remainingMs, MAX_TIMEOUT_MS));
    try {
      this.#post({ id, method, parameters }, transfer);
      return (await answer) as Answer<Api, Name>;
    } finally {
      this.#pending.delete(id);
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** Lets the calls that were made before end, and waits for the end of the thread or process. */
  async close(): Promise<void> {
    if (this.#failure === undefined) this.#post({ close: true });
    await this.exited;
  }

  #end(failure: Error): void {
    this.#failure ??= failure;
    for (const { reject } of this.#pending.values()) reject(this.#failure);
    this.#pending.clear();
  }
}

function deadlineExceeded(): DOMException {
  return new DOMException('the deadline of the call has passed', 'TimeoutError');
}
