import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { passageTexts } from '../document.ts';
import { direction, put, remove, search, SPACE, stored, type Stores } from './stores.ts';

const key = (documentId: string, tenant: string) => ({ tenant, documentId });

export function tenantContract(stores: Stores): void {
  describe('tenants', () => {
    it('see nothing of each other', async () => {
      const name = await stores.collection();
      const tenants = ['', 'a', 'a\0', 'A', 'ä', 'b'];
      await stores.first.writeDocuments(
        name,
        tenants.map((tenant, index) =>
          put('same', [[1, index, 0, 0]], { tenant, version: index, title: `of ${tenant}` }),
        ),
      );
      await stores.first.writeDocuments(name, [remove('same', 100, 'b')]);
      for (const [index, tenant] of tenants.slice(0, -1).entries()) {
        const hits = await search(stores.second, name, [1, index, 0, 0], { tenant });
        assert.deepEqual(
          hits.map(({ title, score }) => [title, score.toFixed(3)]),
          [[`of ${tenant}`, '1.000']],
        );
        assert.deepEqual(await stores.second.lookupDocuments(name, [key('same', tenant)]), [
          stored('same', { version: index }),
        ]);
        assert.deepEqual(await stores.second.count(name, tenant), { documents: 1, passages: 1 });
        const page = await stores.second.scroll(name, tenant, { limit: 10 });
        assert.deepEqual(
          page.documents.map((document) => document.tenant),
          [tenant],
        );
      }
      assert.equal(await stores.first.deleteByFilter(name, 'a', {}), 1);
      assert.deepEqual(await stores.first.count(name, 'a'), { documents: 0, passages: 0 });
      assert.deepEqual(await stores.first.count(name, 'A'), { documents: 1, passages: 1 });
      const described = await stores.first.ensureCollection(name, SPACE);
      assert.deepEqual([described.documents, described.passages], [4, 4]);
    });

    it('keep the passages of documents that have the same id', async () => {
      const name = await stores.collection();
      const write = (tenant: string) => {
        const document = put('same', [direction(1), direction(2), direction(3)], { tenant });
        const passages = document.passages.map((passage, index) => ({
          ...passage,
          text: `${tenant} ${index}`,
        }));
        return { ...document, passages };
      };
      await stores.first.writeDocuments(name, [write('a'), write('b')]);
      for (const tenant of ['a', 'b']) {
        assert.deepEqual(await stores.second.count(name, tenant), { documents: 1, passages: 3 });
        const { documents } = await stores.second.scroll(name, tenant, { limit: 10 });
        assert.deepEqual(passageTexts(documents[0]!), [`${tenant} 0`, `${tenant} 1`, `${tenant} 2`]);
        const [hit] = await search(stores.second, name, direction(3), { tenant });
        assert.equal(hit?.text, `${tenant} 2`);
      }
    });

    it('that nobody wrote for have nothing', async () => {
      const name = await stores.collection();
      assert.deepEqual(await search(stores.first, name, [1, 0, 0, 0], { tenant: 'nobody' }), []);
      assert.deepEqual(await stores.first.count(name, 'nobody'), { documents: 0, passages: 0 });
      assert.deepEqual(await stores.first.scroll(name, 'nobody', { limit: 1 }), { documents: [] });
      assert.equal(await stores.first.deleteByFilter(name, 'nobody', {}), 0);
    });
  });
}
