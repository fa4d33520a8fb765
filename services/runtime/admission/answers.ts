/** The answer to a call, on its way: a stream of HTTP/2, or a response of `node:http`. */
export interface Answer {
  /** Bytes that the caller has not taken. */
  readonly writableLength: number;
  /** Whether nothing more will be written. */
  readonly writableEnded: boolean;
}

/**
 * Bytes of answers that callers have not taken, over all calls, where there is memory for it; what an answer that waits takes
 * besides is counted with it. Beyond it, those that have waited longest are ended.
 */
export const MAX_UNTAKEN_BYTES = 64 * 1024 * 1024;
/** What a call takes whose answer waits, besides the answer. */
export const CALL_BYTES = 16 * 1024;

/** An answer that waits for its caller. */
export interface Untaken {
  /** Bytes at the last look. */
  bytes: number;
  /** Since when it has been as many. */
  since: number;
}

/** Looks at an answer. @returns what it takes in memory */
export function look(untaken: Untaken, { writableLength }: Answer, now: number): number {
  if (writableLength === 0 || writableLength !== untaken.bytes) {
    untaken.bytes = writableLength;
    untaken.since = now;
  }
  return writableLength === 0 ? 0 : writableLength + CALL_BYTES;
}

/** Those that have waited longest, as many as are too many. @param most - bytes of all that may wait */
export function excess<Call extends { readonly untaken: Untaken }>(
  waiting: readonly Call[],
  most: number,
): Call[] {
  let bytes = 0;
  for (const { untaken } of waiting) bytes += untaken.bytes + CALL_BYTES;
  const chosen: Call[] = [];
  for (const call of [...waiting].sort((a, b) => a.untaken.since - b.untaken.since)) {
    if (bytes <= most) break;
    bytes -= call.untaken.bytes + CALL_BYTES;
    chosen.push(call);
  }
  return chosen;
}
