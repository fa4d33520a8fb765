import type { ExchangeLimits } from './exchange.ts';
import { checkFlags, COMPRESSED, framesOf } from './frames.ts';
import { inflate, type RequestEncoding } from './inflate.ts';

/**
 * The messages of a call, one after another as they are asked for.
 *
 * @throws {ServiceError} where the bytes are no whole messages, or a message is too large
 */
export async function* messagesOf(
  chunks: AsyncIterable<Buffer>,
  limits: ExchangeLimits,
  encoding: RequestEncoding | undefined,
  decode: (bytes: Buffer) => object,
): AsyncGenerator<object, void, undefined> {
  for await (const { flags, data } of framesOf(chunks, limits)) {
    checkFlags(flags, encoding !== undefined);
    const isCompressed = (flags & COMPRESSED) !== 0;
    yield decode(isCompressed ? await inflate(data, encoding, limits) : data);
  }
}
