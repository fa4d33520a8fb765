import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { physicalName, type Store } from '../store.ts';
import { OTHER_SPACE, put, SPACE, type Stores } from './stores.ts';

/** The identity of a collection, as each call that describes it says. */
async function identityOf(store: Store, name: string): Promise<string> {
  const { identity, physicalName: physical } = await store.findCollection(name);
  const listed = (await store.listCollections()).find((info) => info.physicalName === physical);
  assert.equal(listed?.identity, identity, 'listCollections says what findCollection says');
  const freshness = await store.freshness(name);
  assert.equal(freshness.identity, identity, 'freshness says what findCollection says');
  return identity;
}

export function identityContract(stores: Stores): void {
  describe('the identity of a collection', () => {
    it('is made with it, and stays', async () => {
      const name = stores.name();
      const { identity } = await stores.first.ensureCollection(name, SPACE);
      assert.match(identity, /^col_[0-9a-f]{32}$/);
      assert.equal(await identityOf(stores.first, name), identity);
      assert.equal((await stores.second.ensureCollection(name, SPACE)).identity, identity);
      await stores.second.writeDocuments(name, [put('a', [[1, 0, 0, 0]])]);
      await stores.second.switchAlias(`${name}-2`, physicalName(name, SPACE.fingerprint));
      assert.equal(await identityOf(stores.second, `${name}-2`), identity);
      const reopened = await stores.open();
      try {
        assert.equal(await identityOf(reopened, name), identity);
      } finally {
        await reopened.close();
      }
    });

    it('is another one after a drop, in another space, and for another name', async () => {
      const name = await stores.collection();
      const physical = physicalName(name, SPACE.fingerprint);
      const identities = [
        await identityOf(stores.first, name),
        await identityOf(stores.first, await stores.collection()),
        (await stores.first.ensureCollection(physicalName(name, OTHER_SPACE.fingerprint), OTHER_SPACE))
          .identity,
      ];
      await stores.first.dropCollection(physical);
      await stores.second.ensureCollection(name, SPACE);
      identities.push(await identityOf(stores.first, name), await identityOf(stores.second, physical));
      assert.equal(new Set(identities).size, 4, identities.join());
      assert.equal(identities[3], identities[4]);
    });

    it('is one when many make the collection at the same time', async () => {
      const name = stores.name();
      const made = await Promise.all(
        [stores.first, stores.second, stores.first, stores.second].map((store) =>
          store.ensureCollection(name, SPACE),
        ),
      );
      assert.equal(new Set(made.map(({ identity }) => identity)).size, 1);
    });
  });
}
