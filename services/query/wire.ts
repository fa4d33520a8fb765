import { endianness } from 'node:os';

/** Writing Protocol Buffers by hand, where the library takes too long: https://protobuf.dev/programming-guides/encoding */

/** Wire types. */
const FIXED64 = 1;
const LENGTH_DELIMITED = 2;

/** Numbers of the wire are little-endian, as they are in memory nearly everywhere. */
export const IS_NATIVE = endianness() === 'LE';

/** Bytes of a number of variable length. */
export function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest >= 0x80; rest /= 0x80) size++;
  return size;
}

/** Bytes of a field below 16 of a given length, its head included. */
export function fieldSize(length: number): number {
  return 1 + varintSize(length) + length;
}

/** Writes the head of a field below 16 that has a length. @returns where to go on */
export function writeHead(bytes: Buffer, start: number, field: number, length: number): number {
  let at = start;
  bytes[at++] = (field << 3) | LENGTH_DELIMITED;
  let rest = length;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes[at++] = (rest % 0x80) | 0x80;
  bytes[at++] = rest;
  return at;
}

/** Bytes of a double, in a field below 16; nothing is written for 0. */
export function doubleSize(value: number): number {
  return Object.is(value, 0) ? 0 : 9;
}

/** @returns where to go on */
export function writeDouble(bytes: Buffer, start: number, field: number, value: number): number {
  if (doubleSize(value) === 0) return start;
  bytes[start] = (field << 3) | FIXED64;
  return bytes.writeDoubleLE(value, start + 1);
}
