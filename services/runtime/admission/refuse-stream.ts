import { constants, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { type ServiceError, toGrpcError } from '../errors.ts';

/** Time for a caller that was refused to end its side of the call. */
const LINGER_MS = 1_000;

/** Whoever refuses thousands of calls a second has one error for all of them, and encodes it once. */
const encoded = new WeakMap<ServiceError, OutgoingHttpHeaders>();

/** Refused streams whose callers may still send, oldest first. */
const lingering = new Map<ServerHttp2Stream, number>();
let timer: NodeJS.Timeout | undefined;

/**
 * Answers a call of gRPC with a status and nothing else, and throws away what comes of it. A caller that has sent all ends
 * the stream by itself, which saves a reset for each refusal; the others are reset a moment later.
 */
export function refuseStream(stream: ServerHttp2Stream, error: ServiceError): void {
  endAnswered(stream, headersOf(error));
}

/** The same with headers that are there. */
export function endAnswered(stream: ServerHttp2Stream, headers: OutgoingHttpHeaders): void {
  if (stream.closed || stream.headersSent) return;
  stream.respond(headers, { endStream: true });
  linger(stream);
}

/** Throws away what still comes of a call that was answered, for a while. */
export function linger(stream: ServerHttp2Stream): void {
  if (stream.readableEnded) return;
  stream.resume();
  lingering.set(stream, performance.now());
  // Those that end by themselves, which is nearly all, are young garbage.
  stream.on('close', forget);
  timer ??= setInterval(sweep, LINGER_MS).unref();
}

function forget(this: ServerHttp2Stream): void {
  lingering.delete(this);
}

function headersOf(error: ServiceError): OutgoingHttpHeaders {
  let headers = encoded.get(error);
  if (!headers) {
    const { code, details, metadata } = toGrpcError(error);
    headers = {
      ':status': 200,
      'content-type': 'application/grpc+proto',
      'grpc-status': code,
      'grpc-message': encodeURI(details ?? ''),
      ...metadata?.toHttp2Headers(),
    };
    encoded.set(error, headers);
  }
  return headers;
}

function sweep(): void {
  const late = performance.now() - LINGER_MS;
  for (const [stream, since] of lingering) {
    if (since > late) continue;
    // One that has closed tells of it only when all that came was read, and here nobody does.
    if (stream.closed) stream.destroy();
    else stream.close(constants.NGHTTP2_NO_ERROR);
    lingering.delete(stream);
  }
  if (lingering.size > 0) return;
  clearInterval(timer);
  timer = undefined;
}
