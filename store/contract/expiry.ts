import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import type { Store } from '../store.ts';
import {
  confirm,
  ids,
  put,
  rejects,
  remove,
  search,
  SPACE,
  stored,
  type Stores,
  TENANT,
  update,
} from './stores.ts';

/** Long enough for a few reads to happen before. */
const SOON_MS = 400;

const HOUR_MS = 3_600_000;

const key = (documentId: string) => ({ tenant: TENANT, documentId });

/** Which of some documents each kind of read finds; all kinds have to agree. */
async function found(store: Store, name: string, documentIds: readonly string[]): Promise<string[]> {
  const lookups = await store.lookupDocuments(name, documentIds.map(key));
  const there = documentIds.filter((_, index) => lookups[index]);
  const reads = await store.readDocuments(name, documentIds.map(key));
  assert.deepEqual(reads.flatMap((document) => document?.documentId ?? []).sort(), there.toSorted());
  const filter = { must: [{ field: 'document_id', anyOf: documentIds }] };
  const sparse = { indices: [7], values: [1] };
  for (const query of [{}, { filter }, { sparse }, { sparse, filter }]) {
    assert.deepEqual(
      ids(await search(store, name, [1, 0, 0, 0], query)).sort(),
      there.toSorted(),
      `search with ${Object.keys(query).join()}`,
    );
  }
  const terms = await store.search(name, { tenant: TENANT, sparse, limit: 10 });
  assert.deepEqual(ids(terms).sort(), there.toSorted(), 'sparse search');
  const counts = { documents: there.length, passages: 2 * there.length };
  assert.deepEqual(await store.count(name, TENANT), counts);
  assert.deepEqual(await store.count(name, TENANT, filter), counts);
  assert.deepEqual(ids((await store.scroll(name, TENANT, { limit: 10 })).documents).sort(), there.toSorted());
  assert.deepEqual(
    ids((await store.scroll(name, TENANT, { limit: 10, filter })).documents).sort(),
    there.toSorted(),
  );
  const described = await store.ensureCollection(name, SPACE);
  assert.deepEqual({ documents: described.documents, passages: described.passages }, counts);
  return there;
}

/** A document of two passages. */
function expiring(documentId: string, expiresAt: number | undefined, version = 0) {
  const sparse = { indices: [7], values: [1] };
  const document = put(documentId, [], { version, ...(expiresAt !== undefined && { expiresAt }) });
  return {
    ...document,
    passages: [
      { vector: Float32Array.of(1, 0, 0, 0), sparse },
      { vector: Float32Array.of(0, 1, 0, 0), sparse },
    ],
  };
}

