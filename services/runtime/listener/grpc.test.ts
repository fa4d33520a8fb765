import assert from 'node:assert/strict';
import { once } from 'node:events';
import { constants, type ClientHttp2Session } from 'node:http2';
import { after, test } from 'node:test';
import { deflateSync, gzipSync } from 'node:zlib';
import { status, type Metadata } from '@grpc/grpc-js';
import { v1 } from '../../../proto/load.ts';
import { decodeStatus } from '../../../proto/status.ts';
import { invalidArgument } from '../errors.ts';
import type { Call } from '../handler.ts';
import { serve, type Harness } from '../testing/harness.ts';
import {
  ask as send,
  counting,
  dial,
  framed,
  refusal,
  waiting,
  type Answer,
  type Asked,
} from './testing/http2-client.ts';

const stops: (() => unknown)[] = [];
after(async () => {
  for (const stop of stops.reverse()) await stop();
});

const SEARCH = '/scalingnote.v1.QueryService/Search';
const MAX_RECEIVE_BYTES = 1000;
const { Search } = v1.QueryService.service;

interface Served {
  session: ClientHttp2Session;
  harness: Harness;
}

/** A query service whose Search is the test's, and a connection to it that knows nothing of gRPC. */
async function start(
  search: (request: { query: string }, call: Call) => Promise<object>,
  options: Parameters<typeof serve>[1] = {},
): Promise<Served> {
  const harness = await serve({ Search: search }, { maxReceiveBytes: MAX_RECEIVE_BYTES, ...options });
  stops.push(harness.stop);
  return { harness, session: dialled(harness) };
}

function dialled({ server }: Harness): ClientHttp2Session {
  const session = dial(server.address);
  stops.push(() => session.destroy());
  return session;
}

const echo = async ({ query }: { query: string }): Promise<object> => ({
  hits: [{ documentId: query, score: 0.5 }],
});

const search = (query: string): Buffer => Search.requestSerialize({ query });

const ask = (session: ClientHttp2Session, asked: Asked = {}): Promise<Answer> => send(session, SEARCH, asked);

function hitOf({ data }: Answer): string | undefined {
  assert.equal(data[0], 0);
  assert.equal(data.readUInt32BE(1), data.length - 5);
  const { hits } = Search.responseDeserialize(data.subarray(5)) as unknown as {
    hits: { documentId: string }[];
  };
  return hits[0]?.documentId;
}

test('a message is read in whatever pieces it comes', async () => {
  const { session } = await start(echo);
  const message = framed(search('in pieces, é'));
  const cuts = [1, 3, 5, 6, message.length - 1];
  const ways = [
    [message],
    [...message].map((byte) => Buffer.of(byte)),
    ...cuts.map((at) => [message.subarray(0, at), message.subarray(at)]),
    [message.subarray(0, 2), message.subarray(2, 9), message.subarray(9)],
  ];
  for (const pieces of ways) {
    const answer = await ask(session, { pieces });
    assert.equal(hitOf(answer), 'in pieces, é');
    assert.deepEqual(Object.entries(answer.trailers ?? {}), [['grpc-status', '0']]);
    assert.equal(answer.headers['grpc-accept-encoding'], 'identity,deflate,gzip');
    assert.equal(answer.headers['grpc-encoding'], undefined);
  }
  const empty = await ask(session, { pieces: [framed(Buffer.alloc(0))] });
  assert.equal(hitOf(empty), '');
});

