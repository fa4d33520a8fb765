import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { StoreError } from '../errors.ts';
import { physicalName, type Store } from '../store.ts';
import { ids, OTHER_SPACE, put, rejects, search, SPACE, type Stores, TENANT } from './stores.ts';

/** Operations on a collection, for errors that all of them share. */
const OPERATIONS: Record<string, (store: Store, name: string) => Promise<unknown>> = {
  findCollection: (store, name) => store.findCollection(name),
  writeDocuments: (store, name) => store.writeDocuments(name, [put('a', [[1, 0, 0, 0]])]),
  beginBulk: (store, name) => store.beginBulk(name),
  lookupDocuments: (store, name) => store.lookupDocuments(name, [{ tenant: TENANT, documentId: 'a' }]),
  readDocuments: (store, name) => store.readDocuments(name, [{ tenant: TENANT, documentId: 'a' }]),
  deleteByFilter: (store, name) => store.deleteByFilter(name, TENANT, {}),
  search: (store, name) => search(store, name, [1, 0, 0, 0]),
  count: (store, name) => store.count(name, TENANT),
  scroll: (store, name) => store.scroll(name, TENANT, { limit: 1 }),
  tenants: (store, name) => store.tenants(name),
  scrollDeletes: (store, name) => store.scrollDeletes(name, TENANT, { limit: 1 }),
  freshness: (store, name) => store.freshness(name),
  switchAlias: (store, name) => store.switchAlias('contract-nobody', name),
  dropCollection: (store, name) => store.dropCollection(name),
};

