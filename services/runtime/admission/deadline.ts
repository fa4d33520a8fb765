import type { IncomingHttpHeaders } from 'node:http';
import { timeoutMs } from '../listener/grpc-values.ts';

/**
 * When the caller of a request stops waiting, by the clock that `now` is of; infinite where it does not say, or says it
 * in a way that the reader of the call will refuse.
 */
export function deadlineOf(headers: Readonly<IncomingHttpHeaders>, now: number): number {
  const timeout = headers['grpc-timeout'];
  if (typeof timeout === 'string') return now + (timeoutMs(timeout) ?? Infinity);
  const ms = headers['connect-timeout-ms'];
  return typeof ms === 'string' && /^\d{1,10}$/.test(ms) ? now + Number(ms) : Infinity;
}
