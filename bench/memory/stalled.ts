import { once } from 'node:events';
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';
import { v1 } from '../../proto/load.ts';
import { frame } from '../qdrant/load.ts';

/** Streams at once, each over a connection of its own. */
export const STALLED_STREAMS = 32;

/** Between two queries of a stream: some are answered before the next one supersedes them. */
const PAUSE_MS = 5;

const { SearchStream } = v1.QueryService.service;

/**
 * Opens streams of searches, and sends queries as long as the server takes them, but reads no answer.
 *
 * @param search what each query asks
 * @param ms how long to send
 * @returns how many queries the server took, and what closes the streams
 */
export async function stall(
  address: string,
  search: object,
  ms: number,
): Promise<{ queries: number; close: () => void }> {
  const sessions: ClientHttp2Session[] = [];
  let queries = 0;
  const end = performance.now() + ms;
  const send = async (stream: ClientHttp2Stream): Promise<void> => {
    for (let sequence = 1; performance.now() < end && !stream.destroyed; sequence++) {
      const isTaken = stream.write(
        frame(SearchStream.requestSerialize({ sequence: String(sequence), search })),
      );
      queries++;
      const pause = sleep(isTaken ? PAUSE_MS : Math.max(0, end - performance.now()));
      await (isTaken ? pause : Promise.race([once(stream, 'drain'), once(stream, 'close'), pause]));
    }
  };
  const sending = Array.from({ length: STALLED_STREAMS }, () => {
    const session = connect(`http://${address}`);
    session.on('error', () => {});
    sessions.push(session);
    const stream = session.request({
      ':method': 'POST',
      ':path': SearchStream.path,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    stream.on('error', () => {});
    // Nobody listens to its data, so it takes one window of them and no more.
    return send(stream);
  });
  await Promise.all(sending);
  return { queries, close: () => sessions.forEach((session) => session.destroy()) };
}
