import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { confirm, ids, put, remove, search, stored, type Stores, TENANT } from './stores.ts';

const key = (documentId: string) => ({ tenant: TENANT, documentId });

export function versionContract(stores: Stores): void {
  describe('versions', () => {
    it('keep the higher version, whichever comes last', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [put('a', [[1, 0, 0, 0]], { version: 5 })]);
      assert.deepEqual(await stores.second.writeDocuments(name, [put('a', [[0, 1, 0, 0]], { version: 4 })]), [
        { outcome: 'stale', storedVersion: 5 },
      ]);
      assert.equal((await search(stores.second, name, [1, 0, 0, 0]))[0]?.score.toFixed(3), '1.000');
      assert.deepEqual(await stores.second.writeDocuments(name, [put('a', [[0, 1, 0, 0]], { version: 5 })]), [
        { outcome: 'indexed' },
      ]);
      assert.equal((await search(stores.first, name, [0, 1, 0, 0]))[0]?.score.toFixed(3), '1.000');
    });

    it('take versions up to 2^53 - 1', async () => {
      const name = await stores.collection();
      const version = Number.MAX_SAFE_INTEGER;
      await stores.first.writeDocuments(name, [put('a', [[1, 0, 0, 0]], { version })]);
      assert.equal((await search(stores.first, name, [1, 0, 0, 0]))[0]?.version, version);
      assert.deepEqual(await stores.first.writeDocuments(name, [remove('a', version - 1)]), [
        { outcome: 'stale', storedVersion: version },
      ]);
    });

    it('let the highest version win when stores race', async () => {
      const name = await stores.collection();
      const versions = Array.from({ length: 20 }, (_, index) => ((index * 7) % 20) + 1);
      await Promise.all(
        versions.map((version, index) =>
          (index % 2 === 0 ? stores.first : stores.second).writeDocuments(name, [
            put(
              'a',
              Array.from({ length: (version % 4) + 1 }, () => [version, 1, 0, 0]),
              {
                version,
                contentHash: `hash ${version}`,
              },
            ),
          ]),
        ),
      );
      assert.deepEqual(await stores.first.lookupDocuments(name, [key('a')]), [
        stored('a', { version: 20, contentHash: 'hash 20' }),
      ]);
      assert.deepEqual(await stores.first.count(name, TENANT), { documents: 1, passages: 1 });
      assert.equal((await search(stores.second, name, [20, 1, 0, 0]))[0]?.score.toFixed(4), '1.0000');
    });

    it('remember a delete that has a version', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [put('a', [[1, 0, 0, 0]], { version: 1 }), remove('a', 3)]);
      assert.deepEqual(
        await stores.second.writeDocuments(name, [
          put('a', [[1, 0, 0, 0]], { version: 2 }),
          confirm('a', 2),
          confirm('a', 3),
          remove('a', 2),
          put('a', [[1, 0, 0, 0]], { version: 2 }),
        ]),
        [
          { outcome: 'stale', storedVersion: 3 },
          { outcome: 'stale', storedVersion: 3 },
          { outcome: 'changed' },
          { outcome: 'deleted' },
          { outcome: 'stale', storedVersion: 3 },
        ],
      );
      assert.deepEqual(await stores.first.count(name, TENANT), { documents: 0, passages: 0 });
      assert.deepEqual(await search(stores.first, name, [1, 0, 0, 0]), []);
      assert.deepEqual(await stores.first.lookupDocuments(name, [key('a')]), [undefined]);
      assert.deepEqual((await stores.first.scroll(name, TENANT, { limit: 10 })).documents, []);
      assert.deepEqual(await stores.first.writeDocuments(name, [put('a', [[1, 0, 0, 0]], { version: 3 })]), [
        { outcome: 'indexed' },
      ]);
      assert.deepEqual(ids(await search(stores.second, name, [1, 0, 0, 0])), ['a']);
    });

    it('remember a delete of what was never there', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [remove('a', 2)]);
      assert.deepEqual(await stores.first.writeDocuments(name, [put('a', [[1, 0, 0, 0]], { version: 1 })]), [
        { outcome: 'stale', storedVersion: 2 },
      ]);
    });

    it('forget a delete that has no version', async () => {
      const name = await stores.collection();
      assert.deepEqual(
        await stores.first.writeDocuments(name, [
          put('a', [[1, 0, 0, 0]]),
          remove('a'),
          put('a', [[1, 0, 0, 0]]),
        ]),
        [{ outcome: 'indexed' }, { outcome: 'deleted' }, { outcome: 'indexed' }],
      );
    });

    it('forget a delete once the document has been put again', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [remove('a', 3), put('a', [[1, 0, 0, 0]], { version: 3 })]);
      // A delete by filter leaves nothing behind, so any version may come next.
      assert.equal(await stores.first.deleteByFilter(name, TENANT, {}), 1);
      assert.deepEqual(await stores.second.writeDocuments(name, [put('a', [[1, 0, 0, 0]], { version: 1 })]), [
        { outcome: 'indexed' },
      ]);
    });

    it('refuse a delete that is older than the document', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [put('a', [[1, 0, 0, 0]], { version: 2 })]);
      assert.deepEqual(await stores.first.writeDocuments(name, [remove('a', 1), remove('a')]), [
        { outcome: 'stale', storedVersion: 2 },
        { outcome: 'stale', storedVersion: 2 },
      ]);
      assert.equal((await search(stores.first, name, [1, 0, 0, 0])).length, 1);
    });

    it('confirm content that is stored, and raise its version', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [put('a', [[1, 0, 0, 0]], { version: 1 })]);
      // A search in between: what it keeps in memory has to follow.
      assert.equal((await search(stores.second, name, [1, 0, 0, 0]))[0]?.version, 1);
      assert.deepEqual(await stores.first.writeDocuments(name, [confirm('a', 4)]), [
        { outcome: 'unchanged' },
      ]);
      assert.deepEqual(await stores.second.lookupDocuments(name, [key('a')]), [stored('a', { version: 4 })]);
      assert.equal((await search(stores.second, name, [1, 0, 0, 0]))[0]?.version, 4);
      const filter = { must: [{ field: 'version', range: { gte: 4 } }] };
      assert.deepEqual(ids(await search(stores.second, name, [1, 0, 0, 0], { filter })), ['a']);
      await stores.first.writeDocuments(name, [confirm('a', 5)]);
      assert.deepEqual(
        ids(
          await search(stores.second, name, [1, 0, 0, 0], {
            filter: { must: [{ field: 'version', equals: 4 }] },
          }),
        ),
        [],
      );
    });

    it('do not confirm content that is not stored', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [put('a', [[1, 0, 0, 0]], { version: 1 })]);
      assert.deepEqual(
        await stores.first.writeDocuments(name, [confirm('a', 2, 'another hash'), confirm('b', 1)]),
        [{ outcome: 'changed' }, { outcome: 'changed' }],
      );
      assert.deepEqual(await stores.first.lookupDocuments(name, [key('a'), key('b')]), [
        stored('a', { version: 1 }),
        undefined,
      ]);
    });
  });
}
