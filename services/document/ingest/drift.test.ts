import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { pino } from 'pino';
import type { IngestRequest__Output } from '../../../proto/generated/scalingnote/v1/IngestRequest.ts';
import type { IngestResponse } from '../../../proto/generated/scalingnote/v1/IngestResponse.ts';
import { v1 } from '../../../proto/load.ts';
import { TowerError } from '../../../towers/errors.ts';
import { recordGolden } from '../../../towers/golden/golden.ts';
import { measureSome, sketchText } from '../../../towers/golden/sketch.ts';
import { MovingTower } from '../../../towers/golden/testing/moving-tower.ts';
import { DriftGuard } from '../../runtime/drift/guard.ts';
import { MAX_MESSAGE_CHARS, type ServiceError } from '../../runtime/errors.ts';
import { eventually, gate, harnesses } from '../testing/harness.ts';
import { FakeTower } from '../testing/fake-tower.ts';
import { openTestStore } from '../testing/test-store.ts';
import type { IngestCall } from './session.ts';

const start = harnesses();
const guards: DriftGuard[] = [];
afterEach(() => {
  for (const guard of guards.splice(0)) guard.stop();
});

/** A little more than any tolerance here. */
const FAR = Math.acos(1 - 0.05);

/** A guard of a tower that can be turned. @param options.pinned the tower came with golden vectors, as remote ones do */
async function guarded({ pinned = true, intervalMs = 0, recheckMs = 0 } = {}): Promise<{
  moving: MovingTower;
  drift: DriftGuard;
}> {
  const moving = new MovingTower();
  const golden = pinned ? await recordGolden(moving) : undefined;
  const log = pino({ level: 'silent' });
  const drift = new DriftGuard({ tower: moving, golden, intervalMs, recheckMs, log });
  guards.push(drift);
  return { moving, drift };
}

test('a collection keeps how the model encoded when it was made, and a model that stays is let in', async () => {
  for (const pinned of [true, false]) {
    const { drift, moving } = await guarded({ pinned });
    const { ingest, store } = await start({ drift });
    const first = await ingest().document(1, 'a', 'one').finish();
    assert.equal(first.status.code, status.OK);
    const kept = JSON.parse((await store.goldenVectors('docs'))!) as { dimensions: number; vectors: string };
    assert.equal(kept.dimensions, moving.manifest.dimensions);
    assert.equal(Buffer.from(kept.vectors, 'base64').length, 21 * 16);
    moving.turn = Math.acos(1 - 0.0019);
    await drift.check();
    assert.equal((await ingest().document(1, 'b', 'two').finish()).status.code, status.OK);
    assert.equal(drift.refusal, '');
  }
});

test('a model that is another one is refused with both versions, and let in again when it is what it was', async () => {
  for (const pinned of [true, false]) {
    const { drift, moving } = await guarded({ pinned });
    const { ingest, store, tower } = await start({ drift });
    await ingest().document(1, 'a', 'one').finish();
    const encoded = tower.encoded;
    moving.turn = FAR;
    await drift.check();
    const refused = await ingest().document(1, 'b', 'two').finish();
    assert.equal(refused.status.code, status.FAILED_PRECONDITION);
    assert.equal(refused.status.reason, 'SPACE_DRIFTED');
    assert.match(
      refused.status.message,
      /0\.05 at the worst and 0\.05 in the median, where 0\.002 is tolerated/,
    );
    assert.ok(refused.status.message.length < MAX_MESSAGE_CHARS, String(refused.status.message.length));
    const { metadata } = refused.status;
    assert.deepEqual(Object.keys(metadata!).sort(), [
      ...(pinned ? [] : ['collection']),
      'last_good',
      'measured_at',
      'measured_on',
      'median',
      'recorded_at',
      'recorded_on',
      'tolerance',
      'tower',
      'worst',
    ]);
    assert.ok(metadata!['last_good']! < metadata!['measured_at']!);
    assert.deepEqual(refused.events, []);
    assert.equal(tower.encoded, encoded, 'nothing was encoded');
    assert.deepEqual(Object.keys(await store.contents('docs', '')), ['a']);
    assert.equal(drift.refusal, refused.status.message);
    moving.turn = 0;
    // Whoever comes has the model asked again.
    assert.equal((await ingest().document(1, 'b', 'two').finish()).status.code, status.OK);
    assert.equal(drift.refusal, '');
  }
});

test('a stream that is open when the model is found to be another one gets no further outcome', async () => {
  const { drift, moving } = await guarded();
  const store = await openTestStore();
  const writing = gate();
  const { ingest, pipeline } = await start({ drift, store });
  const stream = ingest().document(1, 'a', 'one');
  await eventually(() => stream.watermark === 1);
  let isWriting = false;
  store.before = (call) => {
    if (call !== 'write') return undefined;
    isWriting = true;
    return writing.opened;
  };
  stream.document(2, 'b', 'two');
  await eventually(() => isWriting);
  moving.turn = FAR;
  await drift.check();
  // The write was on its way: it may arrive, and is not acknowledged.
  writing.open();
  const ended = await stream.ended;
  assert.equal(ended.status.reason, 'SPACE_DRIFTED');
  assert.deepEqual(
    ended.outcomes.map(({ documentId }) => documentId),
    ['a'],
  );
  assert.equal(ended.watermark, 1);
  await eventually(() => pipeline.streams === 0 && pipeline.tokensInFlight === 0);
  await store.dispose();
});

