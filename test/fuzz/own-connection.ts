import { connect } from 'node:net';
import { status as grpcStatus } from '@grpc/grpc-js';
import {
  ACK,
  CONTINUATION,
  END_HEADERS,
  END_STREAM,
  frame,
  FrameReader,
  GOAWAY,
  grpcStatusOf,
  HEADERS,
  opening,
  PING,
  RST_STREAM,
} from '../../bench/load/frames.ts';
import type { Outcome, Wire } from './case.ts';
import { httpStatusOf } from './hpack.ts';

/** The last frame of a case: whoever answers it has read all before it. */
const LAST_PING = frame(PING, 0, 0, Buffer.from('fuzzfuzz'));
/** What is silent for so long waits for more; we end our side then, and it has to end its own. */
const QUIET_MS = 60;
/** Bytes of an answer that are kept. */
const MAX_KEPT = 1 << 16;

/** Sends a case on a connection of its own, and sees it end. @param ms after which it hangs */
export function sendAlone(
  address: { host: string; port: number },
  wire: Wire & { on: 'http2' | 'tcp' },
  ms: number,
): Promise<Outcome> {
  return new Promise((resolve) => {
    const statuses: string[] = [];
    const body: Buffer[] = [];
    let kept = 0;
    let isOver = false;
    const timer = setTimeout(() => finish('HANG'), ms);
    let quiet: NodeJS.Timeout | undefined;
    const socket = connect({ ...address, noDelay: true, allowHalfOpen: true });
    const finish = (status?: string): void => {
      if (isOver) return;
      isOver = true;
      clearTimeout(timer);
      clearTimeout(quiet);
      socket.destroy();
      if (status !== undefined) statuses.push(status);
      resolve({ statuses, body: Buffer.concat(body) });
    };
    const sendAll = (parts: readonly Buffer[]): void => {
      if (parts.length <= 1 || wire.on === 'http2') socket.write(Buffer.concat(parts));
      else for (const part of parts) socket.write(part);
    };
    socket.once('error', () => finish('CLOSED'));
    socket.once('close', () => finish('CLOSED'));
    // It ends only once it has nothing more to say.
    socket.once('end', () => finish('CLOSED'));
    const endWhenQuiet = (after: number): void => {
      clearTimeout(quiet);
      quiet = setTimeout(() => socket.end(), after);
    };
    if (wire.on === 'http2') {
      const reader = new FrameReader((type, flags, _, payload) => {
        switch (type) {
          case HEADERS:
          case CONTINUATION: {
            const code = grpcStatusOf(payload);
            const http = httpStatusOf(payload);
            if (code !== undefined) statuses.push(grpcStatus[code] ?? `GRPC_${code}`);
            else if (http !== undefined && http !== '200') statuses.push(`HTTP_${http}`);
            else if (http === '200' && flags === (END_HEADERS | END_STREAM)) statuses.push('HTTP_200');
            return;
          }
          case RST_STREAM:
            statuses.push(`RST_${payload.readUInt32BE(0)}`);
            return;
          case GOAWAY:
            statuses.push(`GOAWAY_${payload.readUInt32BE(4)}`);
            // Node leaves such a connection open until a ping of the service has had no answer.
            return finish();
          case PING:
            if (flags & ACK && payload.toString('latin1') === 'fuzzfuzz') finish();
            return;
          default:
        }
      });
      socket.on('data', (chunk) => reader.read(chunk));
      socket.once('connect', () => {
        sendAll([opening(), ...wire.frames, LAST_PING]);
        endWhenQuiet(QUIET_MS);
      });
    } else {
      socket.on('data', (chunk) => {
        if (kept < MAX_KEPT) body.push(chunk);
        kept += chunk.length;
        statuses.push(...httpStatuses(chunk));
        // Of a whole request there is nothing more to wait for than what comes at once.
        endWhenQuiet(wire.whole ? 2 : QUIET_MS);
      });
      socket.once('connect', () => {
        sendAll(wire.chunks);
        if (!wire.whole) endWhenQuiet(QUIET_MS);
      });
    }
  });
}

/** The statuses of the answers that begin in a chunk of HTTP/1.1. */
function httpStatuses(chunk: Buffer): string[] {
  const text = chunk.toString('latin1');
  return Array.from(
    text.matchAll(/(?<![\s\S])HTTP\/1\.[01] (\d{3}) |\nHTTP\/1\.[01] (\d{3}) |\}HTTP\/1\.[01] (\d{3}) /g),
  ).map((match) => `HTTP_${match[1] ?? match[2] ?? match[3]}`);
}