export function collectionContract(stores: Stores): void {
  describe('collections', () => {
    it('are made once, under an alias', async () => {
      const name = stores.name();
      const made = await stores.first.ensureCollection(name, SPACE);
      assert.deepEqual(made, {
        name,
        physicalName: physicalName(name, SPACE.fingerprint),
        space: SPACE,
        identity: made.identity,
        documents: 0,
        passages: 0,
      });
      await stores.first.writeDocuments(name, [put('a', [[1, 0, 0, 0]])]);
      const again = await stores.second.ensureCollection(name, SPACE);
      assert.deepEqual(again, { ...made, documents: 1, passages: 1 });
    });

    it('are made once when many make them at the same time', async () => {
      const name = stores.name();
      const made = await Promise.all(
        Array.from({ length: 8 }, (_, index) =>
          (index % 2 === 0 ? stores.first : stores.second).ensureCollection(name, SPACE),
        ),
      );
      for (const info of made) assert.deepEqual(info, made[0]);
      const listed = await stores.first.listCollections();
      assert.equal(listed.filter((info) => info.name === name).length, 1);
    });

    it('get one of the two spaces that are asked for at the same time', async () => {
      const name = stores.name();
      const outcomes = await Promise.allSettled([
        stores.first.ensureCollection(name, SPACE),
        stores.second.ensureCollection(name, OTHER_SPACE),
      ]);
      assert.deepEqual(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
      for (const outcome of outcomes) {
        if (outcome.status === 'fulfilled') continue;
        assert.ok(outcome.reason instanceof StoreError);
        assert.equal(outcome.reason.reason, 'SPACE_MISMATCH');
      }
    });

    it('refuse another space and name both', async () => {
      const name = await stores.collection();
      await rejects(
        stores.first.ensureCollection(name, OTHER_SPACE),
        'SPACE_MISMATCH',
        new RegExp(SPACE.fingerprint),
      );
      await rejects(
        stores.first.ensureCollection(name, OTHER_SPACE),
        'SPACE_MISMATCH',
        new RegExp(OTHER_SPACE.fingerprint),
      );
      assert.deepEqual((await stores.first.findCollection(name)).space, SPACE);
    });

    it('refuse another number of dimensions under the same fingerprint', async () => {
      const name = await stores.collection();
      await rejects(stores.first.ensureCollection(name, { ...SPACE, dimensions: 5 }), 'COLLECTION_FOREIGN');
    });

    it('can be made without an alias, by their physical name', async () => {
      const name = await stores.collection();
      const physical = physicalName(name, OTHER_SPACE.fingerprint);
      const made = await stores.first.ensureCollection(physical, OTHER_SPACE);
      assert.deepEqual(made, {
        name: physical,
        physicalName: physical,
        space: OTHER_SPACE,
        identity: made.identity,
        documents: 0,
        passages: 0,
      });
      assert.equal(
        (await stores.first.findCollection(name)).physicalName,
        physicalName(name, SPACE.fingerprint),
      );
      await rejects(stores.first.ensureCollection(physical, SPACE), 'SPACE_MISMATCH');
      await rejects(
        stores.first.ensureCollection(physicalName(stores.name(), OTHER_SPACE.fingerprint), SPACE),
        'STORE_INVALID_ARGUMENT',
      );
    });

    it('are reached by alias and by physical name alike', async () => {
      const name = await stores.collection();
      const physical = physicalName(name, SPACE.fingerprint);
      await stores.first.writeDocuments(physical, [put('a', [[1, 0, 0, 0]])]);
      assert.deepEqual(ids(await search(stores.first, name, [1, 0, 0, 0])), ['a']);
      assert.deepEqual(await stores.first.findCollection(physical), await stores.first.findCollection(name));
    });

    for (const name of [
      '',
      'a/b',
      'a b',
      'a--b',
      'ä',
      'x'.repeat(65),
      '..',
      'a--sp1_0123456',
      'a--b--sp1_01234567',
    ]) {
      it(`may not be called ${JSON.stringify(name)}`, async () => {
        await rejects(stores.first.ensureCollection(name, SPACE), 'STORE_INVALID_ARGUMENT', /name/);
        await rejects(stores.first.findCollection(name), 'STORE_INVALID_ARGUMENT', /name/);
      });
    }

    it('may be called by any other name', async () => {
      const longest = `${stores.name()}_-`.padEnd(64, 'Z');
      const { physicalName: physical } = await stores.first.ensureCollection(longest, SPACE);
      assert.equal((await stores.first.findCollection(longest)).name, longest);
      await stores.first.dropCollection(physical);
    });

    for (const space of [
      { ...SPACE, fingerprint: 'sp1_0123' },
      { ...SPACE, dimensions: 0 },
      { ...SPACE, dimensions: 1.5 },
      { ...SPACE, dimensions: 65_537 },
    ]) {
      it(`refuse a malformed space: ${JSON.stringify(space)}`, async () => {
        await rejects(stores.first.ensureCollection(stores.name(), space), 'STORE_INVALID_ARGUMENT', /space/);
      });
    }

    for (const [operation, call] of Object.entries(OPERATIONS)) {
      it(`that are missing: ${operation}`, async () => {
        const name = stores.name();
        const physical = physicalName(name, SPACE.fingerprint);
        await rejects(call(stores.first, name), 'COLLECTION_NOT_FOUND', new RegExp(name));
        await rejects(call(stores.first, physical), 'COLLECTION_NOT_FOUND', new RegExp(physical));
      });
    }

    it('are listed by name, with their counts', async () => {
      const [one, two] = [await stores.collection(), await stores.collection()].sort() as [string, string];
      const bare = physicalName(one, OTHER_SPACE.fingerprint);
      await stores.first.ensureCollection(bare, OTHER_SPACE);
      await stores.first.writeDocuments(one, [
        put('a', [[1, 0, 0, 0]]),
        put('b', [
          [0, 1, 0, 0],
          [0, 0, 1, 0],
        ]),
        put('a', [[1, 0, 0, 0]], { tenant: 'other' }),
      ]);
      const listed = await stores.second.listCollections();
      const identity = async (collection: string) => (await stores.first.findCollection(collection)).identity;
      assert.deepEqual(
        listed.filter(({ name }) => [one, two, bare].includes(name)),
        [
          {
            name: one,
            physicalName: physicalName(one, SPACE.fingerprint),
            space: SPACE,
            identity: await identity(one),
            documents: 3,
            passages: 4,
          },
          {
            name: bare,
            physicalName: bare,
            space: OTHER_SPACE,
            identity: await identity(bare),
            documents: 0,
            passages: 0,
          },
          {
            name: two,
            physicalName: physicalName(two, SPACE.fingerprint),
            space: SPACE,
            identity: await identity(two),
            documents: 0,
            passages: 0,
          },
        ].sort((a, b) => (a.name < b.name ? -1 : 1)),
      );
    });

    it('are empty when they are made again after a drop', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [put('a', [[1, 0, 0, 0]], { version: 7 })]);
      assert.equal((await search(stores.second, name, [1, 0, 0, 0])).length, 1);
      await stores.first.dropCollection(physicalName(name, SPACE.fingerprint));
      await rejects(search(stores.second, name, [1, 0, 0, 0]), 'COLLECTION_NOT_FOUND');
      await stores.first.ensureCollection(name, SPACE);
      assert.deepEqual(await search(stores.second, name, [1, 0, 0, 0]), []);
      assert.deepEqual(await stores.second.writeDocuments(name, [put('a', [[0, 1, 0, 0]], { version: 1 })]), [
        { outcome: 'indexed' },
      ]);
    });
  });

  describe('aliases', () => {
    it('are listed', async () => {
      const name = await stores.collection();
      assert.equal((await stores.second.aliases()).get(name), physicalName(name, SPACE.fingerprint));
    });

    it('switch in one step: a search sees the old collection or the new one', async () => {
      const name = await stores.collection();
      const [oldPhysical, newPhysical] = [SPACE, OTHER_SPACE].map(({ fingerprint }) =>
        physicalName(name, fingerprint),
      );
      const { identity } = await stores.first.ensureCollection(newPhysical!, OTHER_SPACE);
      await stores.first.writeDocuments(oldPhysical!, [put('old', [[1, 0, 0, 0]])]);
      await stores.first.writeDocuments(newPhysical!, [put('new', [[1, 0, 0, 0]])]);
      assert.deepEqual(ids(await search(stores.second, name, [1, 0, 0, 0])), ['old']);

      const seen = new Set<string>();
      const switched = new AbortController();
      const watch = (async () => {
        while (!switched.signal.aborted)
          seen.add(ids(await search(stores.second, name, [1, 0, 0, 0])).join());
      })();
      for (const physical of [newPhysical!, oldPhysical!, newPhysical!])
        await stores.first.switchAlias(name, physical);
      switched.abort();
      await watch;
      for (const answer of seen)
        assert.ok(answer === 'old' || answer === 'new', `saw ${JSON.stringify(answer)}`);

      assert.deepEqual(ids(await search(stores.second, name, [1, 0, 0, 0])), ['new']);
      assert.deepEqual(await stores.second.findCollection(name), {
        name,
        physicalName: newPhysical,
        space: OTHER_SPACE,
        identity,
      });
      assert.equal((await stores.second.findCollection(oldPhysical!)).name, oldPhysical);
      await rejects(stores.first.ensureCollection(name, SPACE), 'SPACE_MISMATCH');
    });

    it('can lead to the same collection, and are dropped with it', async () => {
      const name = await stores.collection();
      const physical = physicalName(name, SPACE.fingerprint);
      await stores.first.switchAlias(`${name}-2`, physical);
      await stores.first.writeDocuments(`${name}-2`, [put('a', [[1, 0, 0, 0]])]);
      assert.deepEqual(ids(await search(stores.first, name, [1, 0, 0, 0])), ['a']);
      await stores.first.dropCollection(physical);
      const aliases = await stores.second.aliases();
      assert.equal(aliases.has(name), false);
      assert.equal(aliases.has(`${name}-2`), false);
    });

    it('do not stand for physical names where a collection is dropped or switched to', async () => {
      const name = await stores.collection();
      await rejects(stores.first.dropCollection(name), 'COLLECTION_NOT_FOUND');
      await rejects(stores.first.switchAlias(stores.name(), name), 'COLLECTION_NOT_FOUND');
      assert.equal((await stores.first.findCollection(name)).name, name);
    });

    it('have logical names', async () => {
      const physical = physicalName(await stores.collection(), SPACE.fingerprint);
      await rejects(stores.first.switchAlias('a/b', physical), 'STORE_INVALID_ARGUMENT', /alias/);
      await rejects(stores.first.switchAlias(physical, physical), 'STORE_INVALID_ARGUMENT', /alias/);
    });
  });
}
