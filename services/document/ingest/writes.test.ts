import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn, setTimeout as delay } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { eventually, gate, harnesses } from '../testing/harness.ts';
import { LOOKUP_DOCUMENTS } from './lookup-queue.ts';
import { WRITE_BYTES, WRITE_OPERATIONS, WRITES_IN_FLIGHT } from './write-queue.ts';

const startAny = harnesses();
const start = () => startAny({ settings: { budgetTokens: 1_000_000 } });

test('up to three full writes are under way at once, and watermarks wait for the first', async () => {
  const { ingest, store, tower } = await start();
  const held: ReturnType<typeof gate>[] = [];
  let begun = 0;
  let released = false;
  store.before = async (call) => {
    if (call !== 'write' || released) return;
    held[begun] = gate();
    await held[begun++]!.opened;
  };
  const total = 5 * WRITE_OPERATIONS;
  const stream = ingest();
  for (let sequence = 1; sequence <= total; sequence++) stream.document(sequence, `d${sequence}`, 'text');
  await eventually(() => begun >= WRITES_IN_FLIGHT && tower.encoded === total);
  await nextTurn();
  await nextTurn();
  assert.equal(begun, WRITES_IN_FLIGHT);
  held[1]!.open();
  await eventually(() => begun === WRITES_IN_FLIGHT + 1);
  assert.deepEqual([stream.outcomes.length, stream.watermark], [0, 0]);
  released = true;
  for (const { open } of held) open();
  const ended = await stream.finish();
  assert.deepEqual([ended.status.code, ended.watermark], [status.OK, total]);
  assert.deepEqual(
    ended.outcomes.map(({ sequence }) => Number(sequence)),
    Array.from({ length: total }, (_, index) => index + 1),
  );
  assert.ok(ended.outcomes.every(({ kind }) => kind === 'OUTCOME_KIND_INDEXED'));
});

test('a small write waits for the one that is under way', async () => {
  const { ingest, store, tower } = await start();
  const held = gate();
  let begun = 0;
  store.before = async (call) => {
    if (call !== 'write') return;
    begun++;
    await held.opened;
  };
  const stream = ingest().document(1, 'first', 'text');
  await eventually(() => begun === 1);
  for (let sequence = 2; sequence <= 50; sequence++) stream.document(sequence, `d${sequence}`, 'text');
  await eventually(() => tower.encoded === 50);
  await nextTurn();
  assert.equal(begun, 1);
  held.open();
  await stream.finish();
  assert.deepEqual(
    store.writes.map(({ length }) => length),
    [1, 49],
  );
});

test('a small write waits even where many operations are ready behind one that is not', async () => {
  const { ingest, store, tower } = await start();
  const [held, slow] = [gate(), gate()];
  let begun = 0;
  store.before = async (call) => {
    if (call !== 'write') return;
    begun++;
    await held.opened;
  };
  tower.before = (text) => (text.includes('slow') ? slow.opened : undefined);
  const stream = ingest().document(1, 'first', 'text');
  await eventually(() => begun === 1);
  const total = WRITE_OPERATIONS + 50;
  for (let sequence = 2; sequence <= total; sequence++) {
    stream.document(sequence, `d${sequence}`, sequence === 12 ? 'slow' : 'text');
  }
  await eventually(() => tower.encoded === total - 1);
  await nextTurn();
  await nextTurn();
  assert.equal(begun, 1);
  held.open();
  await stream.durable(11);
  slow.open();
  await stream.finish();
  assert.deepEqual(
    store.writes.map(({ length }) => length),
    [1, 10, WRITE_OPERATIONS, total - 11 - WRITE_OPERATIONS],
  );
});

test('a write of several documents is bounded in bytes', async () => {
  const { ingest, store } = await startAny({ settings: { budgetTokens: 10_000_000 } });
  const held = gate();
  let begun = 0;
  store.before = async (call) => {
    if (call === 'write' && ++begun === 1) await held.opened;
  };
  const stream = ingest().document(1, 'first', 'text');
  await eventually(() => begun === 1);
  // Two of these fit into one write, three do not.
  const text = Array.from({ length: 150 }, () => 'x'.repeat(Math.floor(WRITE_BYTES / 2 / 160))).join('|');
  for (let sequence = 2; sequence <= 4; sequence++) stream.document(sequence, `d${sequence}`, text);
  await eventually(() => begun === 2);
  held.open();
  await stream.finish();
  assert.deepEqual(store.writes.map(({ length }) => length).sort(), [1, 1, 2]);
});

test('a lookup asks for a bounded number of documents', async () => {
  const { ingest, pipeline, store } = await start();
  const held = gate();
  const lookedUpBefore: number[] = [];
  store.before = async (call) => {
    if (call !== 'lookup') return;
    lookedUpBefore.push(store.lookups);
    await held.opened;
  };
  const stream = ingest().document(1, 'first', 'text');
  await eventually(() => lookedUpBefore.length === 1);
  const tokens = pipeline.tokensInFlight;
  const total = 2 * LOOKUP_DOCUMENTS + 10;
  for (let sequence = 2; sequence <= total; sequence++) stream.document(sequence, `d${sequence}`, 'text');
  await eventually(() => pipeline.tokensInFlight === total * tokens);
  held.open();
  await stream.finish();
  assert.deepEqual(lookedUpBefore, [0, 1, 1 + LOOKUP_DOCUMENTS, 1 + 2 * LOOKUP_DOCUMENTS]);
});

test('operations on one document are never in two writes at once, and the last one wins', async () => {
  const { ingest, store, tower } = await start();
  const underWay = new Set<string>();
  let atOnce = 0;
  let most = 0;
  store.before = async (call, writes) => {
    if (call !== 'write') return;
    const ids = new Set(writes.map(({ documentId }) => documentId));
    for (const id of ids) {
      assert.ok(!underWay.has(id), id);
      underWay.add(id);
    }
    most = Math.max(most, ++atOnce);
    // Long enough that more is ready than goes into one write.
    const ready = Math.min(2500, tower.encoded + 600);
    await eventually(() => tower.encoded >= ready);
    await delay(Math.random() * 10);
    atOnce--;
    for (const id of ids) underWay.delete(id);
  };
  const expected = new Map<string, string>();
  const stream = ingest();
  for (let sequence = 1; sequence <= 3000; sequence++) {
    // Now and then one that may be on its way.
    const again = Math.random() < 0.01 ? Math.floor(Math.random() * 600) : 0;
    const id = `d${Math.max(1, sequence - again)}`;
    if (Math.random() < 0.1) {
      stream.delete(sequence, id);
      expected.delete(id);
    } else {
      stream.document(sequence, id, `text ${sequence}`);
      expected.set(id, `text ${sequence}`);
    }
  }
  const ended = await stream.finish();
  assert.deepEqual([ended.status.code, ended.watermark], [status.OK, 3000]);
  assert.ok(most > 1);
  const contents = Object.entries(await store.contents('docs'));
  assert.deepEqual(
    new Map(contents.map(([id, { passages }]) => [id, passages.map(({ text }) => text).join('|')])),
    new Map([...expected].sort(([a], [b]) => (a < b ? -1 : 1))),
  );
});
