import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { passageTexts } from '../document.ts';
import { ids, put, rejects, search, SPACE, stored, type Stores, TENANT, withMetadata } from './stores.ts';

export function readContract(stores: Stores): void {
  describe('count', () => {
    it('counts documents and passages of a tenant, with and without a filter', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [
        put('a', [[1, 0, 0, 0]], { metadata: { kind: 'x' } }),
        put(
          'b',
          [
            [1, 0, 0, 0],
            [0, 1, 0, 0],
          ],
          { metadata: { kind: 'x' } },
        ),
        put(
          'c',
          [
            [1, 0, 0, 0],
            [0, 1, 0, 0],
            [0, 0, 1, 0],
          ],
          { metadata: { kind: 'y' } },
        ),
      ]);
      assert.deepEqual(await stores.second.count(name, TENANT), { documents: 3, passages: 6 });
      assert.deepEqual(await stores.second.count(name, TENANT, {}), { documents: 3, passages: 6 });
      const filter = { must: [{ field: 'metadata.kind', equals: 'x' }] };
      assert.deepEqual(await stores.second.count(name, TENANT, filter), { documents: 2, passages: 3 });
    });
  });

  describe('lookup', () => {
    it('answers in order, whatever is asked', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [put('a', [[1, 0, 0, 0]], { version: 2 })]);
      const found = await stores.second.lookupDocuments(
        name,
        ['x', 'a', 'y', 'a'].map((documentId) => ({ tenant: TENANT, documentId })),
      );
      const a = stored('a', { version: 2 });
      assert.deepEqual(found, [undefined, a, undefined, a]);
      assert.deepEqual(await stores.second.lookupDocuments(name, []), []);
    });
  });

  describe('scroll', () => {
    it('gives every document once, whole, page by page', async () => {
      const name = await stores.collection();
      const writes = Array.from({ length: 23 }, (_, index) =>
        put(
          `d${index}`,
          [
            [1, index, 0, 0],
            [index, 1, 0, 0],
          ],
          {
            version: index,
            metadata: { index },
          },
        ),
      );
      await stores.first.writeDocuments(name, writes);
      for (const limit of [1, 7, 23, 100]) {
        const seen = [];
        let after: string | undefined;
        do {
          const page = await stores.second.scroll(name, TENANT, {
            limit,
            ...(after !== undefined && { after }),
          });
          assert.ok(page.documents.length <= limit);
          seen.push(...page.documents);
          after = page.next;
        } while (after !== undefined);
        assert.deepEqual(
          seen.sort((a, b) => a.version - b.version),
          writes.map(({ tenant, documentId, title, version, contentHash, encodingHash, metadata }) => ({
            tenant,
            documentId,
            title,
            version,
            contentHash,
            encodingHash,
            textOmitted: true,
            metadata,
            passages: [{ text: `${documentId} passage 0` }, { text: `${documentId} passage 1` }],
          })),
        );
      }
    });

    it('keeps the passages in order', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [
        put(
          'a',
          Array.from({ length: 40 }, (_, index) => [1, index, 0, 0]),
        ),
      ]);
      const page = await stores.first.scroll(name, TENANT, { limit: 1 });
      assert.deepEqual(
        passageTexts(page.documents[0]!),
        Array.from({ length: 40 }, (_, index) => `a passage ${index}`),
      );
      assert.equal(page.next, undefined);
    });

    it('follows a filter across pages', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(
        name,
        Array.from({ length: 20 }, (_, index) => withMetadata(`d${index}`, { even: index % 2 === 0 })),
      );
      const filter = { must: [{ field: 'metadata.even', equals: true }] };
      const seen: string[] = [];
      let after: string | undefined;
      do {
        const page = await stores.first.scroll(name, TENANT, {
          limit: 3,
          filter,
          ...(after !== undefined && { after }),
        });
        seen.push(...ids(page.documents));
        after = page.next;
      } while (after !== undefined);
      assert.deepEqual(seen.sort(), Array.from({ length: 10 }, (_, index) => `d${2 * index}`).sort());
    });

    it('gives empty texts where none are stored', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [
        {
          ...put('a', []),
          passages: [
            { vector: Float32Array.of(1, 0, 0, 0) },
            { vector: Float32Array.of(0, 1, 0, 0), text: 'b' },
          ],
        },
      ]);
      const [document] = (await stores.first.scroll(name, TENANT, { limit: 1 })).documents;
      assert.deepEqual(passageTexts(document!), ['', 'b']);
    });

    it('refuses a limit of 0', async () => {
      const name = await stores.collection();
      await rejects(stores.first.scroll(name, TENANT, { limit: 0 }), 'STORE_INVALID_ARGUMENT', /limit/);
    });
  });

  describe('deleteByFilter', () => {
    it('deletes what the filter holds for, whatever its version, and says how many', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(
        name,
        Array.from({ length: 10 }, (_, index) =>
          put(
            `d${index}`,
            [
              [1, index, 0, 0],
              [0, 1, 0, 0],
            ],
            { version: index, metadata: { index } },
          ),
        ),
      );
      assert.equal((await search(stores.second, name, [1, 0, 0, 0], { limit: 20 })).length, 10);
      const filter = { must: [{ field: 'metadata.index', range: { gte: 7 } }] };
      assert.equal(await stores.first.deleteByFilter(name, TENANT, filter), 3);
      assert.equal(await stores.first.deleteByFilter(name, TENANT, filter), 0);
      assert.deepEqual(await stores.second.count(name, TENANT), { documents: 7, passages: 14 });
      assert.equal((await search(stores.second, name, [1, 0, 0, 0], { limit: 20 })).length, 7);
      assert.deepEqual(await stores.second.lookupDocuments(name, [{ tenant: TENANT, documentId: 'd8' }]), [
        undefined,
      ]);
      const some = { must: [{ field: 'document_id', anyOf: ['d1', 'd2', 'nobody'] }] };
      assert.equal(await stores.second.deleteByFilter(name, TENANT, some), 2);
      assert.deepEqual(await stores.first.count(name, TENANT), { documents: 5, passages: 10 });
      assert.deepEqual(await stores.first.writeDocuments(name, [put('d8', [[1, 0, 0, 0]], { version: 1 })]), [
        { outcome: 'indexed' },
      ]);
    });

    it('keeps what must, should or mustNot leaves out', async () => {
      const name = await stores.collection();
      const letters = ['a', 'b', 'c', 'd', 'e'];
      await stores.first.writeDocuments(
        name,
        letters.map((letter, index) => withMetadata(letter, { letter, index })),
      );
      const is = (letter: string) => ({ field: 'metadata.letter', equals: letter });
      const below = (end: number) => ({ field: 'metadata.index', range: { lt: end } });
      const left = async () =>
        ids((await stores.second.scroll(name, TENANT, { limit: 10 })).documents).sort();
      assert.equal(
        await stores.first.deleteByFilter(name, TENANT, { must: [below(2)], mustNot: [is('a')] }),
        1,
      );
      assert.deepEqual(await left(), ['a', 'c', 'd', 'e']);
      assert.equal(
        await stores.first.deleteByFilter(name, TENANT, { must: [below(4)], should: [is('d'), is('e')] }),
        1,
      );
      assert.deepEqual(await left(), ['a', 'c', 'e']);
      assert.equal(await stores.first.deleteByFilter(name, TENANT, { mustNot: [is('c')] }), 2);
      assert.deepEqual(await left(), ['c']);
    });

    it('deletes more than a thousand', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(
        name,
        Array.from({ length: 1105 }, (_, index) => withMetadata(`d${index}`, { kept: index % 200 === 0 })),
      );
      const filter = { must: [{ field: 'metadata.kept', equals: false }] };
      assert.equal(await stores.first.deleteByFilter(name, TENANT, filter), 1099);
      assert.equal(await stores.first.deleteByFilter(name, TENANT, {}), 6);
      assert.deepEqual(await stores.second.count(name, TENANT), { documents: 0, passages: 0 });
    });
  });

  describe('a call', () => {
    it('that is cancelled before it begins rejects with the reason of the signal', async () => {
      const name = await stores.collection();
      const reason = new Error('changed my mind');
      const options = { signal: AbortSignal.abort(reason) };
      await assert.rejects(stores.first.writeDocuments(name, [put('a', [[1, 0, 0, 0]])], options), reason);
      await assert.rejects(stores.first.findCollection(name, options), reason);
      assert.deepEqual(await stores.first.count(name, TENANT), { documents: 0, passages: 0 });
    });

    it('that is cancelled while it runs rejects with the reason of the signal', async () => {
      const name = await stores.collection();
      const controller = new AbortController();
      const reason = new Error('changed my mind');
      const call = search(stores.first, name, [1, 0, 0, 0]);
      const cancelled = stores.first.search(
        name,
        { tenant: TENANT, vector: Float32Array.of(1, 0, 0, 0), limit: 1 },
        { signal: controller.signal },
      );
      controller.abort(reason);
      await assert.rejects(cancelled, reason);
      assert.deepEqual(await call, []);
    });

    it('whose deadline has passed rejects with a TimeoutError', async () => {
      const name = await stores.collection();
      await assert.rejects(stores.first.count(name, TENANT, undefined, { deadline: Date.now() - 1 }), {
        name: 'TimeoutError',
      });
      assert.deepEqual(await stores.first.count(name, TENANT, undefined, { deadline: Date.now() + 60_000 }), {
        documents: 0,
        passages: 0,
      });
    });

    it('to a store that has been closed rejects', async () => {
      const store = await stores.open();
      await store.probe();
      await store.close();
      await rejects(store.probe(), 'STORE_UNAVAILABLE', /closed/);
      await store.close();
    });

    it('that was made before the store is closed is answered', async () => {
      const store = await stores.open();
      const name = stores.name();
      const made = store.ensureCollection(name, SPACE);
      await store.close();
      assert.equal((await made).name, name);
    });

    it('with metadata that JSON cannot write is refused', async () => {
      const name = await stores.collection();
      const circular: Record<string, unknown> = {};
      circular['self'] = circular;
      for (const metadata of [circular, { big: 1n }]) {
        const write = stores.first.writeDocuments(name, [withMetadata('a', metadata)]);
        await rejects(write, 'STORE_INVALID_ARGUMENT', /metadata of write 0 \("a"\)/);
      }
    });
  });
}
