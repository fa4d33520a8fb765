import assert from 'node:assert/strict';
import { test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { parseFreshness } from '../../../store/freshness.ts';
import type { Ended } from '../testing/harness.ts';
import { eventually, gate, harnesses } from '../testing/harness.ts';
import { away } from '../testing/test-store.ts';

const start = harnesses();
const OTHER = `col_${'0'.repeat(32)}`;

function assertReplaced({ status: { code, reason, message } }: Ended, expected: string): void {
  assert.deepEqual([code, reason], [status.FAILED_PRECONDITION, 'COLLECTION_REPLACED']);
  assert.match(message, new RegExp(`it was ${expected} .*begin at the beginning`));
}

test('a stream that expects the collection as it is goes on', async () => {
  const { ingest, store } = await start();
  await ingest().document(1, 'a', 'text').finish();
  const { identity } = await store.findCollection('docs');
  const ended = await ingest({ collection: 'docs', expectedIdentity: identity })
    .document(2, 'b', 'text')
    .finish();
  assert.deepEqual([ended.status.code, ended.watermark], [status.OK, 2]);
  assert.equal(ended.events[0]?.ready?.collection?.identity, identity);
});

test('a stream that expects a collection that is gone is refused, and none is made', async () => {
  const { ingest, store } = await start();
  const ended = await ingest({ collection: 'docs', expectedIdentity: OTHER }).document(1, 'a', 'text').ended;
  assertReplaced(ended, OTHER);
  assert.deepEqual(await store.listCollections(), []);
});

test('a stream that expects another collection of that name is refused, and nothing is written', async () => {
  const { ingest, store } = await start();
  await ingest().document(1, 'a', 'text').finish();
  const { identity, physicalName } = await store.findCollection('docs');
  await store.dropCollection(physicalName);
  await ingest().document(1, 'b', 'text').finish();
  const ended = await ingest({ collection: 'docs', expectedIdentity: identity }).document(2, 'c', 'text')
    .ended;
  assertReplaced(ended, identity);
  assert.deepEqual(Object.keys(await store.contents('docs')), ['b']);
});

test('a stream whose progress the collection has not come to is refused: older data were put back', async () => {
  const { ingest, store } = await start();
  await ingest().document(1, 'a', 'text').finish();
  const { identity, position } = await store.freshness('docs');
  const begin = (at: string) => ingest({ collection: 'docs', expectedFreshnessToken: `${identity}.${at}` });
  const ended = await begin(position).document(2, 'b', 'text').finish();
  assert.deepEqual([ended.status.code, ended.watermark], [status.OK, 2]);
  // Qdrant's position counts nothing.
  if (/^\d+$/.test(position)) {
    const { status: refused } = await begin(String(Number(position) + 100)).document(3, 'c', 'text').ended;
    assert.deepEqual([refused.code, refused.reason], [status.FAILED_PRECONDITION, 'COLLECTION_REPLACED']);
    assert.match(refused.message, /an older copy of its data was put back; begin at the beginning/);
    assert.deepEqual(Object.keys(await store.contents('docs')), ['a', 'b']);
  }
  const token = `${OTHER}.${position}`;
  assertReplaced(await ingest({ collection: 'docs', expectedFreshnessToken: token }).ended, OTHER);
  const { status: nonsense } = await ingest({ collection: 'docs', expectedFreshnessToken: 'nonsense' }).ended;
  assert.equal(nonsense.violations?.[0]?.field, 'begin.expected_freshness_token');
});

test('what is no identity is refused by name', async () => {
  const { ingest } = await start();
  const { status: ended } = await ingest({ collection: 'docs', expectedIdentity: 'nonsense' }).ended;
  assert.equal(ended.code, status.INVALID_ARGUMENT);
  assert.equal(ended.violations?.[0]?.field, 'begin.expected_identity');
});

test('a watermark proves what it covers: after a replacement none goes out', async () => {
  const { ingest, store, pipeline } = await start();
  const stream = ingest().document(1, 'a', 'text');
  await stream.durable(1);
  const { identity, physicalName } = await store.findCollection('docs');
  const held = gate();
  store.before = (call) => (call === 'freshness' ? held.opened : undefined);
  stream.document(2, 'b', 'text');
  await stream.until(({ outcomes }) => outcomes.length === 2);
  await store.dropCollection(physicalName);
  await store.ensureCollection('docs', (await start()).tower.manifest.space);
  held.open();
  const ended = await stream.ended;
  assertReplaced(ended, identity);
  assert.deepEqual([ended.outcomes.length, ended.watermark], [2, 1]);
  await eventually(() => pipeline.streams === 0);
  assert.equal(pipeline.tokensInFlight, 0);
});

test('a collection that is dropped under a stream ends it, whether at a write or at a watermark', async () => {
  for (const at of ['lookup', 'write', 'freshness'] as const) {
    const { ingest, store } = await start();
    const stream = ingest().document(1, 'a', 'text');
    await stream.durable(1);
    const { identity, physicalName } = await store.findCollection('docs');
    store.before = async (call) => {
      if (call !== at) return;
      store.before = () => {};
      await store.dropCollection(physicalName);
    };
    const ended = await stream.document(2, 'b', 'text').ended;
    assertReplaced(ended, identity);
    assert.equal(ended.watermark, 1);
  }
});

test('each watermark carries a token that covers its writes', async () => {
  const { ingest, store } = await start();
  const stream = ingest();
  let last = 0;
  for (let sequence = 1; sequence <= 3; sequence++) {
    stream.document(sequence, `d${sequence}`, 'text');
    await stream.durable(sequence);
    const { identity, position } = await store.freshness('docs');
    const token = stream.events.findLast(({ watermark }) => watermark)!.watermark!.freshnessToken;
    const parsed = parseFreshness(token)!;
    assert.equal(parsed.identity, identity);
    // Qdrant's position counts nothing where no copy can lag: it is the time at which it was asked for.
    if (!/^\d+$/.test(position)) continue;
    assert.equal(parsed.position, position);
    assert.ok(Number(position) > last);
    last = Number(position);
  }
  await stream.finish();
});

test('an outage at the proof of a watermark is waited out', async () => {
  const { ingest, store } = await start();
  let attempts = 0;
  store.before = (call) => {
    if (call === 'freshness' && ++attempts <= 3) throw away();
  };
  const ended = await ingest().document(1, 'a', 'text').finish();
  assert.deepEqual([ended.status.code, ended.watermark, attempts], [status.OK, 1, 4]);
});

test('a stream that is cancelled during that outage ends', async () => {
  const { ingest, store, pipeline } = await start();
  let attempts = 0;
  store.before = (call) => {
    if (call !== 'freshness') return;
    attempts++;
    throw away();
  };
  const stream = ingest().document(1, 'a', 'text');
  await eventually(() => attempts > 1);
  stream.call.cancel();
  await eventually(() => pipeline.streams === 0);
});
