import type { Dispatcher } from 'undici';

/** The longest timeout: `setTimeout` fires at once for more. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

/** The bounds of an exchange. */
interface Limits {
  signal: AbortSignal | undefined;
  timeoutMs: number;
}

/** The error of an exchange that took too long. */
export class TimedOut extends Error {
  override readonly name = 'TimedOut';
}

/**
 * One request and its answer, read whole. Does what undici's `request` does, without the stream and the two
 * signals that it makes for each call. Ends at once if the caller gives up, even while it waits for a
 * connection.
 */
export class Exchange implements Dispatcher.DispatchHandler {
  /** HTTP status, once the answer has begun. */
  status: number | undefined;
  /** The `retry-after` header of the answer. */
  retryAfter: string | undefined;
  /** Body of the answer. Rejects with undici's error, the signal's reason or {@link TimedOut}. */
  readonly text: Promise<string>;
  readonly #signal: AbortSignal | undefined;
  readonly #timer: NodeJS.Timeout;
  readonly #chunks: Buffer[] = [];
  #controller: Dispatcher.DispatchController | undefined;
  #resolve!: (text: string) => void;
  #reject!: (reason: unknown) => void;
  #ended = false;
  readonly #onAbort = (): void => this.#giveUp(this.#signal?.reason as Error);

  constructor(dispatcher: Dispatcher, request: Dispatcher.DispatchOptions, { signal, timeoutMs }: Limits) {
    this.text = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#signal = signal;
    const late = (): void => this.#giveUp(new TimedOut());
    this.#timer = setTimeout(late, Math.min(Math.max(0, timeoutMs), MAX_TIMEOUT_MS));
    signal?.addEventListener('abort', this.#onAbort);
    if (signal?.aborted) this.#onAbort();
    else dispatcher.dispatch(request, this);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#ended) controller.abort(new TimedOut());
  }

  onResponseStart(
    _: Dispatcher.DispatchController,
    status: number,
    headers: Readonly<Record<string, string | string[] | undefined>>,
  ): void {
    this.status = status;
    const retryAfter = headers['retry-after'];
    if (typeof retryAfter === 'string') this.retryAfter = retryAfter;
  }

  onResponseData(_: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#chunks.push(chunk);
  }

  onResponseEnd(): void {
    this.#end();
    const [first] = this.#chunks;
    const whole = this.#chunks.length === 1 ? first! : Buffer.concat(this.#chunks);
    this.#resolve(whole.toString());
  }

  onResponseError(_: Dispatcher.DispatchController | undefined, error: Error): void {
    this.#end();
    this.#reject(error);
  }

  #giveUp(reason: Error): void {
    this.#end();
    this.#reject(reason);
    this.#controller?.abort(reason);
  }

  #end(): void {
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#signal?.removeEventListener('abort', this.#onAbort);
  }
}
