import type { CallOptions } from '../../store.ts';

/** `setTimeout` fires at once for more than this. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

/** What bounds a call: the caller's signal and deadline. */
export type Bounds = Pick<CallOptions, 'signal' | 'deadline'>;

/** Milliseconds until the deadline; `Infinity` where there is none. */
export function remainingMs({ deadline }: Bounds): number {
  return deadline === undefined ? Infinity : deadline - Date.now();
}

/** Whether the caller has given up, or its time has. */
export function isOver(bounds: Bounds): boolean {
  return bounds.signal?.aborted === true || remainingMs(bounds) <= 0;
}

/** @throws the signal's reason, or a `TimeoutError`, where {@link isOver} */
export function throwIfOver(bounds: Bounds): void {
  bounds.signal?.throwIfAborted();
  if (remainingMs(bounds) <= 0) throw deadlineExceeded();
}

/** A signal for something that ends with its bounds, and can be ended before. Dispose of it afterwards. */
export class Scope implements Disposable {
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal | undefined;
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #onAbort = () => this.cancel();

  constructor(bounds: Bounds) {
    this.#outer = bounds.signal;
    if (this.#outer?.aborted) this.cancel();
    else this.#outer?.addEventListener('abort', this.#onAbort, { once: true });
    const ms = Math.max(0, remainingMs(bounds));
    if (ms !== Infinity) this.#timer = setTimeout(this.#onAbort, Math.min(ms, MAX_TIMEOUT_MS));
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
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
