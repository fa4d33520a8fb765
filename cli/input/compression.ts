import { Decompress, type ZstdError, ZstdErrorCode } from 'fzstd';
import unbzip2 from 'unbzip2-stream';
import { BrokenSource } from './broken-source.ts';
import { gunzip } from './gzip.ts';

/** How the bytes of a source are packed. */
export type Compression = 'none' | 'gzip' | 'zstd' | 'bzip2';

/** Bytes that are unpacked at a time: one may become a thousand, and all of them are in memory at once. */
const SLICE_BYTES = 4 * 1024;

/** Largest window that a zstd frame may ask for: what `zstd` itself accepts without a flag. */
const MAX_ZSTD_WINDOW = 128 * 1024 * 1024;

/** How the bytes are packed, by the first of them. */
export function compressionOf(head: Buffer): Compression {
  if (head[0] === 0x1f && head[1] === 0x8b) return 'gzip';
  if (isZstd(head)) return 'zstd';
  if (isBzip2(head)) return 'bzip2';
  return 'none';
}

/** "BZh", the level, and the mark of the first block or of the end. */
function isBzip2(head: Buffer): boolean {
  const mark = head.toString('hex', 4, 10);
  return (
    /^BZh[1-9]/.test(head.toString('latin1', 0, 4)) && (mark === '314159265359' || mark === '177245385090')
  );
}

function isZstd(head: Buffer): boolean {
  if (head.length < 4) return false;
  const magic = head.readUInt32LE(0);
  // A frame, or a frame to skip, which `pzstd` begins with.
  return magic === 0xfd2fb528 || (magic & 0xfffffff0) >>> 0 === 0x184d2a50;
}

/**
 * Unpacks, member after member. What is whole comes out before an error does.
 *
 * @throws {BrokenSource} where the packed bytes are damaged, cut off, or followed by something else
 */
export function unpack(bytes: AsyncIterable<Buffer>, compression: Compression): AsyncIterable<Buffer> {
  if (compression === 'gzip') return gunzip(sliced(bytes));
  if (compression === 'zstd') return unzstd(bytes);
  if (compression === 'bzip2') return unbzip(bytes);
  return bytes;
}

async function* unzstd(bytes: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const unpacked: Buffer[] = [];
  const stream = new Decompress((chunk) =>
    unpacked.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length)),
  );
  let first = true;
  let failure: ZstdError | undefined;
  const push = (slice: Uint8Array, final: boolean): void => {
    try {
      stream.push(slice, final);
    } catch (error) {
      failure = error as ZstdError;
    }
  };
  for await (const slice of sliced(bytes)) {
    if (first) requireWindow(slice);
    first = false;
    push(slice, false);
    yield* unpacked.splice(0);
    if (failure !== undefined) break;
  }
  if (failure === undefined) push(new Uint8Array(0), true);
  yield* unpacked.splice(0);
  if (failure === undefined) return;
  if (failure.code === ZstdErrorCode.UnexpectedEOF) throw BrokenSource.cut('zstd');
  if (failure.code === ZstdErrorCode.InvalidData) throw BrokenSource.followed('zstd');
  throw BrokenSource.damaged('zstd', failure.message);
}

/** The window is allocated as its frame's header says (RFC 8878, 3.1.1.1). */
function requireWindow(header: Buffer): void {
  const descriptor = header[4] ?? 0;
  const isFrame = header.length > 5 && header.readUInt32LE(0) === 0xfd2fb528;
  if (!isFrame || (descriptor & 0x20) !== 0) return;
  const exponent = 10 + (header[5]! >> 3);
  const window = 2 ** exponent * (1 + (header[5]! & 7) / 8);
  if (window <= MAX_ZSTD_WINDOW) return;
  throw new BrokenSource(
    `was packed with a zstd window of ${window} bytes, and ${MAX_ZSTD_WINDOW} are the most; pack it without "--long"`,
  );
}

async function* unbzip(bytes: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const unpacked: Buffer[] = [];
  let failure: Error | undefined;
  let atEnd = false;
  const stream = unbzip2()
    .on('data', (chunk) => unpacked.push(chunk))
    .on('error', (error) => (failure ??= error));
  for await (const slice of sliced(bytes)) {
    stream.write(slice);
    yield* unpacked.splice(0);
    if (failure !== undefined) break;
  }
  if (failure === undefined) {
    atEnd = true;
    stream.end();
    yield* unpacked.splice(0);
  }
  if (failure === undefined) return;
  if (/magic number|BZIP archive/.test(failure.message)) throw BrokenSource.followed('bzip2');
  // At the end it reads on where there are no more bytes.
  if (atEnd && !/crc32/.test(failure.message)) throw BrokenSource.cut('bzip2');
  throw BrokenSource.damaged('bzip2', failure.message);
}

async function* sliced(bytes: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  for await (const chunk of bytes) {
    for (let at = 0; at < chunk.length; at += SLICE_BYTES) yield chunk.subarray(at, at + SLICE_BYTES);
  }
}
