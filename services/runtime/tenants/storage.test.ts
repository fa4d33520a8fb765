import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import * as fc from 'fast-check';
import { pino } from 'pino';
import { put, remove, SPACE, update } from '../../../store/contract/stores.ts';
import { MemoryStore } from '../../../store/testing/memory-store.ts';
import type { DocumentWrite } from '../../../store/writes.ts';
import { ServiceError } from '../errors.ts';
import { Quotas } from './quotas.ts';
import { COUNTED_MS, REFUSED_BY_MS, StorageQuotas } from './storage.ts';

const folder = mkdtempSync(join(tmpdir(), 'scalingnote-storage-'));
after(() => rmSync(folder, { recursive: true }));
let files = 0;

function quotasOf(limits: object): Quotas {
  const file = join(folder, `${files++}.json`);
  writeFileSync(file, JSON.stringify({ version: 1, default: limits }));
  const quotas = new Quotas(file, pino({ level: 'silent' }));
  after(() => quotas.close());
  return quotas;
}

const { signal } = new AbortController();

async function setUp(limits: object) {
  const store = new MemoryStore();
  const { physicalName } = await store.ensureCollection('docs', SPACE);
  const clock = { now: 0 };
  const storage = new StorageQuotas(store, quotasOf(limits), () => clock.now);
  const write = async (steps: DocumentWrite[], by = storage): Promise<string[]> => {
    const target = { collection: physicalName, tenant: 'a', signal };
    const answers = await by.write(target, steps, (some) => store.writeDocuments(physicalName, some));
    return answers.map((answer) => {
      if (answer.outcome !== 'refused') return answer.outcome;
      assert.ok(answer.cause instanceof ServiceError);
      return answer.cause.reason;
    });
  };
  return { store, storage, write, clock, physicalName };
}

const doc = (id: string, text = '', metadata = {}) =>
  put(id, [[1, 0, 0, 0]], {
    tenant: 'a',
    text,
    metadata,
    title: '',
    contentHash: `${text}${JSON.stringify(metadata)}`,
  });

test('a document past the quota is refused, those beside it are not; putting one again is none more', async () => {
  const { write } = await setUp({ documents: 2 });
  assert.deepEqual(await write([doc('1'), doc('2'), doc('3'), doc('1', 'new')]), [
    'indexed',
    'indexed',
    'QUOTA_EXCEEDED',
    'indexed',
  ]);
  assert.deepEqual(await write([remove('1', 0, 'a'), doc('3'), doc('4')]), [
    'deleted',
    'indexed',
    'QUOTA_EXCEEDED',
  ]);
});

test('bytes are those of texts, metadata and vectors, and an update that makes them more counts', async () => {
  // "{}" and four numbers are 18 bytes.
  const { write, storage } = await setUp({ bytes: 18 + 100 });
  assert.deepEqual(await write([doc('1', 'x'.repeat(101))]), ['QUOTA_EXCEEDED']);
  assert.deepEqual(await write([doc('1', 'x'.repeat(90))]), ['indexed']);
  const more = (length: number) =>
    update('1', { tenant: 'a', metadata: { k: 'y'.repeat(length) }, contentHash: `y${length}` });
  // {"k":""} has six bytes more than {}.
  assert.deepEqual(await write([more(5)]), ['QUOTA_EXCEEDED']);
  assert.deepEqual(await write([more(4)]), ['updated']);
  assert.equal((await storage.usage('a')).bytes, 118);
  assert.deepEqual(await write([doc('1', 'short'), doc('2', 'x'.repeat(80))]), ['indexed', 'QUOTA_EXCEEDED']);
});

test('another process, a restart, a delete and an alias that moves are counted from the store', async () => {
  const { store, storage, write, clock, physicalName } = await setUp({ documents: 2 });
  await write([doc('1'), doc('2')]);
  // A process that has just come up.
  const second = new StorageQuotas(store, quotasOf({ documents: 2 }), () => clock.now);
  assert.deepEqual(await write([doc('3')], second), ['QUOTA_EXCEEDED']);
  // What somebody else deletes is seen as soon as it matters, but for a moment.
  await store.deleteByFilter(physicalName, 'a', { must: [{ field: 'document_id', equals: '1' }] });
  clock.now += REFUSED_BY_MS + 1;
  assert.deepEqual(await write([doc('3')]), ['indexed']);
  // A delete of our own says so at once.
  await store.deleteByFilter(physicalName, 'a', { must: [{ field: 'document_id', equals: '2' }] });
  storage.forget('a');
  assert.deepEqual(await write([doc('4')]), ['indexed']);
  // What no alias leads to counts for nobody.
  const other = `other--${SPACE.fingerprint.slice(0, 12)}`;
  await store.ensureCollection(other, SPACE);
  await store.switchAlias('docs', other);
  storage.forget();
  assert.deepEqual(await write([doc('5')]), ['indexed']);
  await store.switchAlias('docs', physicalName);
  storage.forget();
  assert.deepEqual(await write([doc('6')]), ['QUOTA_EXCEEDED']);
  // What another process writes is seen after a while.
  await store.writeDocuments(physicalName, [remove('5', 0, 'a'), remove('4', 0, 'a')]);
  await store.writeDocuments(physicalName, [doc('7')]);
  clock.now += COUNTED_MS + 1;
  assert.deepEqual(await write([doc('8')]), ['QUOTA_EXCEEDED']);
});

test('whatever is written, the store never has more than the quota, and what fits is never refused', async () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('put'), id: fc.nat({ max: 5 }), length: fc.nat({ max: 60 }) }),
    fc.record({ kind: fc.constant('update'), id: fc.nat({ max: 5 }), length: fc.nat({ max: 60 }) }),
    fc.record({ kind: fc.constant('delete'), id: fc.nat({ max: 5 }), length: fc.constant(0) }),
  );
  const batches = fc.array(fc.array(step, { minLength: 1, maxLength: 6 }), { maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(batches, async (all) => {
      const limits = { documents: 3, bytes: 200 };
      const { write, store, physicalName } = await setUp(limits);
      let number = 0;
      await Promise.all(
        all.map(async (batch) => {
          const steps = batch.map(({ kind, id, length }): DocumentWrite => {
            const text = `${'x'.repeat(length)}${number++}`;
            if (kind === 'delete') return remove(String(id), 0, 'a');
            if (kind === 'put') return doc(String(id), text);
            return update(String(id), { tenant: 'a', metadata: { text }, contentHash: text });
          });
          const before = await store.usage(physicalName, 'a');
          const outcomes = await write(steps);
          const { documents, bytes } = await store.usage(physicalName, 'a');
          assert.ok(documents <= limits.documents && bytes <= limits.bytes, `${documents} ${bytes}`);
          if (all.length === 1 && before.documents + steps.length <= 3 && steps.length === 1) {
            if (bytes + 100 < limits.bytes) assert.notEqual(outcomes[0], 'QUOTA_EXCEEDED');
          }
        }),
      );
    }),
    { numRuns: 60 },
  );
});
