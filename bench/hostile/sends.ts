import { setMaxListeners } from 'node:events';
import { request as http1 } from 'node:http';
import { connect, type ClientHttp2Session } from 'node:http2';
import { gzipSync } from 'node:zlib';
import { v1 } from '../../proto/load.ts';
import { framed } from '../load/messages.ts';

/** What somebody may send who means harm. Each goes on until its signal is aborted. */
export interface Send {
  name: string;
  run(port: number, signal: AbortSignal): Promise<void>;
}

/** Calls under way at a time, and connections. */
const CALLERS = 200;
const CONNECTIONS = 20;
/** Zeros inflate a thousandfold: 15 KB become 15 MB, just below the largest message. */
const BOMB = gzipSync(Buffer.alloc(15 * 1024 * 1024), { level: 9 });
const JSON_BOMB = gzipSync(Buffer.from(JSON.stringify({ texts: [' '.repeat(15 * 1024 * 1024)] })), {
  level: 9,
});
const LARGEST_HEADER = 60_000;
const { Encode, Search, SearchStream } = v1.QueryService.service;
/** An answer of some 400 KB. */
const LARGE_ANSWER = framed(
  Encode.requestSerialize({ texts: Array.from({ length: 256 }, (_, index) => `text ${index}`) }),
);

export const SENDS: readonly Send[] = [
  {
    name: 'gzip bombs by gRPC',
    run: overHttp2(() => ({
      headers: {
        ':path': Search.path,
        'content-type': 'application/grpc',
        te: 'trailers',
        'grpc-encoding': 'gzip',
      },
      body: flagged(1, BOMB),
    })),
  },
  {
    name: 'gzip bombs by Connect',
    run: overHttp2(() => ({
      headers: { ':path': Encode.path, 'content-type': 'application/proto', 'content-encoding': 'gzip' },
      body: BOMB,
    })),
  },
  {
    name: 'gzip bombs by gRPC-Web',
    run: overHttp2(() => ({
      headers: {
        ':path': Encode.path,
        'content-type': 'application/grpc-web+proto',
        'grpc-encoding': 'gzip',
      },
      body: flagged(1, BOMB),
    })),
  },
  {
    name: 'gzip bombs by JSON over HTTP/1.1',
    run: overHttp1({ 'content-type': 'application/json', 'content-encoding': 'gzip' }, JSON_BOMB),
  },
  {
    name: 'headers of 60 KB',
    run: overHttp2(() => ({
      headers: {
        ':path': Search.path,
        'content-type': 'application/grpc',
        'x-long': 'v'.repeat(LARGEST_HEADER),
      },
      body: framed(Search.requestSerialize({ query: 'x' })),
    })),
  },
  {
    name: 'streams that say nothing',
    run: overHttp2(() => ({
      headers: { ':path': SearchStream.path, 'content-type': 'application/grpc', te: 'trailers' },
      body: undefined,
    })),
  },
  {
    name: 'bodies that do not come',
    run: overHttp2(() => ({
      headers: { ':path': Search.path, 'content-type': 'application/grpc', te: 'trailers' },
      body: undefined,
    })),
  },
  {
    name: 'answers that nobody takes, gRPC',
    run: overHttp2(
      () => ({
        headers: { ':path': Encode.path, 'content-type': 'application/grpc', te: 'trailers' },
        body: LARGE_ANSWER,
      }),
      { reads: false },
    ),
  },
  {
    name: 'answers that nobody takes, JSON over HTTP/1.1',
    run: overHttp1(
      { 'content-type': 'application/json' },
      Buffer.from(JSON.stringify({ texts: Array.from({ length: 256 }, (_, index) => `text ${index}`) })),
      { reads: false },
    ),
  },
];

function flagged(flags: number, bytes: Uint8Array): Buffer {
  const message = framed(bytes);
  message[0] = flags;
  return message;
}

/** Requests of HTTP/2, another for each that ends. */
function overHttp2(
  make: () => { headers: Record<string, string>; body: Buffer | undefined },
  { reads = true } = {},
): Send['run'] {
  return async (port, signal) => {
    const sessions = new Map<number, ClientHttp2Session>();
    const sessionOf = (place: number): ClientHttp2Session => {
      let session = sessions.get(place);
      if (!session || session.closed || session.destroyed) {
        session = connect(`http://127.0.0.1:${port}`, { settings: reads ? {} : { initialWindowSize: 0 } });
        session.on('error', () => {});
        sessions.set(place, session);
      }
      return session;
    };
    await many(signal, (caller) => {
      const { headers, body } = make();
      const stream = sessionOf(caller % CONNECTIONS).request(
        { ':method': 'POST', ...headers },
        { endStream: false },
      );
      stream.on('error', () => {});
      if (reads) stream.resume();
      if (body) stream.end(body);
      return new Promise((resolve) => stream.once('close', resolve));
    });
    for (const session of sessions.values()) session.destroy();
  };
}

/** Requests of HTTP/1.1, each over a connection of its own. */
function overHttp1(headers: Record<string, string>, body: Buffer, { reads = true } = {}): Send['run'] {
  return (port, signal) => {
    setMaxListeners(0, signal);
    return many(signal, () => {
      const request = http1({
        port,
        host: '127.0.0.1',
        method: 'POST',
        path: Encode.path,
        headers,
        agent: false,
        signal,
      });
      request.on('error', () => {});
      request.on('response', (response) => {
        if (reads) response.resume();
        response.on('error', () => {});
      });
      request.end(body);
      return new Promise((resolve) => request.once('close', resolve));
    });
  };
}

/** So many callers, each of which goes on after its request has ended. */
async function many(signal: AbortSignal, once: (caller: number) => Promise<unknown>): Promise<void> {
  const aborted = new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  const caller = async (number: number): Promise<void> => {
    while (!signal.aborted) {
      await Promise.race([once(number), aborted]);
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, (_, number) => caller(number)));
}
