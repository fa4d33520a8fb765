import { setTimeout as delay } from 'node:timers/promises';

/** How long to wait between attempts. */
export interface Backoff {
  /** Before the second attempt, at most. @default 100 */
  firstMs: number;
  /** Before any attempt, at most, unless the error itself asks for more. @default 10000 */
  longestMs: number;
}

/** Quick enough that a restart of the store goes unnoticed, slow enough that a long outage costs nothing. */
export const DEFAULT_BACKOFF: Backoff = { firstMs: 100, longestMs: 10_000 };

/**
 * Repeats a call until it succeeds, or fails in a way that waiting does not help. The longest wait doubles with each
 * attempt, and each wait is a random part of it, so that streams which failed together do not come back together.
 *
 * @param waitFor shortest wait in milliseconds that an error asks for; `undefined` where trying again does not help
 * @param onWait called before each wait
 * @throws the last error of the call, or the signal's reason
 */
export async function untilItWorks<T>(
  call: () => Promise<T>,
  options: {
    backoff: Backoff;
    signal: AbortSignal;
    waitFor: (error: unknown) => number | undefined;
    onWait?: (error: unknown, waitMs: number) => void;
  },
): Promise<T> {
  const { backoff, signal, waitFor, onWait } = options;
  for (let attempt = 1; ; attempt++) {
    signal.throwIfAborted();
    try {
      return await call();
    } catch (error) {
      const shortest = signal.aborted ? undefined : waitFor(error);
      if (shortest === undefined) throw error;
      const ceiling = Math.min(backoff.longestMs, backoff.firstMs * 2 ** (attempt - 1));
      const waitMs = shortest + Math.random() * ceiling;
      onWait?.(error, waitMs);
      await delay(waitMs, undefined, { signal });
    }
  }
}
