import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type ClientHttp2Session, type IncomingHttpHeaders } from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';
import { decodeStatus } from '../../../../proto/status.ts';
import type { ServiceError } from '../../errors.ts';
import type { Call } from '../../handler.ts';
import type { Hooks } from '../seams.ts';

/** A connection that knows nothing of gRPC. */
export function dial(address: string): ClientHttp2Session {
  const session = connect(`http://${address}`);
  session.on('error', () => {});
  return session;
}

/** A message with its head. */
export function framed(message: Uint8Array, flags = 0): Buffer {
  const head = Buffer.from([flags, 0, 0, 0, 0]);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** What came of a call. */
export interface Answer {
  headers: IncomingHttpHeaders;
  trailers: IncomingHttpHeaders | undefined;
  data: Buffer;
  /** With which the stream was closed. */
  code: number;
  /** What went last, be it headers or trailers. */
  last: IncomingHttpHeaders;
}

/** A call. */
export interface Asked {
  headers?: Record<string, string>;
  /** What is sent, in so many frames. */
  pieces?: readonly Uint8Array[];
  /** Time between two of them. @default none */
  pauseMs?: number;
  /** Leaves the stream open. */
  stay?: boolean;
}

/** Calls a method, frame by frame, and waits until its stream is closed. */
export async function ask(session: ClientHttp2Session, path: string, asked: Asked = {}): Promise<Answer> {
  const { headers = {}, pieces = [], pauseMs = 0, stay = false } = asked;
  const stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...headers,
  });
  let first: IncomingHttpHeaders = {};
  let trailers: IncomingHttpHeaders | undefined;
  const chunks: Buffer[] = [];
  stream.on('response', (received) => (first = received));
  stream.on('trailers', (received) => (trailers = received));
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  stream.on('error', () => {});
  const closed = once(stream, 'close');
  for (const piece of pieces) {
    // Each in a frame of its own.
    await new Promise((sent) => stream.write(piece, sent));
    if (pauseMs > 0) await sleep(pauseMs);
  }
  if (!stay) stream.end();
  await closed;
  return {
    headers: first,
    trailers,
    data: Buffer.concat(chunks),
    code: stream.rstCode,
    last: trailers ?? first,
  };
}

/** The status of an answer that is nothing but an error: one block of headers that ends the stream. */
export function refusal(answer: Answer): number {
  const { headers, trailers, data } = answer;
  assert.equal(headers[':status'], 200);
  assert.equal(headers['content-type'], 'application/grpc+proto');
  assert.equal(trailers, undefined);
  assert.equal(data.length, 0);
  const code = Number(headers['grpc-status']);
  const rich = decodeStatus(Buffer.from(String(headers['grpc-status-details-bin']), 'base64'));
  assert.equal(rich.code, code);
  assert.equal(decodeURIComponent(String(headers['grpc-message'])), rich.message);
  return code;
}

/** Hooks that count. */
export function counting() {
  const arrived: string[] = [];
  const ended = { count: 0 };
  const hooks: Hooks = {
    beforeCall: ({ method, protocol }) => {
      arrived.push(`${protocol} ${method}`);
      return { done: () => void ended.count++ };
    },
  };
  /** So many calls have ended, and no more. */
  const ends = async (count: number): Promise<void> => {
    while (ended.count < count) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(ended.count, count);
  };
  return { arrived, hooks, ends };
}

/** A handler of one request that waits until its signal says why it should not. */
export function waiting(): {
  reached: Promise<void>;
  reason: Promise<ServiceError>;
  handler: (request: unknown, call: Call) => Promise<never>;
} {
  let reach = (): void => {};
  let tell: (reason: ServiceError) => void = () => {};
  return {
    reached: new Promise((resolve) => (reach = resolve)),
    reason: new Promise((resolve) => (tell = resolve)),
    handler: (_, { signal }) => {
      reach();
      return new Promise((_resolve, reject) =>
        signal.addEventListener('abort', () => {
          tell(signal.reason as ServiceError);
          reject(signal.reason as ServiceError);
        }),
      );
    },
  };
}
