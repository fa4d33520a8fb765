import { StoreError } from '../errors.ts';
import type { PointWrite } from './points.ts';
import { Failure, isTooLarge } from './transport/failure.ts';

/** Points in one request, at most: enough to spread a round trip over. */
const MAX_POINTS = 512;

/** Bytes of one request, at most, where it has more than one point: an eighth of what Qdrant takes by default. */
const MAX_BYTES = 4 * 1024 * 1024;

/** Requests at the same time: one is written out while others are on their way and being indexed. */
const MAX_IN_FLIGHT = 4;

/**
 * Sends points in requests of bounded size, some at a time. Where the server refuses a request, it is halved until the
 * point is known that it will not take.
 *
 * @throws {StoreError} `STORE_INVALID_ARGUMENT`, naming the document; others may have been written
 */
export async function upsertAll(
  points: Iterable<PointWrite>,
  send: (chunk: readonly PointWrite[]) => Promise<void>,
): Promise<void> {
  const chunks = chunked(points)[Symbol.iterator]();
  const sendNext = async () => {
    for (let next = chunks.next(); !next.done; next = chunks.next()) await sendOrHalve(next.value, send);
  };
  const settled = await Promise.allSettled(Array.from({ length: MAX_IN_FLIGHT }, sendNext));
  for (const outcome of settled) if (outcome.status === 'rejected') throw outcome.reason;
}

function* chunked(points: Iterable<PointWrite>): Generator<PointWrite[], void, undefined> {
  let chunk: PointWrite[] = [];
  let size = 0;
  for (const point of points) {
    const bytes = Buffer.byteLength(point.json);
    if (chunk.length > 0 && (chunk.length === MAX_POINTS || size + bytes > MAX_BYTES)) {
      yield chunk;
      chunk = [];
      size = 0;
    }
    chunk.push(point);
    size += bytes;
  }
  if (chunk.length > 0) yield chunk;
}

async function sendOrHalve(
  chunk: readonly PointWrite[],
  send: (chunk: readonly PointWrite[]) => Promise<void>,
): Promise<void> {
  try {
    await send(chunk);
  } catch (error) {
    const refused =
      error instanceof Failure && (isTooLarge(error) || error.error.reason === 'STORE_INVALID_ARGUMENT');
    if (!refused) throw error;
    if (chunk.length === 1) throw blame(chunk[0]!, error);
    const middle = chunk.length >> 1;
    await sendOrHalve(chunk.slice(0, middle), send);
    await sendOrHalve(chunk.slice(middle), send);
  }
}

function blame({ what, json }: PointWrite, failure: Failure): StoreError {
  const why = isTooLarge(failure)
    ? `is ${Buffer.byteLength(json)} bytes as JSON, more than the server takes; split the text, or raise its max_request_size_mb`
    : `is refused by the server (status ${failure.status})`;
  return new StoreError('STORE_INVALID_ARGUMENT', `${what} ${why}`, { cause: failure.error });
}
