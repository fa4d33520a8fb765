import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { type Ended, eventually, gate, harnesses, type Harness } from '../testing/harness.ts';
import { away } from '../testing/test-store.ts';

const start = harnesses();
const IDLE_MS = 50;

async function withPlaces(maxStreams: number): Promise<Harness> {
  return start({ settings: { maxStreams, idleMs: IDLE_MS } });
}

function assertEvicted({ status: { code, reason, retryDelayMs, message } }: Ended): void {
  assert.deepEqual([code, reason], [status.UNAVAILABLE, 'STREAM_IDLE']);
  assert.ok(retryDelayMs! > 0);
  assert.match(message, /connect again/);
}

/** A new stream that does its work, or `undefined` where it was turned away. */
async function tryStream({ ingest }: Harness): Promise<Ended | undefined> {
  const ended = await ingest().document(1, 'new', 'text').finish();
  if (ended.status.reason === 'TOO_MANY_STREAMS') return undefined;
  assert.deepEqual([ended.status.code, ended.watermark], [status.OK, 1]);
  return ended;
}

test('where all places are taken, the stream that was idle longest gives its place up', async () => {
  const harness = await withPlaces(2);
  const [first, second] = [harness.ingest(), harness.ingest()];
  await first.until(({ events }) => events.length > 0);
  await second.until(({ events }) => events.length > 0);
  await first.document(1, 'a', 'text').durable(1);
  await delay(IDLE_MS + 10);
  assert.ok(await tryStream(harness));
  assertEvicted(await second.ended);
  const goesOn = await first.document(2, 'b', 'text').finish();
  assert.deepEqual([goesOn.status.code, goesOn.watermark], [status.OK, 2]);
});

test('where places are free, no stream is ended, however long it does nothing', async () => {
  const harness = await withPlaces(2);
  const idle = harness.ingest();
  await idle.until(({ events }) => events.length > 0);
  await delay(3 * IDLE_MS);
  assert.ok(await tryStream(harness));
  assert.equal((await idle.document(1, 'a', 'text').finish()).watermark, 1);
});

test('a stream that has not been idle for long enough keeps its place', async () => {
  const harness = await start({ settings: { maxStreams: 1, idleMs: 600_000 } });
  const quick = harness.ingest();
  await quick.until(({ events }) => events.length > 0);
  assert.equal(await tryStream(harness), undefined);
  assert.equal((await quick.document(1, 'a', 'text').finish()).watermark, 1);
});

test('a stream that never begins gives its place up', async () => {
  const harness = await withPlaces(1);
  const mute = harness.ingest(null);
  // Headers alone open a stream.
  void mute.call.getPeer();
  await eventually(() => harness.pipeline.streams === 1);
  await delay(IDLE_MS + 10);
  assert.ok(await tryStream(harness));
  assertEvicted(await mute.ended);
});

test('a client that never reads gives its place up', async () => {
  const harness = await withPlaces(1);
  const deaf = harness.ingest();
  deaf.call.pause();
  let sequence = 0;
  const push = (): void => {
    while (sequence < 20_000)
      if (!deaf.call.write({ sequence: ++sequence, delete: { id: 'x'.repeat(500) } })) break;
  };
  deaf.call.on('drain', push);
  push();
  const places = async (): Promise<boolean> => (await tryStream(harness)) !== undefined;
  while (!(await places())) await delay(IDLE_MS);
  deaf.call.cancel();
});

for (const [what, call] of [
  ['a store that is away at a write', 'write'],
  ['a store that is away at a lookup', 'lookup'],
  ['a store that is away at the proof of a watermark', 'freshness'],
] as const) {
  test(`a stream that waits for ${what} is not idle`, async () => {
    const harness = await withPlaces(1);
    const stream = harness.ingest();
    await stream.until(({ events }) => events.length > 0);
    let attempts = 0;
    harness.store.before = (called) => {
      if (called !== call) return;
      attempts++;
      throw away();
    };
    stream.document(1, 'a', 'text');
    await eventually(() => attempts > 0);
    await delay(2 * IDLE_MS);
    assert.equal(await tryStream(harness), undefined);
    harness.store.before = () => {};
    assert.equal((await stream.finish()).watermark, 1);
  });
}

test('a stream that waits for the tower, or for room, is not idle', async () => {
  const harness = await start({ settings: { maxStreams: 2, idleMs: IDLE_MS, budgetTokens: 1024 } });
  const held = gate();
  harness.tower.before = () => held.opened;
  const text = 'x'.repeat(3000);
  const [first, second] = [harness.ingest(), harness.ingest()];
  first.document(1, 'a', text).document(2, 'b', text).document(3, 'c', text);
  await eventually(() => harness.tower.busy > 0);
  second.document(1, 'd', text).document(2, 'e', text);
  await delay(2 * IDLE_MS);
  assert.equal(await tryStream(harness), undefined);
  held.open();
  assert.equal((await first.finish()).watermark, 3);
  assert.equal((await second.finish()).watermark, 2);
});

test('thirty-two idle streams lock nobody out', async () => {
  const harness = await withPlaces(32);
  const idle = Array.from({ length: 32 }, () => harness.ingest());
  await Promise.all(idle.map((stream) => stream.until(({ events }) => events.length > 0)));
  assert.equal(harness.pipeline.streams, 32);
  await delay(IDLE_MS + 10);
  const others = await Promise.all(Array.from({ length: 8 }, () => tryStream(harness)));
  assert.ok(others.every(Boolean));
  for (const stream of idle) stream.call.cancel();
  await eventually(() => harness.pipeline.streams === 0);
});
