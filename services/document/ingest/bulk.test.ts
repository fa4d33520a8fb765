import assert from 'node:assert/strict';
import { test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { eventually, harnesses } from '../testing/harness.ts';
import { away } from '../testing/test-store.ts';

const start = harnesses();

test('a bulk load lasts as long as its stream', async () => {
  const { ingest, store } = await start();
  const stream = ingest({ collection: 'docs', bulk: true }).document(1, 'a', 'text');
  await stream.durable(1);
  assert.equal(store.bulkLoads, 1);
  assert.equal((await stream.finish()).status.code, status.OK);
  assert.equal(store.bulkLoads, 0);
});

test('a stream that does not ask for it has none', async () => {
  const { ingest, store } = await start();
  const stream = ingest().document(1, 'a', 'text');
  await stream.durable(1);
  assert.equal(store.bulkLoads, 0);
  await stream.finish();
});

test('a bulk load ends with a stream that is cancelled', async () => {
  const { ingest, store } = await start();
  const stream = ingest({ collection: 'docs', bulk: true }).document(1, 'a', 'text');
  await stream.durable(1);
  stream.call.cancel();
  await eventually(() => store.bulkLoads === 0);
});

test('documents are in, though the store does not hear that the load has ended', async () => {
  const { ingest, store } = await start();
  store.before = (call) => {
    if (call === 'end') throw away();
  };
  const { status: ended, watermark } = await ingest({ collection: 'docs', bulk: true })
    .document(1, 'a', 'text')
    .finish();
  assert.equal(ended.code, status.OK);
  assert.equal(watermark, 1);
});
