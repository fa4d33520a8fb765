/** How long to wait between attempts. */
export interface Backoff {
  /** Before the second attempt, at most. */
  firstMs: number;
  /** Before any attempt, at most. */
  longestMs: number;
}

/**
 * How long to wait before another attempt, in milliseconds: uniform up to a ceiling that doubles with each attempt
 * ("full jitter"), so that callers which failed together do not come back together.
 *
 * @param attempt the attempt that failed, from 1
 */
export function backoffMs(attempt: number, { firstMs, longestMs }: Backoff): number {
  return Math.random() * Math.min(longestMs, firstMs * 2 ** (attempt - 1));
}
