import { crc32 } from 'node:zlib';
import type { Database } from './database.ts';

/**
 * Checksums of what callers gave us, written with it and compared whenever it is read. SQLite notices a page whose
 * structure is damaged, but not a number or a letter that has changed in a row, and most of a store is such bytes.
 *
 * A checksum begins with the row, or with what it belongs to, so that a value in the wrong place is noticed as well.
 */
export function checksum(value: Uint8Array | string, begin: number | Uint8Array): number {
  return crc32(value, typeof begin === 'number' ? begin % 2 ** 32 : crc32(begin));
}

/** The checksum of a value that may be missing. */
export function optionalChecksum(value: Uint8Array | null, begin: number): number | null {
  return value && checksum(value, begin);
}

/**
 * @param sum as it is stored; `null` for a row from before there were checksums
 * @throws {StoreError} `STORE_LOST` if the value is not what was written
 */
export function verify(
  database: Database,
  value: Uint8Array | string | null,
  begin: number | Uint8Array,
  sum: number | null,
  what: string,
): void {
  if (sum === null || (value !== null && checksum(value, begin) === sum)) return;
  throw database.damaged(`is damaged: ${what} is not what was written`);
}