test('a body that is not one whole message is refused, and no handler hears of it', async () => {
  let calls = 0;
  const { session } = await start((request) => (calls++, echo(request)));
  const message = framed(search('q'));
  const cases: [string, Asked, number][] = [
    ['nothing', {}, status.UNIMPLEMENTED],
    ['two', { pieces: [message, message] }, status.UNIMPLEMENTED],
    ['two in one frame', { pieces: [Buffer.concat([message, message])] }, status.UNIMPLEMENTED],
    ['a byte more', { pieces: [message, Buffer.of(0)] }, status.UNIMPLEMENTED],
    ['a head that is cut off', { pieces: [message.subarray(0, 4)] }, status.INVALID_ARGUMENT],
    ['a head and nothing else', { pieces: [message.subarray(0, 5)] }, status.INVALID_ARGUMENT],
    ['a byte less', { pieces: [message.subarray(0, -1)] }, status.INVALID_ARGUMENT],
    ['compressed by nobody knows what', { pieces: [framed(search('q'), 1)] }, status.INTERNAL],
    [
      'compressed, it says, by nothing',
      { pieces: [framed(search('q'), 1)], headers: { 'grpc-encoding': 'identity' } },
      status.INTERNAL,
    ],
    ['a flag that there is not', { pieces: [framed(search('q'), 2)] }, status.INVALID_ARGUMENT],
    ['the flag of the end of gRPC-Web', { pieces: [framed(search('q'), 128)] }, status.INVALID_ARGUMENT],
    ['no message of protobuf', { pieces: [framed(Buffer.of(0xff))] }, status.INVALID_ARGUMENT],
  ];
  for (const [what, asked, code] of cases) {
    assert.equal(refusal(await ask(session, asked)), code, what);
  }
  assert.equal(calls, 0);
});

test('a message that is too large is refused by its head, and the rest is not waited for', async () => {
  const { session } = await start(echo);
  const largest = search('q'.repeat(MAX_RECEIVE_BYTES - 3));
  assert.equal(largest.length, MAX_RECEIVE_BYTES);
  assert.ok(hitOf(await ask(session, { pieces: [framed(largest)] })));
  const head = framed(Buffer.alloc(MAX_RECEIVE_BYTES + 1)).subarray(0, 5);
  for (const pieces of [[head], [head.subarray(0, 3), head.subarray(3)]]) {
    const answer = await ask(session, { pieces, stay: true });
    assert.equal(refusal(answer), status.RESOURCE_EXHAUSTED);
    assert.equal(answer.code, constants.NGHTTP2_NO_ERROR);
  }
  // The connection serves others.
  assert.equal(hitOf(await ask(session, { pieces: [framed(search('q'))] })), 'q');
});

test('compressed messages are inflated, up to the limit', async () => {
  let calls = 0;
  const { session } = await start((request) => (calls++, echo(request)));
  const compressed = (encoding: string, message: Uint8Array): Asked => ({
    headers: { 'grpc-encoding': encoding },
    pieces: [framed(message, 1)],
  });
  assert.equal(hitOf(await ask(session, compressed('gzip', gzipSync(search('zip'))))), 'zip');
  assert.equal(hitOf(await ask(session, compressed('deflate', deflateSync(search('flat'))))), 'flat');
  const plain = { headers: { 'grpc-encoding': 'gzip' }, pieces: [framed(search('plain'))] };
  assert.equal(hitOf(await ask(session, plain)), 'plain');
  const empty = compressed('gzip', Buffer.alloc(0));
  assert.equal(hitOf(await ask(session, empty)), '', 'an empty message needs no compression');
  const handled = calls;

  const bomb = gzipSync(search('q'.repeat(MAX_RECEIVE_BYTES * 100)));
  assert.ok(bomb.length < MAX_RECEIVE_BYTES);
  assert.equal(refusal(await ask(session, compressed('gzip', bomb))), status.RESOURCE_EXHAUSTED);
  const garbage = compressed('gzip', Buffer.from('no gzip'));
  assert.equal(refusal(await ask(session, garbage)), status.INVALID_ARGUMENT);
  const half = compressed('gzip', gzipSync(search('zip')).subarray(0, -9));
  assert.equal(refusal(await ask(session, half)), status.INVALID_ARGUMENT);
  const unknown = await ask(session, compressed('br', Buffer.alloc(9)));
  assert.equal(Number(unknown.headers['grpc-status']), status.UNIMPLEMENTED);
  assert.equal(unknown.headers['grpc-accept-encoding'], 'identity,deflate,gzip');
  assert.equal(calls, handled);
});

