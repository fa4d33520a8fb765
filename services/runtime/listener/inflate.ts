import {
  constants,
  createBrotliDecompress,
  createGunzip,
  createInflate,
  gzip,
  brotliCompress,
} from 'node:zlib';
import { promisify } from 'node:util';
import { status } from '@grpc/grpc-js';
import { invalidArgument, ServiceError } from '../errors.ts';
import { HttpError, tooLarge, type HeldBytes } from './exchange.ts';

/** Compressions that are taken and given, in our order of preference. */
const ENCODINGS = ['gzip', 'br'] as const;
export type Encoding = (typeof ENCODINGS)[number];
/** Compressions of messages that come by gRPC; its answers are not compressed. */
export const GRPC_ENCODINGS = ['deflate', 'gzip'] as const;

const INFLATERS = { gzip: createGunzip, deflate: createInflate, br: createBrotliDecompress } as const;
export type RequestEncoding = keyof typeof INFLATERS;

/** Answers below this many bytes go as they are: one packet either way. */
const MIN_DEFLATED_BYTES = 1024;

const gzipped = promisify(gzip);
const brotlied = promisify(brotliCompress);
/** Brotli's default takes a hundred times as long as gzip; this one about as long. */
const BROTLI = { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } };

/**
 * The compression that a header names; `undefined` for none.
 *
 * @throws {ServiceError} for one that is not known
 */
export function encodingOf(header: string | undefined, name: string): Encoding | undefined {
  if (header === undefined || header === '' || header === 'identity') return undefined;
  const known = ENCODINGS.find((each) => each === header);
  if (known) return known;
  throw new HttpError(
    415,
    status.UNIMPLEMENTED,
    `${name} ${header.slice(0, 100)} is not taken; send ${ENCODINGS.join(', ')} or identity`,
  );
}

/** The compression for an answer, of those that the caller takes. */
export function acceptedEncoding(header: string | undefined): Encoding | undefined {
  if (header === undefined) return undefined;
  const names = header.split(',').flatMap((part) => {
    const [name = '', quality = ''] = part.split(';');
    return /^\s*q=0(\.0*)?\s*$/.test(quality) ? [] : [name.trim()];
  });
  const taken = new Set(names);
  return ENCODINGS.find((each) => taken.has(each));
}

/**
 * Bytes as they were before they were compressed. They are counted as they inflate.
 *
 * @throws {ServiceError} where they are too many, or not what the encoding says
 */
export async function inflate(
  bytes: Buffer,
  encoding: RequestEncoding | undefined,
  { maxReceiveBytes, held }: { maxReceiveBytes: number; held: Pick<HeldBytes, 'take' | 'give'> },
): Promise<Buffer> {
  if (encoding === undefined || bytes.length === 0) return bytes;
  const stream = INFLATERS[encoding]();
  stream.end(bytes);
  const chunks: Buffer[] = [];
  let size = 0;
  let taken = 0;
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > maxReceiveBytes) throw tooLarge(maxReceiveBytes);
      held.take(chunk.length);
      taken = size;
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof ServiceError) throw error;
    throw invalidArgument('body', `is not ${encoding}: ${(error as Error).message}`);
  } finally {
    stream.destroy();
    held.give(taken);
  }
  return Buffer.concat(chunks);
}

/** Bytes compressed, or as they are where that is no use. */
export async function deflate(
  bytes: Buffer,
  encoding: Encoding | undefined,
): Promise<{ bytes: Buffer; encoding: Encoding | undefined }> {
  if (encoding === undefined || bytes.length < MIN_DEFLATED_BYTES) return { bytes, encoding: undefined };
  return { bytes: await (encoding === 'gzip' ? gzipped(bytes) : brotlied(bytes, BROTLI)), encoding };
}
