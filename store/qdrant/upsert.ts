import { StoreError } from '../errors.ts';
import type { PointWrite } from './points.ts';
import { Failure, isTooLarge } from './transport/failure.ts';

/** Most points in one request: enough to share the cost of a round trip. */
const MAX_POINTS = 512;

/** Most bytes in a request of several points: an eighth of Qdrant's default limit. */
const MAX_BYTES = 4 * 1024 * 1024;

/** Requests in flight: one is written out while others travel and are indexed. */
const MAX_IN_FLIGHT = 4;

/**
 * If the server ends the connection of a request of at least this many bytes, the request may be too large.
 */
const SUSPICIOUS_BYTES = 1024 * 1024;

/** The receiver of points. */
export interface Target {
  send(chunk: readonly PointWrite[]): Promise<void>;
  /** Whether the server answers other requests. */
  answers(): Promise<boolean>;
}

/**
 * Sends points in requests of bounded size, some at a time. Halves a request that the server rejects, until
 * it finds the rejected point.
 *
 * @throws {StoreError} `STORE_INVALID_ARGUMENT`, naming the document; other documents may have been written
 */
export async function upsertAll(points: Iterable<PointWrite>, target: Target): Promise<void> {
  const chunks = chunked(points)[Symbol.iterator]();
  const sendNext = async () => {
    for (let next = chunks.next(); !next.done; next = chunks.next()) await sendOrHalve(next.value, target);
  };
  const settled = await Promise.allSettled(Array.from({ length: MAX_IN_FLIGHT }, sendNext));
  for (const outcome of settled) if (outcome.status === 'rejected') throw outcome.reason;
}

function* chunked(points: Iterable<PointWrite>): Generator<PointWrite[], void, undefined> {
  let chunk: PointWrite[] = [];
  let size = 0;
  for (const point of points) {
    const bytes = point.json.length;
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

async function sendOrHalve(chunk: readonly PointWrite[], target: Target): Promise<void> {
  try {
    await target.send(chunk);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const tooLarge = isTooLarge(error) || (await wasTooLarge(chunk, error, target));
    if (!tooLarge && error.error.reason !== 'STORE_INVALID_ARGUMENT') throw error;
    if (chunk.length === 1) throw blame(chunk[0]!, error, tooLarge);
    const middle = chunk.length >> 1;
    await sendOrHalve(chunk.slice(0, middle), target);
    await sendOrHalve(chunk.slice(middle), target);
  }
}

/** Qdrant sometimes ends the connection while the body of a request that is too large is still on its way. */
async function wasTooLarge(
  chunk: readonly PointWrite[],
  { cutOff }: Failure,
  target: Target,
): Promise<boolean> {
  const bytes = chunk.reduce((sum, { json }) => sum + json.length, 0);
  return cutOff && bytes >= SUSPICIOUS_BYTES && (await target.answers());
}

function blame({ what, json }: PointWrite, { error: cause, status }: Failure, tooLarge: boolean): StoreError {
  const why = tooLarge
    ? `is ${json.length} bytes as JSON, more than the server accepts; split the text, or raise its max_request_size_mb`
    : `was rejected by the server (status ${status})`;
  return new StoreError('STORE_INVALID_ARGUMENT', `${what} ${why}`, { cause });
}
