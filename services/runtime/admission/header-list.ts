import { status } from '@grpc/grpc-js';
import { ServiceError } from '../errors.ts';
import type { Arrival } from '../listener/seams.ts';
import { MAX_HEADER_LIST_BYTES } from './sessions.ts';

/** What HPACK counts for a header besides its name and value (RFC 7541, section 4.1). */
const HEADER_BYTES = 32;

/** @throws {ServiceError} for headers beyond what SETTINGS say, which Node takes up to 64 KiB of */
export function checkHeaders(headers: Arrival['headers']): void {
  let bytes = 0;
  for (const name in headers) bytes += HEADER_BYTES + name.length + (headers[name]?.length ?? 0);
  if (bytes <= MAX_HEADER_LIST_BYTES) return;
  throw new ServiceError(
    status.RESOURCE_EXHAUSTED,
    'HEADERS_TOO_LARGE',
    `the headers have ${bytes} bytes, and ${MAX_HEADER_LIST_BYTES} is the most; send fewer or shorter ones`,
  );
}
