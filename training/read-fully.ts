import { readSync } from 'node:fs';

/** One read returns at most 2 GiB. */
const MAX_READ_BYTES = 2 ** 30;

/** Fills an array from an open file. @throws {Error} where the file ends before that */
export function readFully(descriptor: number, target: ArrayBufferView, position = 0): void {
  const bytes = Buffer.from(target.buffer, target.byteOffset, target.byteLength);
  for (let at = 0; at < bytes.length;) {
    const read = readSync(descriptor, bytes, at, Math.min(MAX_READ_BYTES, bytes.length - at), position + at);
    if (read === 0) throw new Error('the file is shorter than it was');
    at += read;
  }
}