test('the hook is told how large a compressed message has become', async () => {
  const told: number[] = [];
  const inflated = (bytes: number): void => void told.push(bytes);
  const { session } = await start(echo, { hooks: { beforeCall: () => ({ inflated }) } });
  const message = search('q'.repeat(500));
  const headers = { 'grpc-encoding': 'gzip' };
  await ask(session, { headers, pieces: [framed(message)] });
  assert.deepEqual(told, []);
  await ask(session, { headers, pieces: [framed(gzipSync(message), 1)] });
  assert.deepEqual(told, [message.length]);
});

test('the time limit of a call is read as gRPC has it, or refused', async () => {
  let left: number | undefined;
  const { session } = await start(async (request, { deadline }) => {
    left = deadline === undefined ? undefined : deadline - Date.now();
    return echo(request);
  });
  const pieces = [framed(search('q'))];
  const good: [string, number][] = [
    ['2H', 7_200_000],
    ['3M', 180_000],
    ['60S', 60_000],
    ['70000m', 70_000],
    ['80000000u', 80_000],
    ['99999999H', 99_999_999 * 3_600_000],
  ];
  for (const [given, ms] of good) {
    const answer = await ask(session, { pieces, headers: { 'grpc-timeout': given } });
    assert.equal(hitOf(answer), 'q', given);
    assert.ok(left! <= ms && left! > ms - 50_000, `${given}: ${left}`);
  }
  await ask(session, { pieces });
  assert.equal(left, undefined);
  for (const given of ['', '5', 'm', '5s', '123456789m', '-5m', '5 m', '1.5S', '5m, 6m', '٣m', '5mm']) {
    const answer = await ask(session, { pieces, headers: { 'grpc-timeout': given } }).catch(() => undefined);
    // Node's client sends no header that is not Latin-1.
    if (!answer) continue;
    assert.equal(refusal(answer), status.INVALID_ARGUMENT, given);
    assert.match(decodeURIComponent(String(answer.headers['grpc-message'])), /^grpc-timeout: .*500m/);
  }
  assert.equal(left, undefined);
});

test('a deadline that passes ends the call, and the handler hears of it', async () => {
  const { handler, reason } = waiting();
  const { session } = await start(handler);
  const answer = await ask(session, { pieces: [framed(search('q'))], headers: { 'grpc-timeout': '30m' } });
  assert.equal(refusal(answer), status.DEADLINE_EXCEEDED);
  assert.equal((await reason).reason, 'DEADLINE_EXCEEDED');
});

test('the handler hears that its caller is gone, by a reset or with its connection', async () => {
  for (const leave of ['reset', 'connection'] as const) {
    const { handler, reached, reason } = waiting();
    const { ends, hooks } = counting();
    const { session } = await start(handler, { hooks });
    const stream = session.request({
      ':method': 'POST',
      ':path': SEARCH,
      'content-type': 'application/grpc',
    });
    stream.on('error', () => {});
    stream.end(framed(search('q')));
    await reached;
    if (leave === 'reset') stream.close(constants.NGHTTP2_CANCEL);
    else session.destroy();
    assert.equal((await reason).reason, 'CANCELLED', leave);
    await ends(1);
  }
});

test('a caller that goes away before its message is whole reaches no handler', async () => {
  let calls = 0;
  const { ends, hooks } = counting();
  const { session, harness } = await start((request) => (calls++, echo(request)), { hooks });
  const stream = session.request({ ':method': 'POST', ':path': SEARCH, 'content-type': 'application/grpc' });
  stream.on('error', () => {});
  stream.write(framed(search('q')).subarray(0, 6));
  await once(session, 'remoteSettings');
  stream.close(constants.NGHTTP2_CANCEL);
  await ends(1);
  assert.equal(hitOf(await ask(dialled(harness), { pieces: [framed(search('q'))] })), 'q');
  assert.equal(calls, 1);
});