test('outcomes that wait for their way out are not sent either', async () => {
  const { drift, moving } = await guarded();
  const { pipeline, store } = await start({ drift });
  const client = gate();
  const sent: IngestResponse[] = [];
  const { signal } = new AbortController();
  async function* requests(): AsyncGenerator<IngestRequest__Output, void, undefined> {
    yield request({ begin: { collection: 'docs', tenant: '' } });
    for (const id of ['a', 'b', 'c']) {
      yield request({ sequence: String(id.charCodeAt(0)), document: { id, title: '', text: id } });
    }
    await new Promise(() => {});
  }
  const served = pipeline.serve({
    requests: requests(),
    signal,
    span: undefined,
    // A client that is slow to take what it gets.
    write: async (message: IngestResponse) => {
      sent.push(message);
      if (message.outcome) await client.opened;
    },
  } as unknown as IngestCall);
  await eventually(() => sent.some(({ outcome }) => outcome) && store.writes.flat().length === 3);
  moving.turn = FAR;
  await drift.check();
  client.open();
  await assert.rejects(served, ({ reason }: ServiceError) => reason === 'SPACE_DRIFTED');
  await setTimeout(20);
  assert.deepEqual(
    sent.flatMap(({ outcome }) => outcome?.documentId ?? []),
    ['a'],
  );
});

/** A message as the server's decoder gives it, its other fields empty. */
function request(fields: object): IngestRequest__Output {
  const whole = { sequence: '0', begin: null, document: null, patch: null, delete: null, ...fields };
  const decoded = v1.DocumentService.service.Ingest.requestDeserialize(
    v1.DocumentService.service.Ingest.requestSerialize(whole),
  );
  return decoded;
}

test('deletes and reads go on', async () => {
  const { drift, moving } = await guarded();
  const { ingest, client } = await start({ drift });
  await ingest().document(1, 'a', 'one').document(2, 'b', 'two').finish();
  moving.turn = FAR;
  await drift.check();
  const { documents } = await new Promise<{ documents: string }>((resolve, reject) => {
    client.delete({ collection: 'docs', documentIds: ['a'] }, (error, answer) =>
      error ? reject(error) : resolve(answer!),
    );
  });
  assert.equal(Number(documents), 1);
});

test('only the collection that another model made is refused', async () => {
  const { drift, moving } = await guarded({ pinned: false });
  const store = await openTestStore();
  const other = new MovingTower();
  other.turn = FAR;
  const { space } = new FakeTower().manifest;
  const goldenVectors = sketchText(await measureSome(other), other);
  await store.ensureCollection('theirs', { fingerprint: space.fingerprint, dimensions: 8, goldenVectors });
  const { ingest } = await start({ drift, store });
  const refused = await ingest({ collection: 'theirs' }).document(1, 'a', 'one').finish();
  assert.equal(refused.status.reason, 'SPACE_DRIFTED');
  assert.match(refused.status.message, /when collection "theirs" was made/);
  assert.equal(refused.status.metadata!['last_good'], '');
  assert.match(refused.status.message, /before this start/);
  assert.equal((await ingest().document(1, 'a', 'one').finish()).status.code, status.OK);
  assert.match(drift.refusal, /theirs/);
  assert.ok(moving.calls > 0);
  await store.dispose();
});

test('a collection without a record is written as ever, and the model is not asked', async () => {
  const { drift, moving } = await guarded({ pinned: false });
  const store = await openTestStore();
  const { fingerprint } = new FakeTower().manifest.space;
  await store.ensureCollection('docs', { fingerprint, dimensions: 8 });
  const { ingest } = await start({ drift, store });
  assert.equal((await ingest().document(1, 'a', 'one').finish()).status.code, status.OK);
  assert.equal(moving.calls, 0);
  assert.equal(await store.goldenVectors('docs'), undefined);
  await store.dispose();
});

test('a record that a newer version made is refused by name', async () => {
  const { drift } = await guarded({ pinned: false });
  const store = await openTestStore();
  const { fingerprint } = new FakeTower().manifest.space;
  for (const [name, goldenVectors] of [
    ['newer', '{"probes":99}'],
    ['broken', '{'],
  ] as const) {
    await store.ensureCollection(name, { fingerprint, dimensions: 8, goldenVectors });
    const { ingest } = await start({ drift, store });
    const { status: refused } = await ingest({ collection: name }).document(1, 'a', 'one').finish();
    assert.equal(refused.reason, 'COLLECTION_LAYOUT');
    assert.match(refused.message, new RegExp(name));
  }
  await store.dispose();
});

test('a model that does not answer lets nobody in until it does', async () => {
  const { drift, moving } = await guarded();
  const { ingest } = await start({ drift });
  const { change } = moving;
  moving.change = () => {
    throw new TowerError('ENCODER_CLOSED', 'nobody answers at http://127.0.0.1:9');
  };
  drift.start();
  const refused = await ingest().document(1, 'a', 'one').finish();
  assert.equal(refused.status.code, status.UNAVAILABLE);
  assert.match(refused.status.message, /nobody answers/);
  assert.match(drift.refusal, /not encoded its probes yet: nobody answers/);
  moving.change = change;
  assert.equal((await ingest().document(1, 'a', 'one').finish()).status.code, status.OK);
  assert.equal(drift.refusal, '');
});

test('the timer finds a model that was swapped, ends the streams, and finds that it is back', async () => {
  const { drift, moving } = await guarded({ intervalMs: 20, recheckMs: 60_000 });
  const { ingest } = await start({ drift });
  drift.start();
  const stream = ingest().document(1, 'a', 'one');
  await eventually(() => stream.watermark === 1);
  moving.turn = FAR;
  assert.equal((await stream.ended).status.reason, 'SPACE_DRIFTED');
  assert.equal((await ingest().document(1, 'b', 'two').finish()).status.reason, 'SPACE_DRIFTED');
  moving.turn = 0;
  await eventually(() => drift.refusal === '');
  assert.equal((await ingest().document(1, 'b', 'two').finish()).status.code, status.OK);
});
