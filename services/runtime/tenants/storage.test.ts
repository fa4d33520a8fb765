import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import * as fc from 'fast-check';
import { pino } from 'pino';
import { confirm, put, remove, SPACE, update } from '../../../store/contract/stores.ts';
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

test('what the store will not do frees no place and takes none', async () => {
  const { write } = await setUp({ documents: 2, bytes: 2 * 18 + 100 });
  const first = { ...doc('1', 'x'.repeat(60)), version: 1 };
  assert.deepEqual(await write([first, doc('2', 'x'.repeat(40))]), ['indexed', 'indexed']);
  // An older delete.
  assert.deepEqual(await write([remove('1', 0, 'a'), doc('3')]), ['stale', 'QUOTA_EXCEEDED']);
  // An older put, be it of less or of more.
  assert.deepEqual(await write([doc('1', 'x'), doc('2', 'x'.repeat(50))]), ['stale', 'QUOTA_EXCEEDED']);
  assert.deepEqual(await write([doc('1', 'x'.repeat(90)), doc('2', 'y'.repeat(40))]), ['stale', 'indexed']);
  // An update of what is not stored any more.
  const described = { ...doc('2', '', { k: 'y'.repeat(20) }), version: 1 };
  assert.deepEqual(await write([described]), ['indexed']);
  const other = update('2', { tenant: 'a', version: 1, expected: { encodingHash: 'other' } });
  const bigger = { ...doc('1', 'x'.repeat(90)), version: 1 };
  assert.deepEqual(await write([other, bigger]), ['changed', 'QUOTA_EXCEEDED']);
  // A confirm makes a delete stale that would not have been.
  const raise = { ...confirm('2', 2, described.contentHash), tenant: 'a' };
  assert.deepEqual(await write([raise, remove('2', 1, 'a'), doc('3')]), [
    'unchanged',
    'stale',
    'QUOTA_EXCEEDED',
  ]);
});

interface Step {
  kind: 'put' | 'update' | 'delete';
  id: number;
  length: number;
  version: number;
  /** Whether an update expects what is stored. */
  expected: boolean;
}

const plain = (kind: Step['kind'], id: number, length: number): Step => ({
  kind,
  id,
  length,
  version: 0,
  expected: true,
});

/** What each step's answer has to be: each is tried alone, after all that were taken before it. */
async function expectedOutcomes(
  steps: readonly DocumentWrite[],
  limits: { documents: number; bytes: number },
): Promise<string[]> {
  const taken: DocumentWrite[] = [];
  let had = { documents: 0, bytes: 0 };
  const outcomes: string[] = [];
  for (const step of steps) {
    const store = new MemoryStore();
    const { physicalName } = await store.ensureCollection('docs', SPACE);
    const answers = await store.writeDocuments(physicalName, [...taken, step]);
    const { documents, bytes } = await store.usage(physicalName, 'a');
    const isOver =
      (documents > had.documents && documents > limits.documents) ||
      (bytes > had.bytes && bytes > limits.bytes);
    outcomes.push(isOver ? 'QUOTA_EXCEEDED' : answers.at(-1)!.outcome);
    if (isOver) continue;
    taken.push(step);
    had = { documents, bytes };
  }
  return outcomes;
}

test('whatever is written, the store never has more than the quota, and what fits is never refused', async () => {
  const batchesOf = (deleteVersion: number): fc.Arbitrary<Step[][]> => {
    const of = (kind: Step['kind'], version: number): fc.Arbitrary<Step> =>
      fc.record({
        kind: fc.constant(kind),
        id: fc.nat({ max: 5 }),
        length: kind === 'delete' ? fc.constant(0) : fc.nat({ max: 60 }),
        version: fc.nat({ max: version }),
        expected: kind === 'update' ? fc.boolean() : fc.constant(true),
      });
    const step = fc.oneof(of('put', 2), of('update', 2), of('delete', deleteVersion));
    return fc.array(fc.array(step, { minLength: 1, maxLength: 6 }), { maxLength: 12 });
  };
  await fc.assert(
    fc.asyncProperty(fc.oneof(batchesOf(0), batchesOf(2)), async (all) => {
      const limits = { documents: 3, bytes: 200 };
      const { write, store, physicalName } = await setUp(limits);
      let number = 0;
      const batches = all.map((batch) =>
        batch.map(({ kind, id, length, version, expected }): DocumentWrite => {
          const text = `${'x'.repeat(length)}${number++}`;
          if (kind === 'delete') return remove(String(id), version, 'a');
          if (kind === 'put') return { ...doc(String(id), text), version };
          const other = expected ? {} : { expected: { encodingHash: 'other' } };
          return update(String(id), {
            tenant: 'a',
            version,
            metadata: { text },
            contentHash: text,
            ...other,
          });
        }),
      );
      const outcomes = await Promise.all(
        batches.map(async (steps) => {
          const answered = await write(steps);
          const { documents, bytes } = await store.usage(physicalName, 'a');
          assert.ok(documents <= limits.documents && bytes <= limits.bytes, `${documents} ${bytes}`);
          return answered;
        }),
      );
      // A put older than a delete that the store remembers counts, though it is stale.
      if (all.flat().some(({ kind, version }) => kind === 'delete' && version > 0)) return;
      assert.deepEqual(outcomes.flat(), await expectedOutcomes(batches.flat(), limits));
    }),
    {
      numRuns: 60,
      examples: [
        // An update that is refused has not made the metadata longer: the next one frees nothing.
        [
          [
            [plain('put', 3, 3), plain('put', 0, 42), plain('put', 2, 57)],
            [plain('update', 0, 32), plain('update', 0, 3), plain('update', 2, 19)],
          ],
        ],
      ],
    },
  );
});
