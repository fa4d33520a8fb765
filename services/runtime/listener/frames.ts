import { status } from '@grpc/grpc-js';
import { invalidArgument } from '../errors.ts';
import { HttpError, tooLarge, type Exchange } from './exchange.ts';

/** Bytes before each message: flags, and the length as 32 bits. */
const HEAD_BYTES = 5;
/** The message is compressed. */
export const COMPRESSED = 1;

/** A message in its envelope, as gRPC, gRPC-Web and Connect have it. */
export interface Frame {
  flags: number;
  data: Buffer;
}

/**
 * Cuts the bytes of a body into messages. No more is held than has come, and no more than the limit.
 *
 * @throws {ServiceError} where a message is too large, or the body ends in the middle of one
 */
export async function* framesOf(
  chunks: AsyncIterable<Buffer>,
  { maxReceiveBytes, held }: Pick<Exchange['limits'], 'maxReceiveBytes' | 'held'>,
): AsyncGenerator<Frame, void, undefined> {
  let waiting: Buffer[] = [];
  let size = 0;
  /** Bytes that the next step needs. */
  let wanted = HEAD_BYTES;
  try {
    for await (const chunk of chunks) {
      held.take(chunk.length);
      size += chunk.length;
      waiting.push(chunk);
      while (size >= wanted) {
        const bytes = waiting.length === 1 ? waiting[0]! : Buffer.concat(waiting);
        const length = bytes.readUInt32BE(1);
        if (length > maxReceiveBytes) throw tooLarge(maxReceiveBytes);
        wanted = HEAD_BYTES + length;
        if (size < wanted) {
          waiting = [bytes];
          continue;
        }
        const frame = { flags: bytes[0]!, data: bytes.subarray(HEAD_BYTES, wanted) };
        waiting = [bytes.subarray(wanted)];
        held.give(wanted);
        size -= wanted;
        wanted = HEAD_BYTES;
        yield frame;
      }
    }
    if (size > 0) throw invalidArgument('body', 'ends in the middle of a message');
  } finally {
    held.give(size);
  }
}

/** A message in its envelope. */
export function frame(flags: number, data: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(HEAD_BYTES + data.length);
  bytes.writeUInt8(flags, 0);
  bytes.writeUInt32BE(data.length, 1);
  bytes.set(data, HEAD_BYTES);
  return bytes;
}

/** Refuses flags that the protocol does not have in a request. */
export function checkFlags({ flags }: Frame, isEncoded: boolean): void {
  if ((flags & ~COMPRESSED) !== 0) {
    throw invalidArgument('body', `has a message with the flags ${flags}, which no request has`);
  }
  if ((flags & COMPRESSED) !== 0 && !isEncoded) {
    throw new HttpError(
      400,
      status.INTERNAL,
      'a message says that it is compressed, and no header says how; name the encoding',
    );
  }
}
