import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { freshnessToken, parseFreshness } from '../freshness.ts';
import { physicalName } from '../store.ts';
import { ids, put, rejects, remove, search, SPACE, type Stores, TENANT, update } from './stores.ts';

export function freshnessContract(stores: Stores): void {
  describe('freshness', () => {
    it('survives being a token', async () => {
      const name = await stores.collection();
      for (const write of [put('a', [[1, 0, 0, 0]]), update('a'), remove('a')]) {
        await stores.first.writeDocuments(name, [write]);
        const freshness = await stores.first.freshness(name);
        assert.deepEqual(parseFreshness(freshnessToken(freshness)), freshness);
      }
    });

    it('of a write is met at once, and the search has the write', async () => {
      const name = await stores.collection();
      const query = { atLeast: await stores.first.freshness(name) };
      assert.deepEqual(await search(stores.second, name, [1, 0, 0, 0], query), []);
      for (let round = 0; round < 5; round++) {
        const writer = round % 2 === 0 ? stores.first : stores.second;
        const reader = round % 2 === 0 ? stores.second : stores.first;
        await writer.writeDocuments(name, [put(`d${round}`, [[1, round, 0, 0]], { metadata: { round } })]);
        const atLeast = await writer.freshness(name);
        assert.equal(ids(await search(reader, name, [1, round, 0, 0], { atLeast }))[0], `d${round}`);
        const filter = { must: [{ field: 'metadata.round', equals: round }] };
        assert.deepEqual(ids(await search(reader, name, [1, 0, 0, 0], { atLeast, filter })), [`d${round}`]);
      }
      // Also for a tenant that has nothing.
      const atLeast = await stores.first.freshness(name);
      assert.deepEqual(await search(stores.second, name, [1, 0, 0, 0], { atLeast, tenant: 'nobody' }), []);
    });

    it('that the store has not reached is refused, and a later search may succeed', async (test) => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [put('a', [[1, 0, 0, 0]])]);
      const { identity, position } = await stores.first.freshness(name, { tenant: TENANT });
      if (!stores.positionAhead) {
        test.skip('the fixture can make no position ahead of the store');
        return;
      }
      const ahead = { identity, position: stores.positionAhead(position) };
      for (const tenant of [TENANT, 'nobody']) {
        const late = search(stores.second, name, [1, 0, 0, 0], { atLeast: ahead, tenant });
        await assert.rejects(late, { reason: 'STORE_NOT_FRESH', retryable: true });
      }
      assert.equal(
        (await search(stores.second, name, [1, 0, 0, 0], { atLeast: { identity, position } })).length,
        1,
      );
    });

    it('of a tenant grows with what that one writes alone', async () => {
      const name = await stores.collection();
      const own = { tenant: TENANT };
      await stores.first.writeDocuments(name, [put('a', [[1, 0, 0, 0]])]);
      const before = await stores.first.freshness(name, own);
      for (let round = 0; round < 3; round++) {
        const theirs = { tenant: 'other', contentHash: String(round) };
        await stores.second.writeDocuments(name, [put('a', [[1, round, 0, 0]], theirs)]);
      }
      const atLeast = await stores.second.freshness(name, own);
      if (stores.positionAhead) assert.deepEqual(atLeast, before);
      assert.deepEqual(ids(await search(stores.second, name, [1, 0, 0, 0], { atLeast })), ['a']);
      await stores.first.writeDocuments(name, [remove('a')]);
      const after = await stores.first.freshness(name, own);
      if (stores.positionAhead) assert.ok(Number(after.position) > Number(before.position));
      assert.deepEqual(await search(stores.second, name, [1, 0, 0, 0], { atLeast: after }), []);
      // Where the tenant is dropped, its positions go on above the old ones.
      await stores.first.dropTenant(name, TENANT);
      await stores.first.writeDocuments(name, [put('a', [[1, 0, 0, 0]])]);
      const anew = await stores.first.freshness(name, own);
      if (stores.positionAhead) assert.ok(Number(anew.position) > Number(after.position));
    });

    it('of another collection is refused', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [put('a', [[1, 0, 0, 0]])]);
      const old = await stores.first.freshness(name);
      const other = await stores.first.freshness(await stores.collection());
      await rejects(
        search(stores.first, name, [1, 0, 0, 0], { atLeast: other }),
        'COLLECTION_REPLACED',
        new RegExp(`${name}.*${other.identity}.*${old.identity}`),
      );
      await stores.first.dropCollection(physicalName(name, SPACE.fingerprint));
      await stores.first.ensureCollection(name, SPACE);
      await stores.first.writeDocuments(name, [put('b', [[1, 0, 0, 0]])]);
      for (const store of [stores.first, stores.second]) {
        await rejects(search(store, name, [1, 0, 0, 0], { atLeast: old }), 'COLLECTION_REPLACED');
        const atLeast = await store.freshness(name);
        assert.deepEqual(ids(await search(store, name, [1, 0, 0, 0], { atLeast })), ['b']);
      }
    });

    it('that the store did not make is refused', async () => {
      const name = await stores.collection();
      const { identity } = await stores.first.freshness(name);
      for (const position of ['', '-', 'x'.repeat(20)]) {
        await rejects(
          search(stores.first, name, [1, 0, 0, 0], { atLeast: { identity, position } }),
          'STORE_INVALID_ARGUMENT',
          /freshness/,
        );
      }
    });
  });
}
