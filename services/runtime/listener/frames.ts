import { status } from '@grpc/grpc-js';
import { invalidArgument, type ServiceError } from '../errors.ts';
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
    if (size > 0) throw cutOff();
  } finally {
    held.give(size);
  }
}

/**
 * The only message of a call, from bytes as they come. No more is held than has come, however small the pieces, and no
 * more than the limit.
 */
export class OneMessage {
  readonly #limits: Pick<Exchange['limits'], 'maxReceiveBytes' | 'held'>;
  readonly #isEncoded: boolean;
  /** What has come, with room behind it where it came in more than one piece. */
  #bytes: Buffer = EMPTY;
  #size = 0;
  /** Bytes of the message with its head; `undefined` while the head is not there. */
  #wanted: number | undefined;

  /** @param isEncoded - whether the call says how messages are compressed */
  constructor(limits: Pick<Exchange['limits'], 'maxReceiveBytes' | 'held'>, isEncoded: boolean) {
    this.#limits = limits;
    this.#isEncoded = isEncoded;
  }

  /** @throws {ServiceError} for flags that no message has, a message that is too large, and what comes after it */
  read(chunk: Buffer): void {
    this.#limits.held.take(chunk.length);
    const before = this.#size;
    this.#size += chunk.length;
    if (before === 0) this.#bytes = chunk;
    else {
      if (this.#size > this.#bytes.length) this.#grow();
      chunk.copy(this.#bytes, before);
    }
    if (this.#wanted === undefined && this.#size >= HEAD_BYTES) this.#wanted = this.#readHead();
    if (this.#size > (this.#wanted ?? HEAD_BYTES)) throw oneRequest('has more than one request');
  }

  /** The body has ended, and nothing is held any more. @throws {ServiceError} where the message is not whole */
  end(): Frame {
    const size = this.#size;
    const bytes = this.#bytes;
    this.drop();
    if (size === 0) throw oneRequest('has no request');
    if (size !== this.#wanted) throw cutOff();
    return { flags: bytes[0]!, data: bytes.subarray(HEAD_BYTES, size) };
  }

  /** Holds nothing any more. */
  drop(): void {
    this.#limits.held.give(this.#size);
    this.#size = 0;
    this.#bytes = EMPTY;
  }

  #readHead(): number {
    checkFlags(this.#bytes[0]!, this.#isEncoded);
    const length = this.#bytes.readUInt32BE(1);
    const { maxReceiveBytes } = this.#limits;
    if (length > maxReceiveBytes) throw tooLarge(maxReceiveBytes);
    return HEAD_BYTES + length;
  }

  #grow(): void {
    const wanted = this.#wanted ?? HEAD_BYTES;
    const room = Math.max(this.#size, Math.min(2 * this.#size, wanted));
    const grown = Buffer.allocUnsafe(room);
    this.#bytes.copy(grown);
    this.#bytes = grown;
  }
}

const EMPTY = Buffer.alloc(0);

function cutOff(): ServiceError {
  return invalidArgument('body', 'ends in the middle of a message');
}

/** A method that takes one request got none, or several. */
export function oneRequest(problem: string): HttpError {
  return new HttpError(400, status.UNIMPLEMENTED, `the call ${problem}; this method takes one`);
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
export function checkFlags(flags: number, isEncoded: boolean): void {
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
