import { setMaxListeners } from 'node:events';
import type { CallOptions } from '../../store.ts';

/** `setTimeout` fires at once for more than this. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

/** A stretch of work that ends with the caller's signal or deadline, whichever comes first. Dispose of it afterwards. */
export class Scope implements Disposable {
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal | undefined;
  readonly #deadline: number | undefined;
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #onAbort = () => this.#controller.abort(this.#outer?.reason);

  /** @throws the signal's reason, or a `TimeoutError`, where it is over before it begins */
  constructor({ signal, deadline }: CallOptions) {
    this.#outer = signal;
    this.#deadline = deadline;
    // Every call that runs in it listens, and there may be a hundred.
    setMaxListeners(0, this.#controller.signal);
    signal?.throwIfAborted();
    if (this.remainingMs <= 0) throw deadlineExceeded();
    signal?.addEventListener('abort', this.#onAbort, { once: true });
    if (deadline === undefined) return;
    const end = () => this.#controller.abort(deadlineExceeded());
    this.#timer = setTimeout(end, Math.min(this.remainingMs, MAX_TIMEOUT_MS));
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Milliseconds until the deadline; `Infinity` where there is none. */
  get remainingMs(): number {
    return this.#deadline === undefined ? Infinity : this.#deadline - Date.now();
  }

  /** @throws why it is over, if it is */
  throwIfOver(): void {
    this.signal.throwIfAborted();
    if (this.remainingMs <= 0) throw deadlineExceeded();
  }

  /** Cancels what still runs in it. */
  cancel(): void {
    this.#controller.abort();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#outer?.removeEventListener('abort', this.#onAbort);
  }
}

/** Resolves after a time. @throws the signal's reason */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    }, ms);
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    };
    if (signal?.aborted) onAbort();
    else signal?.addEventListener('abort', onAbort, { once: true });
  });
}

function deadlineExceeded(): DOMException {
  return new DOMException('the deadline of the store call has passed', 'TimeoutError');
}
