import { setTimeout as delay } from 'node:timers/promises';
import { type Backoff, backoffMs } from '../../../calls/backoff.ts';

export type { Backoff };

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
      const waitMs = shortest + backoffMs(attempt, backoff);
      onWait?.(error, waitMs);
      await delay(waitMs, undefined, { signal });
    }
  }
}
