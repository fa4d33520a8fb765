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
  const [, digits, unit] = /^(\d{1,8})([HMSmun])$/.exec(String(given)) ?? [];
  if (digits === undefined || unit === undefined) {
    throw invalidArgument(
      'grpc-timeout',
      'is no time as gRPC has it; send for example 500m for half a second',
    );
  }
  return Date.now() + Number(digits) * UNITS[unit]!;
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
