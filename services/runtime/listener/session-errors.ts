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
 */
export function nameFaults(session: ServerHttp2Session): void {
  const { destroy } = session;
  session.destroy = (error, code) => {
    const fault =
      code === undefined && error instanceof Error
        ? CODES[(error as NodeJS.ErrnoException).errno ?? 0]
        : code;
    destroy.call(session, error, fault);
  };
}
