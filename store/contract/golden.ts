import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MAX_GOLDEN_BYTES } from '../names.ts';
import { physicalName } from '../store.ts';
import { rejects, SPACE, type Stores } from './stores.ts';

export function goldenContract(stores: Stores): void {
  describe('golden vectors of a collection', () => {
    it('are those that it was made with, for every process and after a reopening', async () => {
      const name = stores.name();
      const golden = 'as "it" was: ΰ';
      const made = await stores.first.ensureCollection(name, { ...SPACE, goldenVectors: golden });
      assert.deepEqual(made.space, SPACE, 'they are no part of the space');
      assert.equal(await stores.first.goldenVectors(name), golden);
      assert.equal(await stores.second.goldenVectors(physicalName(name, SPACE.fingerprint)), golden);
      await stores.second.ensureCollection(name, { ...SPACE, goldenVectors: 'later' });
      await stores.second.ensureCollection(name, SPACE);
      const reopened = await stores.open();
      try {
        assert.equal(await reopened.goldenVectors(name), golden);
      } finally {
        await reopened.close();
      }
      await stores.first.dropCollection(physicalName(name, SPACE.fingerprint));
      await stores.first.ensureCollection(name, SPACE);
      assert.equal(await stores.second.goldenVectors(name), undefined, 'they went with the collection');
    });

    it('may be absent, and are not added later', async () => {
      const name = stores.name();
      await stores.first.ensureCollection(name, SPACE);
      assert.equal(await stores.first.goldenVectors(name), undefined);
      await stores.first.ensureCollection(name, { ...SPACE, goldenVectors: 'late' });
      assert.equal(await stores.first.goldenVectors(name), undefined);
      await rejects(stores.first.goldenVectors(stores.name()), 'COLLECTION_NOT_FOUND');
    });

    it('are refused where they are too large, and nothing is made', async () => {
      const name = stores.name();
      const golden = 'x'.repeat(MAX_GOLDEN_BYTES + 1);
      await rejects(
        stores.first.ensureCollection(name, { ...SPACE, goldenVectors: golden }),
        'STORE_INVALID_ARGUMENT',
      );
      await rejects(stores.first.findCollection(name), 'COLLECTION_NOT_FOUND');
      await stores.first.ensureCollection(name, { ...SPACE, goldenVectors: golden.slice(1) });
      assert.equal(await stores.second.goldenVectors(name), golden.slice(1));
    });
  });
}
