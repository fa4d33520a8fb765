import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { quotaBytes } from '../document-bytes.ts';
import type { Store } from '../store.ts';
import { direction, put, remove, search, SPACE, type Stores, update } from './stores.ts';

const key = (documentId: string, tenant: string) => ({ tenant, documentId });

/** What a tenant has, by reading all of it. */
async function readAll(store: Store, name: string, tenant: string) {
  const { documents } = await store.scroll(name, tenant, { limit: 1000 });
  return {
    documents: documents.length,
    passages: documents.reduce((sum, { passages }) => sum + passages.length, 0),
    bytes: documents.reduce((sum, document) => sum + quotaBytes(document, SPACE.dimensions), 0),
  };
}

/** How much each tenant uses, and that nothing of a dropped one is left. */
export function tenantDataContract(stores: Stores): void {
  describe('the data of a tenant', () => {
    it('are measured as they are read, whatever was written before', async () => {
      const name = await stores.collection();
      const write = (...writes: Parameters<Store['writeDocuments']>[1]) =>
        stores.first.writeDocuments(name, writes);
      const check = async (): Promise<void> => {
        for (const tenant of ['a', 'b', 'nobody']) {
          const expected = await readAll(stores.second, name, tenant);
          assert.deepEqual(await stores.second.usage(name, tenant), expected);
        }
        const all = await stores.second.tenantCounts(name);
        for (const { tenant, ...counts } of all) {
          assert.deepEqual(counts, await stores.second.count(name, tenant));
        }
      };
      await check();
      const text = 'ä'.repeat(100);
      await write(
        put('one', [direction(1)], { tenant: 'a', text, metadata: { ü: 'ö', n: 0.1 } }),
        put('long', [direction(2), direction(3)], { tenant: 'a', text: `${text}${text}`, title: 'Ä' }),
        put('no text', [direction(4)], { tenant: 'a', title: '' }),
        put('one', [direction(5)], { tenant: 'b' }),
      );
      await check();
      const { bytes } = await stores.first.usage(name, 'a');
      const metadata = Buffer.byteLength('{"ü":"ö","n":0.1}');
      const titles = 'Title of one'.length + 2;
      assert.equal(bytes, 200 + 400 + metadata + 2 * '{}'.length + titles + 4 * 4 * SPACE.dimensions);
      assert.deepEqual(
        await stores.first.measureDocuments(name, [key('no text', 'a'), key('no text', 'b')]),
        [2 + 4 * SPACE.dimensions, undefined],
      );

      // A put replaces, an update changes the metadata, a delete takes away, and so does time.
      await write(put('long', [direction(2)], { tenant: 'a', text: 'short', title: '' }));
      await check();
      await write(update('one', { tenant: 'a', metadata: { longer: 'x'.repeat(1000) } }));
      await check();
      await write(remove('no text', 1, 'a'), put('dead', [direction(9)], { tenant: 'b', expiresAt: 1 }));
      await check();
      assert.deepEqual(
        (await stores.first.tenantCounts(name)).map(({ tenant, documents }) => [tenant, documents]),
        [
          ['a', 2],
          ['b', 1],
        ],
      );
    });

    it('are gone after a drop, all of them, and those of others are not', async () => {
      const name = await stores.collection();
      const own = Array.from({ length: 300 }, (_, index) =>
        put(`d${index}`, [direction(index), direction(index + 1)], { tenant: 'a', text: `t${index}` }),
      );
      const before = { tenant: 'b', version: 3, text: 'kept' };
      await stores.first.writeDocuments(name, [
        ...own,
        put('d1', [direction(1), direction(7)], before),
        put('dead', [direction(1)], { tenant: 'a', version: 2, expiresAt: 1 }),
      ]);
      await stores.first.writeDocuments(name, [remove('gone', 7, 'a'), remove('gone', 7, 'b')]);
      const others = await stores.second.scroll(name, 'b', { limit: 10, withVectors: true });
      // Another process has it in memory.
      assert.equal((await search(stores.second, name, direction(1), { tenant: 'a' })).length, 10);

      assert.ok((await stores.second.remains(name, 'a')) > 300);
      assert.equal(await stores.first.dropTenant(name, 'nobody'), 0);
      assert.ok((await stores.first.dropTenant(name, 'a')) >= 300);
      assert.equal(await stores.second.remains(name, 'a'), 0);
      assert.equal(await stores.first.dropTenant(name, 'a'), 0);

      assert.deepEqual(await search(stores.second, name, direction(1), { tenant: 'a' }), []);
      assert.deepEqual(await stores.second.count(name, 'a'), { documents: 0, passages: 0 });
      assert.deepEqual(await stores.second.usage(name, 'a'), { documents: 0, passages: 0, bytes: 0 });
      assert.deepEqual(await stores.second.tenants(name), ['b']);
      assert.deepEqual(await stores.second.scrollDeletes(name, 'a', { limit: 10 }), { deletes: [] });
      assert.equal(await stores.second.findDelete(name, key('gone', 'a')), undefined);

      assert.deepEqual(await stores.second.scroll(name, 'b', { limit: 10, withVectors: true }), others);
      assert.deepEqual(await stores.second.findDelete(name, key('gone', 'b')), {
        version: 7,
        expired: false,
      });
      assert.ok((await stores.second.remains(name, 'b')) > 0);

      // Whoever comes back begins anew: no version is remembered, and nothing old is found.
      await stores.first.writeDocuments(name, [put('d1', [direction(1)], { tenant: 'a', title: 'new' })]);
      const hits = await search(stores.second, name, direction(1), { tenant: 'a' });
      assert.deepEqual(
        hits.map(({ title }) => title),
        ['new'],
      );
    });

    it('that a drop left behind when it was cut short go with the next', async () => {
      const name = await stores.collection();
      const many = Array.from({ length: 2000 }, (_, index) =>
        put(`d${index}`, [direction(index)], { tenant: 'a', version: 1 }),
      );
      await stores.first.writeDocuments(name, many);
      const cut = new AbortController();
      const drop = stores.first.dropTenant(name, 'a', { signal: cut.signal });
      setTimeout(() => cut.abort(), 5);
      const dropped = await drop.catch((error: unknown) => {
        assert.equal((error as Error).name, 'AbortError');
        return 0;
      });
      if (dropped === 0) await stores.first.dropTenant(name, 'a');
      assert.equal(await stores.second.remains(name, 'a'), 0);
      assert.deepEqual(await stores.second.tenants(name), []);
    });
  });
}
