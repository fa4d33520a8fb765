import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream, mkdtempSync, rmSync } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { CliError } from '../output/print.ts';
import { type Compression, compressionOf, unpack } from './compression.ts';

/** How the command line calls standard input. */
export const STANDARD_INPUT = '-';

/** How much of a source is looked at before anything is loaded: a block of bzip2 fills up to 900 000 bytes. */
const HEAD_BYTES = 1024 * 1024;

/** How much of the unpacked head is kept. */
const SAMPLE_BYTES = 4 * 1024 * 1024;

/** The first block of a file is a part of its identity. */
const BLOCK_BYTES = 64 * 1024;

/** What makes a file another one. */
export interface Stamp {
  path: string;
  size: number;
  inode: number;
  modified: number;
  /** sha256 of the first block. */
  head: string;
}

/** Bytes of a file or of standard input, packed or not. */
export class Input {
  /** As messages call it. */
  readonly name: string;
  readonly compression: Compression;
  /** Its first bytes, unpacked; empty once they are forgotten. */
  sample: Buffer;
  /** Whether the sample is all of it. */
  readonly whole: boolean;
  /** What makes the file another one; `undefined` for standard input. */
  readonly stamp: Stamp | undefined;
  /** Packed bytes that have been read. */
  bytesRead = 0;
  #head: Buffer;
  readonly #rest: AsyncIterator<Buffer> | undefined;

  private constructor(
    name: string,
    head: Buffer,
    sample: { bytes: Buffer; whole: boolean },
    origin: { stamp: Stamp } | { rest: AsyncIterator<Buffer> },
  ) {
    this.name = name;
    this.compression = compressionOf(head);
    this.sample = sample.bytes;
    this.whole = sample.whole;
    this.#head = head;
    this.stamp = 'stamp' in origin ? origin.stamp : undefined;
    this.#rest = 'rest' in origin ? origin.rest : undefined;
  }

  /** @throws {CliError} where it can't be read */
  static async file(path: string): Promise<Input> {
    try {
      const handle = await open(path);
      try {
        const { size, ino, mtimeMs } = await handle.stat();
        const head = Buffer.alloc(Math.min(size, HEAD_BYTES));
        const { bytesRead } = await handle.read(head, 0, head.length, 0);
        const bytes = head.subarray(0, bytesRead);
        const hash = createHash('sha256').update(bytes.subarray(0, BLOCK_BYTES)).digest('hex');
        const stamp = { path: resolve(path), size, inode: ino, modified: mtimeMs, head: hash };
        return new Input(path, bytes, await sampleOf(bytes, bytesRead === size), { stamp });
      } finally {
        await handle.close();
      }
    } catch (error) {
      throw new CliError(unreadable(path, error as NodeJS.ErrnoException), { cause: error });
    }
  }

  /** Standard input, which can be read once. */
  static async standardInput(stream: AsyncIterable<Buffer> = process.stdin): Promise<Input> {
    const chunks = stream[Symbol.asyncIterator]();
    const parts: Buffer[] = [];
    let length = 0;
    let ended = false;
    while (!ended && length < HEAD_BYTES) {
      const next = await chunks.next();
      ended = next.done === true;
      if (next.done === true) break;
      parts.push(next.value);
      length += next.value.length;
    }
    const head = Buffer.concat(parts);
    return new Input('standard input', head, await sampleOf(head, ended), { rest: chunks });
  }

  /** Lets go of the head of a file: there may be many. */
  forget(): void {
    this.sample = Buffer.alloc(0);
    if (this.stamp !== undefined) this.#head = Buffer.alloc(0);
  }

  /** Its bytes, unpacked. Standard input gives them once. @throws {BrokenSource} after all that is whole */
  bytes(): AsyncIterable<Buffer> {
    return unpack(this.#packed(), this.compression);
  }

  /**
   * A file with its unpacked bytes, for formats that are read from their end: the file itself where it is not packed,
   * else one that is removed with the process.
   */
  async unpackedFile(): Promise<string> {
    if (this.stamp !== undefined && this.compression === 'none') return this.stamp.path;
    const folder = mkdtempSync(join(tmpdir(), 'scalingnote-unpacked-'));
    process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
    const path = join(folder, 'source');
    await pipeline(Readable.from(this.bytes()), createWriteStream(path));
    return path;
  }

  async *#packed(): AsyncGenerator<Buffer> {
    this.bytesRead = 0;
    if (this.stamp !== undefined) {
      for await (const chunk of createReadStream(this.stamp.path) as AsyncIterable<Buffer>) {
        this.bytesRead += chunk.length;
        yield chunk;
      }
      return;
    }
    const head = this.#head;
    yield head;
    const rest = { [Symbol.asyncIterator]: () => this.#rest! };
    for await (const chunk of rest) yield chunk;
  }
}

/** Whether two files are the same, as far as that can be told without reading them. */
export function sameFile(one: Stamp, other: Stamp): boolean {
  return (
    one.path === other.path &&
    one.size === other.size &&
    one.inode === other.inode &&
    one.modified === other.modified &&
    one.head === other.head
  );
}

/** Whether there is a file, a folder or nothing of that name. */
export async function kindOf(path: string): Promise<'file' | 'folder' | undefined> {
  try {
    return (await stat(path)).isDirectory() ? 'folder' : 'file';
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new CliError(unreadable(path, error as NodeJS.ErrnoException), { cause: error });
  }
}

/** What the head of packed bytes unpacks to; a cut at its end is no error here. */
async function sampleOf(head: Buffer, isAll: boolean): Promise<{ bytes: Buffer; whole: boolean }> {
  const parts: Buffer[] = [];
  let length = 0;
  const source = (async function* () {
    yield head;
  })();
  try {
    for await (const part of unpack(source, compressionOf(head))) {
      parts.push(part);
      length += part.length;
      if (length > SAMPLE_BYTES) break;
    }
  } catch {
    isAll = false;
  }
  return { bytes: Buffer.concat(parts), whole: isAll && length <= SAMPLE_BYTES };
}

function unreadable(path: string, { code, message }: NodeJS.ErrnoException): string {
  return code === 'ENOENT' ? `there is no file ${path}` : `can't read ${path}: ${message}`;
}