export function expiryContract(stores: Stores): void {
  describe('a document that expires', () => {
    it('is found until then, and by nothing afterwards', async () => {
      const name = await stores.collection();
      const soon = Date.now() + SOON_MS;
      await stores.first.writeDocuments(name, [
        expiring('soon', soon),
        expiring('later', Date.now() + HOUR_MS),
        expiring('never', undefined),
      ]);
      const all = ['soon', 'later', 'never'];
      const before = await search(stores.second, name, [1, 0, 0, 0]);
      if (Date.now() < soon) assert.deepEqual(ids(before).sort(), all.toSorted());
      while (Date.now() < soon) await pause(soon - Date.now() + 1);
      for (const store of [stores.first, stores.second]) {
        assert.deepEqual(await found(store, name, all), ['later', 'never']);
      }
      // Writes after that change nothing about it.
      await stores.second.writeDocuments(name, [remove('never')]);
      for (const store of [stores.first, stores.second]) {
        assert.deepEqual(await found(store, name, all), ['later']);
      }
    });

    it('says when', async () => {
      const name = await stores.collection();
      const expiresAt = Date.now() + HOUR_MS;
      await stores.first.writeDocuments(name, [expiring('a', expiresAt), expiring('b', undefined)]);
      const [a, b] = await stores.second.readDocuments(name, [key('a'), key('b')]);
      assert.equal(a?.expiresAt, expiresAt);
      assert.equal('expiresAt' in b!, false);
      const { documents } = await stores.second.scroll(name, TENANT, { limit: 5 });
      assert.deepEqual(documents.map((document) => document.expiresAt).sort(), [expiresAt, undefined]);
    });

    it('may have expired when it is put', async () => {
      const name = await stores.collection();
      assert.deepEqual(
        await stores.first.writeDocuments(name, [expiring('a', Date.now() - 1), expiring('b', 0)]),
        [{ outcome: 'indexed' }, { outcome: 'indexed' }],
      );
      assert.deepEqual(await found(stores.second, name, ['a', 'b']), []);
    });

    it('leaves its version behind, as a delete does', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [expiring('a', Date.now() - 1, 5), expiring('b', 1, 5)]);
      for (let round = 0; round < 2; round++) {
        assert.deepEqual(
          await stores.second.writeDocuments(name, [
            expiring('a', undefined, 4),
            confirm('a', 4),
            update('a', { version: 4 }),
            confirm('a', 5),
            update('a', { version: 5 }),
          ]),
          [
            { outcome: 'stale', storedVersion: 5 },
            { outcome: 'stale', storedVersion: 5 },
            { outcome: 'stale', storedVersion: 5 },
            { outcome: 'changed' },
            { outcome: 'changed' },
          ],
        );
      }
      assert.deepEqual(await stores.first.scrollDeletes(name, TENANT, { limit: 10 }), {
        deletes: [
          { tenant: TENANT, documentId: 'a', version: 5 },
          { tenant: TENANT, documentId: 'b', version: 5 },
        ],
      });
      assert.deepEqual(await stores.first.writeDocuments(name, [expiring('a', undefined, 5)]), [
        { outcome: 'indexed' },
      ]);
      assert.deepEqual(await found(stores.second, name, ['a', 'b']), ['a']);
    });

    it('can be put again without a version', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [expiring('a', 1)]);
      assert.deepEqual(
        await stores.second.writeDocuments(name, [
          confirm('a', 0),
          update('a'),
          remove('a'),
          expiring('a', undefined),
        ]),
        [{ outcome: 'changed' }, { outcome: 'changed' }, { outcome: 'deleted' }, { outcome: 'indexed' }],
      );
      assert.deepEqual(await found(stores.first, name, ['a']), ['a']);
    });

    it('is not deleted by a filter once it has expired', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [expiring('a', 1, 5), expiring('b', undefined, 5)]);
      assert.equal(await stores.second.deleteByFilter(name, TENANT, {}), 1);
      assert.deepEqual(await stores.second.writeDocuments(name, [expiring('a', undefined, 4)]), [
        { outcome: 'stale', storedVersion: 5 },
      ]);
    });

    it('gets another expiry, or none, by an update or a put', async () => {
      const name = await stores.collection();
      const later = Date.now() + HOUR_MS;
      await stores.first.writeDocuments(name, [
        expiring('a', later),
        expiring('b', undefined),
        expiring('c', later),
        expiring('d', undefined),
      ]);
      assert.deepEqual(await found(stores.second, name, ['a', 'b', 'c', 'd']), ['a', 'b', 'c', 'd']);
      assert.deepEqual(
        await stores.first.writeDocuments(name, [
          update('a', { contentHash: 'hash of a' }),
          update('b', { expiresAt: later + 1, contentHash: 'hash of b' }),
          expiring('c', undefined),
          update('d', { expiresAt: Date.now() - 1, version: 3 }),
        ]),
        [{ outcome: 'updated' }, { outcome: 'updated' }, { outcome: 'indexed' }, { outcome: 'updated' }],
      );
      for (const store of [stores.first, stores.second]) {
        assert.deepEqual(await found(store, name, ['a', 'b', 'c', 'd']), ['a', 'b', 'c']);
        const read = await store.readDocuments(name, ['a', 'b', 'c'].map(key));
        assert.deepEqual(
          read.map((document) => document?.expiresAt),
          [undefined, later + 1, undefined],
        );
      }
      assert.deepEqual(await stores.second.lookupDocuments(name, [key('a')]), [stored('a', { passages: 2 })]);
      assert.deepEqual(await stores.second.writeDocuments(name, [expiring('d', undefined, 2)]), [
        { outcome: 'stale', storedVersion: 3 },
      ]);
    });

    for (const expiresAt of [-1, 1.5, NaN, 2 ** 53]) {
      it(`is refused if it expires at ${expiresAt}`, async () => {
        const name = await stores.collection();
        for (const write of [expiring('a', expiresAt), update('a', { expiresAt })]) {
          await rejects(
            stores.first.writeDocuments(name, [write]),
            'STORE_INVALID_ARGUMENT',
            /expiry of write 0/,
          );
        }
      });
    }
  });
}
