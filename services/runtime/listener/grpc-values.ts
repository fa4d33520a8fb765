import type { IncomingHttpHeaders } from 'node:http';
import { invalidArgument } from '../errors.ts';

/** Milliseconds of the units of `grpc-timeout` (gRPC over HTTP/2, "Timeout"). */
const UNITS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};

/** What was read last, and what it says: callers have one timeout for all their calls. */
let lastRead: { readonly text: string; readonly ms: number | undefined } = { text: '', ms: undefined };

/** A value of `grpc-timeout` in milliseconds; `undefined` where it is none. */
export function timeoutMs(text: string): number | undefined {
  if (lastRead.text === text) return lastRead.ms;
  const [, digits, unit] = /^(\d{1,8})([HMSmun])$/.exec(text) ?? [];
  const ms = digits === undefined || unit === undefined ? undefined : Number(digits) * UNITS[unit]!;
  lastRead = { text, ms };
  return ms;
}

/**
 * When the caller stops waiting, in milliseconds since the epoch; `Infinity` where it does not say.
 *
 * @throws {ServiceError} for a header that is no time as gRPC has it
 */
export function grpcDeadline({ headers }: { headers: Readonly<IncomingHttpHeaders> }): number {
  if (headers['connect-timeout-ms'] !== undefined) {
    throw invalidArgument('connect-timeout-ms', 'is of Connect and plain addresses; send grpc-timeout here');
  }
  const given = headers['grpc-timeout'];
  if (given === undefined) return Infinity;
  const ms = timeoutMs(String(given));
  if (ms === undefined) {
    throw invalidArgument(
      'grpc-timeout',
      'is no time as gRPC has it; send for example 500m for half a second',
    );
  }
  return Date.now() + ms;
}

/** As gRPC wants messages: bytes of UTF-8 that are not printable ASCII, and the percent sign, by their numbers. */
export function percentEncoded(text: string): string {
  if (/^[ -$&-~]*$/.test(text)) return text;
  let encoded = '';
  for (const byte of Buffer.from(text)) {
    const isPlain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25;
    encoded += isPlain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return encoded;
}
