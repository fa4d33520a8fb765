import assert from 'node:assert/strict';
import { constants } from 'node:http2';
import { test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { v1 } from '../../proto/load.ts';
import type { AdmissionOptions } from '../../services/runtime/admission/admission.ts';
import {
  CALLS_IN_OVERLOAD,
  MAX_HEADER_LIST_BYTES,
  MAX_HEADERS,
  MAX_STREAMS_PER_CONNECTION,
} from '../../services/runtime/admission/sessions.ts';
import { until } from '../../services/runtime/testing/harness.ts';
import {
  callHeaders,
  CANCEL,
  CONTINUATION,
  DATA,
  END_HEADERS,
  frame,
  HEADERS,
  MAX_CONCURRENT_STREAMS,
  PING,
  reset,
  SETTINGS,
  windowUpdate,
} from '../load/frames.ts';
import { afterwards, startAdmitted } from './testing/admitted.ts';
import { head, RawPeer } from './testing/raw-peer.ts';

// What one connection can do to a service by frames alone. Node and nghttp2 end most of it by themselves; that they do,
// and that other connections are served meanwhile, is what stands here.

const { Search, SearchStream } = v1.QueryService.service;

/** A service whose searches never end, and whose Encode answers at once. */
async function start(options: Partial<AdmissionOptions> = {}) {
  const never = (): Promise<never> => new Promise(() => {});
  const started = await startAdmitted({ Search: never, SearchStream: never }, { slots: 2_000, ...options });
  const peer = (agrees = false): RawPeer => {
    const raw = new RawPeer(started.port, undefined, agrees).open();
    afterwards(() => raw.socket.destroy());
    return raw;
  };
  return { ...started, peer };
}

/** Sends the same over and over until the peer is cut off. */
async function flood(peer: RawPeer, frames: (turn: number) => Buffer[]): Promise<void> {
  for (let turn = 0; !peer.closed && peer.goaway === undefined; turn++) {
    peer.send(...frames(turn));
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test('a connection has so many streams, and what it opens beyond is refused as clients expect it', async () => {
  const { admission, peer, served, refusals } = await start();
  const raw = peer();
  await until(() => raw.settings.has(MAX_CONCURRENT_STREAMS));
  assert.equal(raw.settings.get(MAX_CONCURRENT_STREAMS), MAX_STREAMS_PER_CONNECTION);
  const beyond = 10;
  for (let each = 0; each < MAX_STREAMS_PER_CONNECTION + beyond; each++) {
    raw.send(head(Search.path, 1 + 2 * each));
  }
  await until(() => raw.resets.size === beyond);
  assert.ok([...raw.resets.values()].every((code) => code === constants.NGHTTP2_REFUSED_STREAM));
  assert.ok([...raw.resets.keys()].every((stream) => stream > 2 * MAX_STREAMS_PER_CONNECTION));
  // A slow machine may refuse some of them for being late.
  assert.equal(admission.open + refusals.length, MAX_STREAMS_PER_CONNECTION);
  await served();
});

test('in overload peers are told to keep calls to themselves, and afterwards that they need not', async () => {
  const { admission, peer, refusals } = await start({ slots: 1, places: 0 });
  const raw = peer(true);
  const most = (): number | undefined => raw.settings.get(MAX_CONCURRENT_STREAMS);
  await until(() => most() === MAX_STREAMS_PER_CONNECTION);
  raw.send(head(SearchStream.path, 1), head(Search.path, 3));
  await until(() => admission.open === 2);
  assert.equal(most(), MAX_STREAMS_PER_CONNECTION);
  raw.send(head(Search.path, 5));
  await until(() => refusals.length === 1);
  // All calls are one connection's, which keeps its stream besides.
  await until(() => most() === CALLS_IN_OVERLOAD + 1);
  await until(() => most() === MAX_STREAMS_PER_CONNECTION);
  assert.equal(admission.open, 2, 'what was open stays so');
});

test('calls that are reset as they begin end the connection, and hold nothing', async () => {
  const { admission, peer, served } = await start();
  const raw = peer();
  let stream = -1;
  await flood(raw, () =>
    Array.from({ length: 50 }, () => {
      stream += 2;
      return Buffer.concat([head(Search.path, stream), reset(stream, CANCEL)]);
    }),
  );
  await served();
  await until(() => admission.open === 0 && admission.queue.running === 0);
});

for (const [what, first, more] of [
  ['headers that never end', callHeaders(Search.path, 'localhost', {}), Buffer.from([0, 1, 120, 1, 118])],
  ['empty frames of headers', callHeaders(Search.path, 'localhost', {}), Buffer.alloc(0)],
] as const) {
  test(`${what} end the connection before any call begins`, async () => {
    const { admission, peer, served } = await start();
    const raw = peer();
    raw.send(frame(HEADERS, 0, 1, first));
    await flood(raw, () => Array.from({ length: 50 }, () => frame(CONTINUATION, 0, 1, more)));
    assert.equal(admission.open, 0);
    await served();
  });
}

for (const [what, frames] of [
  ['pings', () => frame(PING, 0, 0, Buffer.alloc(8))],
  ['settings', () => frame(SETTINGS, 0, 0, Buffer.alloc(0))],
] as const) {
  test(`${what} without end, whose answers are taken, end the connection`, async () => {
    const { admission, peer, served } = await start();
    const raw = peer();
    await flood(raw, () => Array.from({ length: 100 }, frames));
    await until(() => raw.closed);
    assert.equal(admission.sessions.ended.flood, 1);
    assert.equal(raw.goaway, constants.NGHTTP2_ENHANCE_YOUR_CALM);
    await served();
  });
}

test('pings whose answers nobody reads end the connection', async () => {
  const { admission, peer, served } = await start();
  const raw = peer();
  await until(() => raw.settings.size > 0);
  raw.socket.pause();
  while (admission.connections > 0) {
    raw.send(...Array.from({ length: 200 }, () => frame(PING, 0, 0, Buffer.alloc(8))));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await served();
});

for (const [what, more] of [
  ['data without bytes', () => frame(DATA, 0, 1, Buffer.alloc(0))],
  ['more and more room for an answer', () => windowUpdate(1, 2 ** 30)],
] as const) {
  test(`${what} for one call leaves the others alone`, async () => {
    const { peer, served } = await start();
    const raw = peer();
    raw.send(head(Search.path, 1));
    raw.send(...Array.from({ length: 20_000 }, more));
    await served();
  });
}

test('headers are limited in number and in size', async () => {
  const { admission, peer, served, refusals } = await start();
  const many = peer();
  const names = Array.from({ length: MAX_HEADERS + 1 }, (_, index): [string, string] => [`x-${index}`, 'v']);
  many.send(head(Search.path, 1, Object.fromEntries(names)));
  await until(() => many.resets.has(1));
  assert.equal(many.resets.get(1), constants.NGHTTP2_ENHANCE_YOUR_CALM);

  const long = peer();
  long.send(head(SearchStream.path, 1, { 'x-long': 'v'.repeat(MAX_HEADER_LIST_BYTES - 1_000) }));
  await until(() => admission.open === 1);
  const block = callHeaders(Search.path, 'localhost', { 'x-long': 'v'.repeat(MAX_HEADER_LIST_BYTES) });
  long.send(
    frame(HEADERS, 0, 3, block.subarray(0, 16_000)),
    frame(CONTINUATION, END_HEADERS, 3, block.subarray(16_000)),
  );
  await until(() => long.statuses.has(3));
  assert.equal(long.statuses.get(3), status.RESOURCE_EXHAUSTED);
  assert.deepEqual(
    refusals.map(({ reason }) => reason),
    ['HEADERS_TOO_LARGE'],
  );
  await served();
});

test('a hundred connections that say nothing, and a hundred that never call, end', async () => {
  const { admission, port, peer, served } = await start({ sessions: { firstCallMs: 200 } });
  const speechless = Array.from({ length: 100 }, peer);
  await served();
  await until(() => speechless.every(({ closed }) => closed));
  assert.ok(admission.sessions.ended.idle >= 100);
  // Those that do not even say what they speak are the listener's; see `listener.test.ts`.
  const silent = Array.from({ length: 100 }, () => new RawPeer(port));
  afterwards(() => silent.forEach(({ socket }) => socket.destroy()));
  await served();
});

test('one address has so many connections', async () => {
  const { admission, port, served } = await start();
  await served();
  const most = 1_000;
  const before = admission.connections;
  const peers = Array.from({ length: most }, () => new RawPeer(port));
  afterwards(() => peers.forEach(({ socket }) => socket.destroy()));
  await until(() => peers.filter(({ closed }) => closed).length === before);
  assert.equal(admission.connections, most);
  await served();
  peers[0]!.socket.destroy();
  await until(() => admission.connections < most);
  const next = new RawPeer(port).open();
  afterwards(() => next.socket.destroy());
  await until(() => next.settings.size > 0);
});
