import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { crc32 } from 'node:zlib';

/** The end of every file: its index is there in full. Another layout of the file needs another mark. */
const MARK = Buffer.from('SNMIR001');

/** Length and checksum of the index, and the mark. */
const TRAILER_BYTES = 4 + 4 + MARK.length;

/** Numbers begin at a multiple of their size, whatever is before them. */
const ALIGNMENT = 8;

/** A part of the file. */
interface Part {
  at: number;
  bytes: number;
  /** CRC-32 of the bytes. */
  sum: number;
}

interface Index {
  head: unknown;
  parts: Part[];
}

/** The file is not what was written. */
export class BadSnapshot extends Error {
  override readonly name = 'BadSnapshot';
}

/** Writes parts one after the other, each with a checksum; the last is an index, without which the file is none. */
export class SnapshotWriter {
  readonly file: number;
  readonly #parts: Part[] = [];
  #at = 0;

  /** @param flags of `open` */
  constructor(path: string, flags: string, mode: number) {
    this.file = openSync(path, flags, mode);
  }

  add(part: ArrayBufferView): void {
    const bytes = bytesOf(part);
    this.#parts.push({ at: this.#at, bytes: bytes.length, sum: sumOf(bytes) });
    this.#write(bytes);
    this.#write(Buffer.alloc((ALIGNMENT - (this.#at % ALIGNMENT)) % ALIGNMENT));
  }

  /** @param head what the reader gets first */
  finish(head: unknown): void {
    const index = Buffer.from(JSON.stringify({ head, parts: this.#parts } satisfies Index));
    const trailer = Buffer.alloc(TRAILER_BYTES);
    trailer.writeUInt32LE(index.length, 0);
    trailer.writeUInt32LE(sumOf(index), 4);
    MARK.copy(trailer, 8);
    this.#write(index);
    this.#write(trailer);
  }

  close(): void {
    closeSync(this.file);
  }

  #write(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length;) {
      const written = writeSync(this.file, bytes, done, bytes.length - done);
      done += written;
      this.#at += written;
    }
  }
}

/** Reads the parts in the order in which they were written. Node maps no files: a part is read in one go. */
export class SnapshotReader {
  readonly head: unknown;
  readonly #file: number;
  readonly #parts: readonly Part[];
  #next = 0;

  /** @throws {BadSnapshot} and whatever opening the file throws */
  constructor(path: string) {
    this.#file = openSync(path, 'r');
    try {
      const { head, parts } = this.#index();
      this.head = head;
      this.#parts = parts;
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** The next part, as bytes at a place that fits every kind of number. @throws {BadSnapshot} */
  bytes(): Uint8Array<ArrayBuffer> {
    const part = this.#parts[this.#next++];
    if (!part) throw new BadSnapshot('it ends too early');
    const bytes = new Uint8Array(part.bytes);
    this.#read(bytes, part.at);
    if (sumOf(bytes) !== part.sum)
      throw new BadSnapshot(`the bytes from ${part.at} on are not what was written`);
    return bytes;
  }

  floats(): Float32Array<ArrayBuffer> {
    return new Float32Array(this.bytes().buffer);
  }

  doubles(): Float64Array<ArrayBuffer> {
    return new Float64Array(this.bytes().buffer);
  }

  numbers(): Uint32Array<ArrayBuffer> {
    return new Uint32Array(this.bytes().buffer);
  }

  codes(): Int8Array<ArrayBuffer> {
    return new Int8Array(this.bytes().buffer);
  }

  json(): unknown {
    return JSON.parse(Buffer.from(this.bytes().buffer).toString());
  }

  close(): void {
    closeSync(this.#file);
  }

  #index(): Index {
    const { size } = fstatSync(this.#file);
    const trailer = Buffer.alloc(TRAILER_BYTES);
    if (size < TRAILER_BYTES) throw new BadSnapshot('it is cut off');
    this.#read(trailer, size - TRAILER_BYTES);
    if (trailer.compare(MARK, 0, MARK.length, 8) !== 0)
      throw new BadSnapshot('its end is missing, or of another version');
    const length = trailer.readUInt32LE(0);
    if (length > size - TRAILER_BYTES) throw new BadSnapshot('it is cut off');
    const index = Buffer.alloc(length);
    this.#read(index, size - TRAILER_BYTES - length);
    if (sumOf(index) !== trailer.readUInt32LE(4)) throw new BadSnapshot('its index is not what was written');
    return JSON.parse(index.toString()) as Index;
  }

  #read(into: Uint8Array, at: number): void {
    for (let done = 0; done < into.length;) {
      const read = readSync(this.#file, into, done, into.length - done, at + done);
      if (read === 0) throw new BadSnapshot('it is cut off');
      done += read;
    }
  }
}

/** zlib answers 0 for no bytes, whatever it begins with. */
function sumOf(bytes: Uint8Array): number {
  return bytes.length === 0 ? 0 : crc32(bytes);
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
