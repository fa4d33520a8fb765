import assert from 'node:assert/strict';
import { once } from 'node:events';
import { constants, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import { after, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { status } from '@grpc/grpc-js';
import type { QueryServiceHandlers } from '../../../proto/generated/scalingnote/v1/QueryService.ts';
import { v1 } from '../../../proto/load.ts';
import { decodeStatus } from '../../../proto/status.ts';
import { invalidArgument, type ServiceError } from '../errors.ts';
import type { Implementation } from '../handler.ts';
import { serve } from '../testing/harness.ts';
import { ask, counting, dial, framed, refusal, type Answer, type Asked } from './testing/http2-client.ts';

const stops: (() => unknown)[] = [];
after(async () => {
  for (const stop of stops.reverse()) await stop();
});

const STREAM = '/scalingnote.v1.QueryService/SearchStream';
const WATCH = '/grpc.health.v1.Health/Watch';
const MAX_RECEIVE_BYTES = 1000;
const { SearchStream } = v1.QueryService.service;

type Handler = Implementation<QueryServiceHandlers>['SearchStream'];

async function start(
  handler: Handler,
  options: Parameters<typeof serve>[1] = {},
): Promise<ClientHttp2Session> {
  const harness = await serve({ SearchStream: handler }, { maxReceiveBytes: MAX_RECEIVE_BYTES, ...options });
  stops.push(harness.stop);
  const session = dial(harness.server.address);
  stops.push(() => session.destroy());
  return session;
}

const echo: Handler = async ({ requests, write }) => {
  for await (const { sequence } of requests) await write({ sequence });
};

const query = (sequence: number): Buffer =>
  SearchStream.requestSerialize({ sequence: String(sequence), search: { query: 'é' } });
const queries = (...sequences: number[]): Buffer =>
  Buffer.concat(sequences.map((each) => framed(query(each))));

/** The sequences of the answers. */
function answered({ data }: Answer): number[] {
  const sequences: number[] = [];
  for (let at = 0; at < data.length;) {
    assert.equal(data[at], 0);
    const end = at + 5 + data.readUInt32BE(at + 1);
    const { sequence } = SearchStream.responseDeserialize(data.subarray(at + 5, end));
    sequences.push(Number(sequence));
    at = end;
  }
  return sequences;
}

/** The status that a call ended with. */
const codeOf = ({ last }: Answer): number => Number(last['grpc-status']);

test('messages are read in whatever pieces they come', async () => {
  const session = await start(echo);
  const bytes = queries(1, 2, 3);
  const ways = [
    [bytes],
    [...bytes].map((byte) => Buffer.of(byte)),
    [1, 4, 5, 6, 20]
      .map((at, index, all) => bytes.subarray(all[index - 1] ?? 0, at))
      .concat(bytes.subarray(20)),
  ];
  for (const pieces of ways) {
    const answer = await ask(session, STREAM, { pieces });
    assert.deepEqual(answered(answer), [1, 2, 3]);
    assert.deepEqual(Object.entries(answer.trailers ?? {}), [['grpc-status', '0']]);
  }
  const none = await ask(session, STREAM, {});
  assert.deepEqual([answered(none), codeOf(none)], [[], 0]);
});

test('a message that is no message ends the stream after those before it', async () => {
  const session = await start(echo);
  const compressed = framed(gzipSync(query(2)), 1);
  const bomb = framed(gzipSync(Buffer.alloc(100 * MAX_RECEIVE_BYTES)), 1);
  const gzip = { 'grpc-encoding': 'gzip' };
  const cases: [string, Uint8Array, Asked['headers'], number][] = [
    ['a head that is cut off', queries(2).subarray(0, 3), {}, status.INVALID_ARGUMENT],
    ['a message that is cut off', queries(2).subarray(0, -1), {}, status.INVALID_ARGUMENT],
    ['compressed by nobody knows what', compressed, {}, status.INTERNAL],
    ['a flag that there is not', framed(query(2), 4), {}, status.INVALID_ARGUMENT],
    ['too large', framed(Buffer.alloc(MAX_RECEIVE_BYTES + 1)), {}, status.RESOURCE_EXHAUSTED],
    ['too large once it is inflated', bomb, gzip, status.RESOURCE_EXHAUSTED],
    ['not what it says', framed(Buffer.from('no gzip'), 1), gzip, status.INVALID_ARGUMENT],
  ];
  for (const [what, bytes, headers, code] of cases) {
    // What came before is on its way before the rest comes.
    const answer = await ask(session, STREAM, {
      pieces: [queries(1), bytes],
      ...(headers && { headers }),
      pauseMs: 20,
    });
    assert.deepEqual(answered(answer), [1], what);
    assert.equal(codeOf(answer), code, what);
    const packed = Buffer.from(String(answer.last['grpc-status-details-bin']), 'base64');
    assert.equal(decodeStatus(packed).code, code, what);
    const alone = await ask(session, STREAM, { pieces: [bytes], ...(headers && { headers }) });
    assert.equal(refusal(alone), code, `${what}, alone`);
  }
  const good = await ask(session, STREAM, { pieces: [queries(1), compressed], headers: gzip });
  assert.deepEqual(answered(good), [1, 2]);
});

test('an error comes after what was written, or alone where nothing was', async () => {
  const session = await start(async ({ requests, write }) => {
    for await (const { sequence } of requests) {
      if (sequence === '2') throw invalidArgument('sequence', 'is é');
      await write({ sequence });
    }
  });
  const after = await ask(session, STREAM, { pieces: [queries(1, 2)] });
  assert.deepEqual(answered(after), [1]);
  assert.equal(after.headers['grpc-status'], undefined);
  assert.equal(codeOf(after), status.INVALID_ARGUMENT);
  assert.equal(after.last['grpc-message'], 'sequence: is %C3%A9');
  assert.equal(refusal(await ask(session, STREAM, { pieces: [queries(2)] })), status.INVALID_ARGUMENT);
});

test('a call that has ended does not wait for the rest of its requests', async () => {
  const { ends, hooks } = counting();
  const session = await start(
    async ({ requests, write }) => {
      for await (const { sequence } of requests) {
        await write({ sequence });
        if (sequence === '1') return;
        throw invalidArgument('sequence', 'is another');
      }
    },
    { hooks },
  );
  const well = await ask(session, STREAM, { pieces: [queries(1)], stay: true });
  assert.deepEqual([answered(well), codeOf(well)], [[1], 0]);
  const ill = await ask(session, STREAM, { pieces: [queries(2)], stay: true });
  assert.deepEqual([answered(ill), codeOf(ill)], [[2], status.INVALID_ARGUMENT]);
  for (const { code } of [well, ill]) assert.equal(code, constants.NGHTTP2_NO_ERROR);
  await ends(2);
});

/** A stream of requests, the first of which is answered. */
async function begun(
  session: ClientHttp2Session,
  headers: Record<string, string>,
): Promise<ClientHttp2Stream> {
  const stream = session.request({
    ':method': 'POST',
    ':path': STREAM,
    'content-type': 'application/grpc',
    ...headers,
  });
  stream.on('error', () => {});
  stream.write(queries(1));
  await new Promise((resolve) => stream.once('data', resolve));
  return stream;
}

/** A handler that echoes until its requests end or break, and says then why its signal was aborted. */
function ending(): { handler: Handler; ended: Promise<{ why: string; inTime: boolean }> } {
  let tell: (how: { why: string; inTime: boolean }) => void = () => {};
  const ended = new Promise<{ why: string; inTime: boolean }>((resolve) => (tell = resolve));
  const handler: Handler = async ({ requests, write, signal }) => {
    try {
      for await (const { sequence } of requests) await write({ sequence });
    } catch {
      // The signal says why.
    }
    const inTime = signal.aborted;
    if (!inTime) await new Promise((resolve) => signal.addEventListener('abort', resolve));
    tell({ why: (signal.reason as ServiceError).reason, inTime });
  };
  return { handler, ended };
}

test('the handler hears that its caller is gone', async () => {
  for (const type of ['application/grpc', 'application/connect+proto']) {
    for (const how of ['cancel', 'reset', 'connection'] as const) {
      const { ends, hooks } = counting();
      const { handler, ended } = ending();
      const session = await start(handler, { hooks });
      const stream = await begun(session, { 'content-type': type });
      // Node's client ends its side in the frame before it cancels, so that the requests do end.
      if (how === 'cancel') stream.close(constants.NGHTTP2_CANCEL);
      else if (how === 'reset') stream.destroy(new Error('a client that fails'));
      else session.destroy();
      const { why, inTime } = await ended;
      assert.equal(why, 'CANCELLED', `${type}, ${how}`);
      if (how === 'connection')
        assert.ok(inTime, `${type}: its requests end as if the caller had ended them`);
      await ends(1);
    }
  }
});

test('a deadline that passes ends the stream, and the handler hears of it', async () => {
  const { ends, hooks } = counting();
  const { handler, ended } = ending();
  const session = await start(handler, { hooks });
  const stream = await begun(session, { 'grpc-timeout': '300m' });
  const [last] = (await once(stream, 'trailers')) as [Record<string, unknown>];
  assert.equal(last['grpc-status'], String(status.DEADLINE_EXCEEDED));
  assert.deepEqual(await ended, { why: 'DEADLINE_EXCEEDED', inTime: true });
  await ends(1);
});

test('an answer that can’t be encoded ends the stream with an error', async () => {
  const session = await start(async ({ write }) => {
    await write({ sequence: '1' });
    await write({ result: 'none' } as never);
  });
  const answer = await ask(session, STREAM, { pieces: [queries(1)] });
  assert.deepEqual(answered(answer), [1]);
  assert.equal(codeOf(answer), status.INTERNAL);
});

test('a method that answers with a stream takes one request', async () => {
  const session = await start(echo);
  const ask2 = (pieces: Uint8Array[]): Promise<Answer> => ask(session, WATCH, { pieces });
  const empty = framed(Buffer.alloc(0));
  for (const pieces of [[], [empty, empty], [Buffer.concat([empty, empty])]]) {
    assert.equal(refusal(await ask2(pieces)), status.UNIMPLEMENTED);
  }
  assert.equal(refusal(await ask2([framed(Buffer.of(0xff))])), status.INVALID_ARGUMENT);
  const answer = await ask(session, WATCH, { pieces: [empty], headers: { 'grpc-timeout': '100m' } });
  assert.deepEqual([...answer.data], [0, 0, 0, 0, 2, 8, 1]);
  assert.equal(codeOf(answer), status.DEADLINE_EXCEEDED);
});
