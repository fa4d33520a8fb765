import type { IncomingHttpHeaders } from 'node:http';

/** Milliseconds of the units of `grpc-timeout` (gRPC over HTTP/2, "Timeout"). */
const UNITS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};

/**
 * When the caller of a request stops waiting, by the clock that `now` is of; infinite where it does not say, or says it
 * in a way that the reader of the call will refuse.
 */
export function deadlineOf(headers: Readonly<IncomingHttpHeaders>, now: number): number {
  const timeout = headers['grpc-timeout'];
  if (typeof timeout === 'string') {
    const unit = UNITS[timeout.at(-1) ?? ''];
    const value = timeout.slice(0, -1);
    return unit !== undefined && /^\d{1,8}$/.test(value) ? now + Number(value) * unit : Infinity;
  }
  const ms = headers['connect-timeout-ms'];
  return typeof ms === 'string' && /^\d{1,10}$/.test(ms) ? now + Number(ms) : Infinity;
}
