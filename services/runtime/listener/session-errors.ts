import { constants, type ServerHttp2Session } from 'node:http2';

/** What HTTP/2 calls the errors that nghttp2 ends a connection with, by its own numbers (nghttp2.h). */
const CODES: Readonly<Record<number, number>> = {
  [-505]: constants.NGHTTP2_PROTOCOL_ERROR,
  [-510]: constants.NGHTTP2_STREAM_CLOSED,
  [-522]: constants.NGHTTP2_FRAME_SIZE_ERROR,
  [-523]: constants.NGHTTP2_COMPRESSION_ERROR,
  [-524]: constants.NGHTTP2_FLOW_CONTROL_ERROR,
};

/**
 * Tells the peer what it did wrong when its fault ends a connection: `node:http2` says INTERNAL_ERROR for every fault
 * that nghttp2 finds (RFC 9113, section 6.9.1, asks for FLOW_CONTROL_ERROR, say).
 *
 * What ends a session for another reason waits for a turn. `node:http2` ends one as it reads a GOAWAY, and nghttp2 must not
 * be told so while it reads: what stands behind in the same bytes then fails an assertion, which ends the process.
 */
export function nameFaults(session: ServerHttp2Session): void {
  const { destroy } = session;
  session.destroy = (error, code) => {
    const errno = error instanceof Error ? (error as NodeJS.ErrnoException).errno : undefined;
    const fault = code ?? CODES[errno ?? 0];
    if (errno === undefined) setImmediate(() => destroy.call(session, error, fault));
    else destroy.call(session, error, fault);
  };
}
