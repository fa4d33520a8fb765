import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { RememberedDelete } from '../document.ts';
import { put, rejects, remove, type Stores, TENANT } from './stores.ts';

export function listingContract(stores: Stores): void {
  describe('the tenants of a collection', () => {
    it('are those that have documents or remembered deletes', async () => {
      const name = await stores.collection();
      assert.deepEqual(await stores.first.tenants(name), []);
      const kept = ['', 'a', 'a\0', 'A', 'ä', '😀', 'z'];
      const emptied = ['emptied', 'forgotten', 'filtered'];
      await stores.first.writeDocuments(
        name,
        [...kept, ...emptied].flatMap((tenant) => [
          put('x', [[1, 0, 0, 0]], { tenant }),
          put('y', [[1, 0, 0, 0]], { tenant }),
        ]),
      );
      await stores.first.writeDocuments(name, [
        remove('x', 0, 'emptied'),
        remove('y', 0, 'emptied'),
        remove('x', 3, 'deleted only'),
        remove('x', 0, 'forgotten'),
        remove('y', 0, 'forgotten'),
        remove('nobody', 0, 'never'),
        remove('x', 0, 'z'),
      ]);
      await stores.first.deleteByFilter(name, 'filtered', {});
      const listed = await stores.second.tenants(name);
      assert.deepEqual(listed.toSorted(), [...kept, 'deleted only'].sort());
      assert.deepEqual(await stores.first.tenants(name), listed, 'the order is stable');
    });

    it('are more than a few thousand', async () => {
      const name = await stores.collection();
      const tenants = Array.from({ length: 1203 }, (_, index) => `tenant ${index}`);
      await stores.first.writeDocuments(
        name,
        tenants.map((tenant) => put('x', [[1, 0, 0, 0]], { tenant })),
      );
      assert.deepEqual((await stores.second.tenants(name)).sort(), tenants.sort());
    });
  });

  describe('remembered deletes', () => {
    const all = async (name: string, limit: number, tenant = TENANT) => {
      const seen: RememberedDelete[] = [];
      let after: string | undefined;
      do {
        const page = await stores.second.scrollDeletes(name, tenant, {
          limit,
          ...(after !== undefined && { after }),
        });
        assert.ok(page.deletes.length <= limit);
        seen.push(...page.deletes);
        after = page.next;
      } while (after !== undefined);
      return seen;
    };

    it('are listed page by page', async () => {
      const name = await stores.collection();
      const documentIds = Array.from({ length: 23 }, (_, index) => `d${index}`);
      await stores.first.writeDocuments(name, [
        put('d3', [[1, 0, 0, 0]], { version: 1 }),
        put('kept', [[1, 0, 0, 0]], { version: 1 }),
        ...documentIds.map((documentId, index) => remove(documentId, index + 1)),
        remove('other', 9, 'other'),
        remove('no version'),
      ]);
      const expected = documentIds
        .map((documentId, index) => ({ tenant: TENANT, documentId, version: index + 1 }))
        .sort((a, b) => a.version - b.version);
      for (const limit of [1, 7, 23, 100]) {
        const seen = await all(name, limit);
        assert.deepEqual(
          seen.sort((a, b) => a.version - b.version),
          expected,
        );
      }
      assert.deepEqual(await all(name, 5, 'other'), [{ tenant: 'other', documentId: 'other', version: 9 }]);
      assert.deepEqual(await all(name, 5, 'nobody'), []);
    });

    it('are gone once the document has been put again, or deleted by a later version', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [
        remove('a', 2),
        remove('b', 2),
        put('a', [[1, 0, 0, 0]], { version: 2 }),
        remove('b', 5),
        remove('b', 4),
      ]);
      assert.deepEqual(await all(name, 10), [{ tenant: TENANT, documentId: 'b', version: 5 }]);
    });

    it('refuse a limit of 0', async () => {
      const name = await stores.collection();
      await rejects(
        stores.first.scrollDeletes(name, TENANT, { limit: 0 }),
        'STORE_INVALID_ARGUMENT',
        /limit/,
      );
    });
  });
}
