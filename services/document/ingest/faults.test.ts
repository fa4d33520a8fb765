import assert from 'node:assert/strict';
import { test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { unpackStatus } from '../../../proto/status.ts';
import { StoreError, type StoreErrorReason } from '../../../store/errors.ts';
import { TowerError } from '../../../towers/errors.ts';
import { eventually, gate, harnesses } from '../testing/harness.ts';
import { away } from '../testing/test-store.ts';

const start = harnesses();

for (const call of ['lookup', 'write'] as const) {
  test(`an outage of the store at ${call} is waited out, and nothing is acknowledged before it is over`, async () => {
    const { ingest, store } = await start();
    const stream = ingest().document(1, 'first', 'text');
    await stream.durable(1);
    let attempts = 0;
    let isAway = true;
    store.before = (called) => {
      if (!isAway || called !== call) return;
      attempts++;
      throw away();
    };
    for (let sequence = 2; sequence <= 50; sequence++) stream.document(sequence, `d${sequence}`, 'text');
    await eventually(() => attempts >= 3);
    assert.equal(stream.outcomes.length, 1);
    isAway = false;
    const ended = await stream.finish();
    assert.equal(ended.status.code, status.OK);
    assert.equal(ended.watermark, 50);
    assert.ok(ended.outcomes.every(({ kind }) => kind === 'OUTCOME_KIND_INDEXED'));
    assert.equal(Object.keys(await store.contents('docs')).length, 50);
  });
}

test('a stream that is cancelled during an outage ends', async () => {
  const { ingest, store, pipeline } = await start();
  let attempts = 0;
  store.before = (call) => {
    if (call !== 'write') return;
    attempts++;
    throw away();
  };
  const stream = ingest().document(1, 'a', 'text');
  await eventually(() => attempts >= 2);
  stream.call.cancel();
  await eventually(() => pipeline.streams === 0);
  assert.equal(pipeline.tokensInFlight, 0);
  const after = attempts;
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(attempts, after, 'and nobody tries on');
});

test('a stream that opens during an outage ends with UNAVAILABLE and a time to retry', async () => {
  const { ingest, store } = await start();
  store.before = () => {
    throw away();
  };
  const { status: ended } = await ingest().document(1, 'a', 'text').ended;
  assert.equal(ended.code, status.UNAVAILABLE);
  assert.equal(ended.reason, 'STORE_UNAVAILABLE');
  assert.ok(ended.retryDelayMs! > 0);
});

test('a document that the store never takes is rejected, and the others of its write are stored', async () => {
  const { ingest, store } = await start();
  store.before = (call, writes) => {
    if (call !== 'write') return;
    if (writes.some(({ documentId }) => documentId === 'poison')) {
      throw new StoreError('STORE_INVALID_ARGUMENT', 'passages[0].vector has 3 components; send 8');
    }
    if (writes.some(({ documentId }) => documentId === 'broken'))
      throw new TypeError('of a kind nobody foresaw');
  };
  const stream = ingest();
  for (let sequence = 1; sequence <= 100; sequence++) {
    const id = sequence === 37 ? 'poison' : sequence === 38 ? 'broken' : `d${sequence}`;
    stream.document(sequence, id, 'text');
  }
  const ended = await stream.finish();
  assert.equal(ended.status.code, status.OK);
  assert.equal(ended.watermark, 100);
  const rejected = ended.outcomes.filter(({ kind }) => kind === 'OUTCOME_KIND_REJECTED');
  assert.deepEqual(
    rejected.map(({ documentId, error }) => [documentId, error?.code]),
    [
      ['poison', status.INVALID_ARGUMENT],
      ['broken', status.INTERNAL],
    ],
  );
  assert.match(unpackStatus(rejected[0]!.error!).message, /8/);
  assert.ok(!unpackStatus(rejected[1]!.error!).message.includes('foresaw'), 'causes stay in the log');
  assert.equal(Object.keys(await store.contents('docs')).length, 98);
});

const fatal: [StoreErrorReason, status][] = [
  ['STORE_LOST', status.FAILED_PRECONDITION],
  ['STORE_FULL', status.RESOURCE_EXHAUSTED],
  ['STORE_PERMISSION_DENIED', status.FAILED_PRECONDITION],
];
for (const [reason, code] of fatal) {
  test(`${reason} ends the stream, and what was acknowledged before is durable`, async () => {
    const { ingest, store, pipeline } = await start();
    const stream = ingest().document(1, 'first', 'text');
    await stream.durable(1);
    store.before = (call) => {
      if (call === 'write') throw new StoreError(reason, 'no; do something else');
    };
    const ended = await stream.document(2, 'second', 'text').ended;
    assert.equal(ended.status.code, code);
    assert.equal(ended.status.reason, reason);
    assert.equal(ended.watermark, 1);
    assert.deepEqual(Object.keys(await store.contents('docs')), ['first']);
    await eventually(() => pipeline.streams === 0);
    assert.equal(pipeline.tokensInFlight, 0);
  });
}

test('a tower that is overloaded is waited for', async () => {
  const { ingest, tower } = await start();
  let refusals = 0;
  tower.before = () => {
    if (refusals >= 30) return;
    refusals++;
    throw new TowerError('ENCODER_OVERLOADED', 'the queue is full', { retryDelayMs: 1 });
  };
  const { outcomes } = await ingest().document(1, 'a', 'one|two').document(2, 'b', 'three').finish();
  assert.deepEqual(
    outcomes.map(({ kind }) => kind),
    ['OUTCOME_KIND_INDEXED', 'OUTCOME_KIND_INDEXED'],
  );
  assert.equal(refusals, 30);
});

test('a tower that is closed ends the stream with UNAVAILABLE', async () => {
  const { ingest, tower } = await start();
  tower.before = () => {
    throw new TowerError('ENCODER_CLOSED', 'the encoder was closed');
  };
  const { status: ended } = await ingest().document(1, 'a', 'text').ended;
  assert.equal(ended.code, status.UNAVAILABLE);
  assert.equal(ended.reason, 'ENCODER_CLOSED');
});

test('a document that makes the tower fail is rejected, and others are stored', async () => {
  const { ingest, tower } = await start();
  tower.before = (text) => {
    if (text.includes('strange')) throw new RangeError('of a kind nobody foresaw');
  };
  const { outcomes, watermark } = await ingest()
    .document(1, 'a', 'text')
    .document(2, 'b', 'strange')
    .document(3, 'c', 'text')
    .finish();
  assert.deepEqual(
    outcomes.map(({ error }) => error?.code ?? 0),
    [0, status.INTERNAL, 0],
  );
  assert.equal(watermark, 3);
});

test('a rejected document does not hide the one before it, which is still in flight', async () => {
  const { ingest, store, tower } = await start();
  await ingest().document(1, 'a', 'red').finish();
  const held = gate();
  tower.before = (text) => {
    if (text.includes('strange')) throw new RangeError('of a kind nobody foresaw');
    return held.opened;
  };
  const encoding = tower.encoded;
  const stream = ingest().document(1, 'a', 'green').document(2, 'a', 'strange');
  await eventually(() => tower.busy === 1);
  const lookups = store.lookups;
  stream.document(3, 'a', 'red').document(4, 'b', 'blue');
  await eventually(() => store.lookups > lookups);
  held.open();
  const { outcomes } = await stream.finish();
  assert.deepEqual(
    outcomes.map(({ kind }) => kind),
    ['OUTCOME_KIND_INDEXED', 'OUTCOME_KIND_REJECTED', 'OUTCOME_KIND_INDEXED', 'OUTCOME_KIND_INDEXED'],
  );
  assert.equal((await store.contents('docs')).a?.passages[0]?.text, 'red', 'the last one wins');
  assert.equal(tower.encoded, encoding + 3);
});

test('a document whose vector has no direction is rejected, and others are stored', async () => {
  const { ingest, tower } = await start();
  const { encode } = tower;
  tower.encode = async (tokens, options) => {
    const encoding = await encode.call(tower, tokens, options);
    if (tokens.ids.length === 4) encoding.vector.fill(Number.NaN);
    return encoding;
  };
  const { outcomes } = await ingest().document(1, 'a', 'bad').document(2, 'b', 'good').finish();
  assert.equal(unpackStatus(outcomes[0]!.error!).reason, 'VECTOR_DEGENERATE');
  assert.equal(outcomes[1]?.kind, 'OUTCOME_KIND_INDEXED');
});
