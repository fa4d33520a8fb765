import { crc32, createInflateRaw } from 'node:zlib';
import { BrokenSource } from './broken-source.ts';

/** First bytes of a member (RFC 1952). */
const MAGIC = [0x1f, 0x8b, 8];
/** Parts that a header may have. */
const HEADER_CRC = 2;
const EXTRA = 4;
const NAME = 8;
const COMMENT = 16;
const RESERVED = 0xe0;
const HEADER_BYTES = 10;
const TRAILER_BYTES = 8;

/**
 * Unpacks gzip, member after member. (Node's own stream passes over what follows a member, and drops the end of the
 * member where what follows is damaged.)
 *
 * @param slices - short pieces: one may become a thousand times as long, and all of that is in memory at once
 * @throws {BrokenSource} after everything that is whole has come out
 */
export async function* gunzip(slices: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const input = new Pieces(slices);
  for (let member = 0; ; member++) {
    const first = await input.peek(1);
    if (first.length === 0) return;
    if (member > 0 && first[0] === 0) return requireZeros(input);
    if (!(await skipHeader(input))) {
      throw member > 0 ? BrokenSource.followed('gzip') : BrokenSource.damaged('gzip', 'incorrect header');
    }
    let crc = 0;
    let bytes = 0;
    for await (const chunk of inflate(input)) {
      crc = crc32(chunk, crc);
      bytes += chunk.length;
      yield chunk;
    }
    const trailer = await input.take(TRAILER_BYTES);
    if (trailer.readUInt32LE(0) !== crc) throw BrokenSource.damaged('gzip', 'incorrect checksum');
    if (trailer.readUInt32LE(4) !== bytes % 2 ** 32) throw BrokenSource.damaged('gzip', 'incorrect length');
  }
}

/** `tar` and tapes fill up with zeros, and gzip itself passes over them. */
async function requireZeros(input: Pieces): Promise<void> {
  for (let piece = await input.piece(); piece !== undefined; piece = await input.piece()) {
    if (piece.some((byte) => byte !== 0)) throw BrokenSource.followed('gzip');
  }
}

/** @returns whether there was a header */
async function skipHeader(input: Pieces): Promise<boolean> {
  const start = await input.peek(MAGIC.length);
  if (start.some((byte, index) => byte !== MAGIC[index])) return false;
  const flags = (await input.take(HEADER_BYTES))[3]!;
  if ((flags & RESERVED) !== 0) return false;
  if ((flags & EXTRA) !== 0) await input.take((await input.take(2)).readUInt16LE(0));
  if ((flags & NAME) !== 0) await skipText(input);
  if ((flags & COMMENT) !== 0) await skipText(input);
  if ((flags & HEADER_CRC) !== 0) await input.take(2);
  return true;
}

async function skipText(input: Pieces): Promise<void> {
  while ((await input.take(1))[0] !== 0);
}

async function* inflate(input: Pieces): AsyncGenerator<Buffer> {
  const stream = createInflateRaw();
  const unpacked: Buffer[] = [];
  const state: { failure?: NodeJS.ErrnoException; ended: boolean } = { ended: false };
  let given = 0;
  let wake = (): void => {};
  // An error destroys the stream with what is still in its buffer, so nothing may stay there.
  stream.push = (chunk: Buffer | null) => {
    if (chunk !== null) {
      unpacked.push(chunk);
      return true;
    }
    state.ended = true;
    wake();
    return false;
  };
  stream.on('error', (error) => {
    state.failure ??= error;
    wake();
  });
  try {
    while (!state.ended && state.failure === undefined) {
      const piece = await input.piece();
      // After its end the stream does not call back.
      await new Promise<void>((resolve) => {
        wake = resolve;
        if (piece === undefined) stream.end();
        else stream.write(piece, () => resolve());
      });
      yield* unpacked.splice(0);
      given += piece?.length ?? 0;
      if (state.ended && piece !== undefined)
        input.giveBack(piece.subarray(piece.length - (given - stream.bytesWritten)));
    }
  } finally {
    stream.destroy();
  }
  const { failure } = state;
  if (failure === undefined) return;
  throw failure.code === 'Z_BUF_ERROR'
    ? BrokenSource.cut('gzip')
    : BrokenSource.damaged('gzip', failure.message);
}

/** Reads pieces, or a number of bytes. */
class Pieces {
  readonly #source: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** The next piece, of any length above 0. */
  async piece(): Promise<Buffer | undefined> {
    while (this.#rest.length === 0) {
      const next = await this.#source.next();
      if (next.done === true) return undefined;
      this.#rest = next.value;
    }
    const piece = this.#rest;
    this.#rest = Buffer.alloc(0);
    return piece;
  }

  giveBack(piece: Buffer): void {
    this.#rest = piece;
  }

  /** The next bytes, which stay; fewer at the end. */
  async peek(count: number): Promise<Buffer> {
    while (this.#rest.length < count) {
      const next = await this.#source.next();
      if (next.done === true) break;
      this.#rest = Buffer.concat([this.#rest, next.value]);
    }
    return this.#rest.subarray(0, count);
  }

  /** The next bytes. @throws {BrokenSource} where there are fewer */
  async take(count: number): Promise<Buffer> {
    const taken = await this.peek(count);
    if (taken.length < count) throw BrokenSource.cut('gzip');
    this.#rest = this.#rest.subarray(count);
    return taken;
  }
}
