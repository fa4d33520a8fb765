import assert from 'node:assert/strict';
import { connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { v1 } from '../../proto/load.ts';
import { startHarness } from '../../services/document/testing/harness.ts';
import {
  Admission,
  type AdmissionOptions,
  MAX_OPEN_STREAMS,
} from '../../services/runtime/admission/admission.ts';
import { MAX_UNTAKEN_BYTES } from '../../services/runtime/admission/answers.ts';
import { shareOfPeer } from '../../services/runtime/admission/shares.ts';
import { callUnary, serve, until } from '../../services/runtime/testing/harness.ts';
import { DATA, END_STREAM, frame } from '../load/frames.ts';
import { framed } from '../load/messages.ts';
import { afterwards, startAdmitted } from './testing/admitted.ts';
import { head, RawPeer } from './testing/raw-peer.ts';

// What one peer can hold of what all share.

const { Encode, Search } = v1.QueryService.service;

/** An answer that no buffer of the kernel takes as a whole. */
const LARGE = { hits: [{ documentId: 'd', text: 'x'.repeat(12 << 20) }] };

function start(options: Partial<AdmissionOptions> = {}) {
  const handlers = {
    Search: () => Promise.resolve(LARGE),
    SearchStream: () => new Promise<never>(() => {}),
  };
  return startAdmitted(handlers, { slots: 2, ...options });
}

/** Asks for the large answer by gRPC and takes nothing of it. */
function askAndWait(port: number): void {
  const session = connectHttp2(`http://127.0.0.1:${port}`);
  afterwards(() => session.destroy());
  session.on('error', () => {});
  const stream = session.request({
    ':method': 'POST',
    ':path': Search.path,
    'content-type': 'application/grpc',
    te: 'trailers',
  });
  stream.on('error', () => {});
  stream.end(framed(Search.requestSerialize({ collection: 'docs', query: 'x' })));
}

/** The same by JSON over HTTP/1.1. */
function askByJson(port: number): void {
  const socket = connect(port, '127.0.0.1');
  afterwards(() => socket.destroy());
  socket.on('error', () => {});
  socket.pause();
  const body = JSON.stringify({ collection: 'docs', query: 'x' });
  socket.write(
    `POST ${Search.path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
}

for (const [protocol, ask] of [
  ['gRPC', askAndWait],
  ['JSON over HTTP/1.1', askByJson],
] as const) {
  test(`by ${protocol}, who takes nothing of an answer loses first the slot, and then the answer`, async () => {
    const { admission, refusals, port, served } = await start({ stalledMs: 1_000 });
    for (const _ of [1, 2]) ask(port);
    await until(() => admission.open === 2 && admission.untakenBytes > 0);
    await until(() => admission.queue.running === 0);
    assert.equal(admission.open, 2, 'the answers wait still');
    await served();
    await until(() => admission.open === 0);
    assert.deepEqual(
      refusals.filter(({ code }) => code === status.CANCELLED).map(({ reason }) => reason),
      ['CANCELLED', 'CANCELLED'],
    );
    await until(() => admission.untakenBytes === 0);
  });
}

test('answers that nobody takes are bounded in sum: those that have waited longest are ended', async () => {
  const { admission, refusals, port, served } = await start({ stalledMs: 600_000, slots: 4 });
  const ended = (): number => refusals.filter(({ code }) => code === status.CANCELLED).length;
  for (let asked = 1; ended() < 3; asked++) {
    askAndWait(port);
    await until(() => admission.open + ended() === asked);
    await until(() => admission.queue.running < 4);
    assert.ok(asked < 100);
  }
  await until(() => admission.untakenBytes <= MAX_UNTAKEN_BYTES);
  assert.ok(admission.open >= 3, 'the others wait still');
  await served();
});

test('of all streams one address gets a part', async () => {
  const { admission, port, client } = await start();
  const most = shareOfPeer(MAX_OPEN_STREAMS);
  const { SearchStream } = v1.QueryService.service;
  const peers = Array.from({ length: 4 }, () => new RawPeer(port).open());
  afterwards(() => peers.forEach(({ socket }) => socket.destroy()));
  for (let each = 0; each < most + 8; each++) {
    peers[each % 4]!.send(head(SearchStream.path, 1 + 2 * Math.floor(each / 4)));
  }
  await until(() => peers.reduce((sum, { statuses }) => sum + statuses.size, 0) === 8);
  assert.ok(
    peers.every(({ statuses }) => [...statuses.values()].every((code) => code === status.RESOURCE_EXHAUSTED)),
  );
  assert.equal(admission.streams, most);
  // Within the slots others are served as before.
  await callUnary(client, 'Encode', {});
});

test('an ingest stream that begins and sends nothing shuts nobody out', async () => {
  const maxStreams = 4;
  const harness = await startHarness({ settings: { maxStreams } });
  afterwards(() => harness.stop());
  const waiting = Array.from({ length: maxStreams }, () => harness.ingest());
  await Promise.all(waiting.map((each) => each.until(({ events }) => events.length > 0)));
  // Nobody knows who it is here, so time alone decides: another one gets in long before the idle limit of 30 s.
  let done = await harness.ingest().document(1, 'a', 'text').finish();
  // A busy machine may refuse it for overload as well.
  while (done.status.code === status.RESOURCE_EXHAUSTED) {
    await sleep(50);
    done = await harness.ingest().document(1, 'a', 'text').finish();
  }
  assert.deepEqual([done.status.code, done.watermark], [status.OK, 1]);
  const { status: evicted } = await Promise.race(waiting.map(({ ended }) => ended));
  assert.equal(evicted.reason, 'STREAM_IDLE');
});

test('an address with all of its ingest streams gets another one where one of them is silent', async () => {
  const maxStreams = 4;
  const most = shareOfPeer(maxStreams);
  const { pipeline, ingest, stop } = await startHarness({ settings: { maxStreams } });
  afterwards(stop);
  const silent = Array.from({ length: most }, () => ingest());
  await Promise.all(silent.map((each) => each.until(({ events }) => events.length > 0)));
  assert.equal(pipeline.refusal(most)!.reason, 'TOO_MANY_STREAMS', 'they began a moment ago');
  await until(() => pipeline.refusal(most) === undefined);
  const { status: evicted } = await Promise.race(silent.map(({ ended }) => ended));
  assert.equal(evicted.reason, 'STREAM_IDLE');
});

test('of the ingest streams one address gets a part, however busy', async () => {
  const { pipeline, stop } = await startHarness({ settings: { maxStreams: 32 } });
  afterwards(stop);
  assert.equal(pipeline.refusal(shareOfPeer(32) - 1), undefined);
  const refused = pipeline.refusal(shareOfPeer(32))!;
  assert.deepEqual([refused.code, refused.reason], [status.RESOURCE_EXHAUSTED, 'TOO_MANY_STREAMS']);
  assert.match(refused.message, /24 ingest streams of this address/);

  const asked: number[] = [];
  const admission = new Admission({
    slots: 1,
    places: 0,
    maxReceiveBytes: 1 << 20,
    kinds: new Map([[Encode.path, 'stream']]),
    refuseStream: (_, ofPeer) => (asked.push(ofPeer), undefined),
  });
  const { server, stop: stopServer } = await serve({}, { hooks: admission });
  afterwards(() => (admission.close(), stopServer()));
  const raw = new RawPeer(Number(server.address.split(':')[1])).open();
  afterwards(() => raw.socket.destroy());
  for (let each = 0; each < 3; each++) raw.send(head(Encode.path, 1 + 2 * each));
  await until(() => asked.length === 3);
  raw.send(frame(DATA, END_STREAM, 1, framed(Encode.requestSerialize({ texts: ['x'] }))));
  await until(() => raw.statuses.has(1));
  raw.send(head(Encode.path, 7));
  await until(() => asked.length === 4);
  assert.deepEqual(asked, [0, 1, 2, 2]);
});