test('what a caller sends beside its request comes as metadata', async () => {
  let seen: Metadata | undefined;
  const { session } = await start(async (request, { metadata }) => {
    seen = metadata;
    return echo(request);
  });
  const bytes = Buffer.from([0, 255, 1, 254]);
  await ask(session, {
    pieces: [framed(search('q'))],
    headers: {
      'grpc-timeout': '60S',
      'x-plain': 'a value',
      'x-padded-bin': bytes.toString('base64'),
      'x-bare-bin': bytes.toString('base64').replace(/=+$/, ''),
      'x-two-bin': `${bytes.toString('base64')},AQ`,
      'grpc-accept-encoding': 'gzip',
      'user-agent': 'a test',
    },
  });
  const names = Object.keys(seen!.getMap()).sort();
  assert.deepEqual(names, ['user-agent', 'x-bare-bin', 'x-padded-bin', 'x-plain', 'x-two-bin']);
  assert.deepEqual(seen!.get('x-plain'), ['a value']);
  assert.deepEqual(seen!.get('x-padded-bin'), [bytes]);
  assert.deepEqual(seen!.get('x-bare-bin'), [bytes]);
  assert.deepEqual(seen!.get('x-two-bin'), [bytes, Buffer.of(1)]);
});

test('an error has its message by the bytes of UTF-8, and its details without padding', async () => {
  const texts = ['plain', '100 % ü\n\u{1F600}~\u007f', 'é'];
  let text = '';
  const { session } = await start(() => Promise.reject(invalidArgument('query', text)));
  for (text of texts) {
    const answer = await ask(session, { pieces: [framed(search('q'))] });
    assert.equal(refusal(answer), status.INVALID_ARGUMENT);
    assert.match(String(answer.headers['grpc-message']), /^[ -~]*$/);
    assert.equal(decodeURIComponent(String(answer.headers['grpc-message'])), `query: ${text}`);
    const packed = String(answer.headers['grpc-status-details-bin']);
    assert.doesNotMatch(packed, /=/);
    assert.deepEqual(decodeStatus(Buffer.from(packed, 'base64')).violations, [
      { field: 'query', description: text },
    ]);
  }
});

test('an answer that can’t be encoded is an internal error', async () => {
  const { session } = await start(async () => ({ hits: 'none' }));
  assert.equal(refusal(await ask(session, { pieces: [framed(search('q'))] })), status.INTERNAL);
});

test('what is no call of a method of ours is told so', async () => {
  const { session } = await start(echo);
  const pieces = [framed(search('q'))];
  for (const type of ['application/grpc', 'application/grpc+proto', 'application/grpc;charset=utf-8']) {
    assert.equal(hitOf(await ask(session, { pieces, headers: { 'content-type': type } })), 'q', type);
  }
  for (const type of ['application/grpc+json', 'application/grpcc', 'text/plain', '']) {
    const answer = await ask(session, { pieces, headers: { 'content-type': type } });
    assert.equal(answer.headers[':status'], 415, type);
  }
  const get = await ask(session, { headers: { ':method': 'GET' } });
  assert.equal(get.headers[':status'], 405);
  for (const path of [`${SEARCH}?a=b`, '/scalingnote.v1.QueryService/Serch', '/', '/constructor']) {
    const answer = await ask(session, { pieces, headers: { ':path': path } });
    assert.equal(refusal(answer), status.UNIMPLEMENTED, path);
  }
});

test('each call passes the hook once, and its end is told once, however it ends', async () => {
  const { ends, hooks, arrived } = counting();
  const { session } = await start(echo, { hooks });
  const bodies = [[framed(search('q'))], [], [framed(Buffer.of(0xff))], [Buffer.of(9)]];
  for (const pieces of bodies) await ask(session, { pieces });
  await ends(bodies.length);
  assert.deepEqual(
    arrived,
    bodies.map(() => `grpc ${SEARCH}`),
  );
});
