import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { passageTexts } from '../document.ts';
import {
  confirm,
  ids,
  put,
  rejects,
  remove,
  search,
  stored,
  type Stores,
  TENANT,
  withMetadata,
} from './stores.ts';

const key = (documentId: string, tenant = TENANT) => ({ tenant, documentId });

export function writeContract(stores: Stores): void {
  describe('writes', () => {
    it('are found at once, by every store', async () => {
      const name = await stores.collection();
      for (let round = 0; round < 5; round++) {
        const documentId = `d${round}`;
        assert.deepEqual(await stores.first.writeDocuments(name, [put(documentId, [[1, round, 0, 0]])]), [
          { outcome: 'indexed' },
        ]);
        assert.equal(ids(await search(stores.second, name, [1, round, 0, 0]))[0], documentId);
        assert.equal(ids(await search(stores.first, name, [1, round, 0, 0]))[0], documentId);
      }
      await stores.second.writeDocuments(name, [remove('d0')]);
      assert.equal(ids(await search(stores.first, name, [1, 0, 0, 0])).includes('d0'), false);
    });

    it('without steps do nothing', async () => {
      const name = await stores.collection();
      assert.deepEqual(await stores.first.writeDocuments(name, []), []);
    });

    it('replace a document as a whole', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [
        put('a', [
          [1, 0, 0, 0],
          [0, 1, 0, 0],
          [0, 0, 1, 0],
        ]),
      ]);
      assert.equal((await search(stores.second, name, [0, 0, 1, 0]))[0]?.score.toFixed(3), '1.000');
      await stores.second.writeDocuments(name, [
        put('a', [[0, 1, 0, 0]], { title: 'new title', metadata: { fresh: true }, contentHash: 'new hash' }),
      ]);
      assert.deepEqual(await stores.first.count(name, TENANT), { documents: 1, passages: 1 });
      for (const store of [stores.first, stores.second]) {
        const [hit, ...others] = await search(store, name, [0, 0, 1, 0]);
        assert.deepEqual(others, []);
        assert.equal(hit?.score.toFixed(3), '0.000');
        assert.deepEqual(
          [hit?.title, hit?.text, hit?.metadata],
          ['new title', 'a passage 0', { fresh: true }],
        );
      }
      assert.deepEqual(await stores.first.lookupDocuments(name, [key('a')]), [
        stored('a', { contentHash: 'new hash' }),
      ]);
    });

    it('let a document grow', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [put('a', [[1, 0, 0, 0]])]);
      await stores.first.writeDocuments(name, [
        put(
          'a',
          Array.from({ length: 20 }, (_, i) => [1, i, 0, 0]),
        ),
      ]);
      assert.deepEqual(await stores.first.count(name, TENANT), { documents: 1, passages: 20 });
      assert.equal((await search(stores.second, name, [1, 19, 0, 0]))[0]?.passage, 19);
    });

    it('apply steps on one document in order', async () => {
      const name = await stores.collection();
      const results = await stores.first.writeDocuments(name, [
        put('a', [[1, 0, 0, 0]], { version: 1, contentHash: 'one' }),
        put('b', [[1, 0, 0, 0]]),
        put('a', [[0, 1, 0, 0]], { version: 3, contentHash: 'three' }),
        put('a', [[0, 0, 1, 0]], { version: 2, contentHash: 'two' }),
        confirm('a', 4, 'three'),
        remove('b'),
        confirm('a', 3, 'three'),
        remove('c'),
        remove('a', 5),
        put('a', [[0, 0, 0, 1]], { version: 4 }),
        put('a', [[0, 0, 0, 1]], { version: 6 }),
      ]);
      assert.deepEqual(results, [
        { outcome: 'indexed' },
        { outcome: 'indexed' },
        { outcome: 'indexed' },
        { outcome: 'stale', storedVersion: 3 },
        { outcome: 'unchanged' },
        { outcome: 'deleted' },
        { outcome: 'stale', storedVersion: 4 },
        { outcome: 'deleted' },
        { outcome: 'deleted' },
        { outcome: 'stale', storedVersion: 5 },
        { outcome: 'indexed' },
      ]);
      assert.deepEqual(await stores.second.lookupDocuments(name, [key('a'), key('b'), key('c')]), [
        stored('a', { version: 6 }),
        undefined,
        undefined,
      ]);
      const hits = await search(stores.second, name, [0, 0, 0, 1]);
      assert.deepEqual(
        hits.map(({ documentId, version, score }) => [documentId, version, score.toFixed(3)]),
        [['a', 6, '1.000']],
      );
    });

    it('keep strings as they are', async () => {
      const name = await stores.collection();
      const strange = [
        'a',
        'a\0',
        'a\0b',
        'A',
        'ä',
        'a\u0308',
        '"',
        "'",
        '\\',
        '../x',
        '😀',
        '\u{10ffff}',
        ' ',
        '%',
        '字'.repeat(170),
      ];
      await stores.first.writeDocuments(
        name,
        strange.map((text) => ({
          ...put(text, [[1, 0, 0, 0]], {
            contentHash: text,
            title: text,
            metadata: { [text]: text, list: [text] },
          }),
          passages: [{ vector: Float32Array.of(1, 0, 0, 0), text }],
        })),
      );
      const hits = await search(stores.second, name, [1, 0, 0, 0], { limit: 100 });
      assert.deepEqual(new Set(ids(hits)), new Set(strange));
      for (const { documentId, title, text, metadata } of hits) {
        assert.deepEqual([title, text], [documentId, documentId]);
        assert.deepEqual(metadata, { [documentId]: documentId, list: [documentId] });
      }
      const found = await stores.second.lookupDocuments(
        name,
        strange.map((text) => key(text)),
      );
      assert.deepEqual(
        found.map((document) => document?.contentHash),
        strange,
      );
      const page = await stores.second.scroll(name, TENANT, { limit: 100 });
      assert.deepEqual(
        new Set(page.documents.map((document) => passageTexts(document)[0])),
        new Set(strange),
      );
    });

    it('return metadata as JSON', async () => {
      const name = await stores.collection();
      const metadata = {
        null: null,
        list: [1, 'two', [3], { four: 4 }],
        nested: { deep: { er: 1.5e-7 } },
        big: 2 ** 53 - 1,
        negative: -0.5,
        flag: false,
        empty: {},
        none: [],
        '': 'empty key',
        constructor: 'not a function',
      };
      await stores.first.writeDocuments(name, [put('a', [[1, 0, 0, 0]], { metadata })]);
      assert.deepEqual((await search(stores.first, name, [1, 0, 0, 0]))[0]?.metadata, metadata);
    });

    it('keep metadata apart from what the store keeps of a document', async () => {
      const name = await stores.collection();
      const metadata = {
        tenant: 'another',
        document: 'x',
        document_id: 'b',
        passage: 7,
        passages: 9,
        version: 99,
        generation: 1,
        content_hash: 'z',
        settling: true,
        metadata: { tenant: 'deep' },
        'a.b': 'dotted',
        a: { b: 'nested', 'c d': 1 },
      };
      await stores.first.writeDocuments(name, [withMetadata('a', metadata)]);
      const [hit] = await search(stores.second, name, [1, 0, 0, 0]);
      assert.deepEqual([hit?.documentId, hit?.version, hit?.metadata], ['a', 0, metadata]);
      const finds = async (field: string, equals: string | number) =>
        ids(await search(stores.second, name, [1, 0, 0, 0], { filter: { must: [{ field, equals }] } }));
      assert.deepEqual(await finds('metadata.version', 99), ['a']);
      assert.deepEqual(await finds('version', 99), []);
      assert.deepEqual(await finds('metadata.document_id', 'b'), ['a']);
      assert.deepEqual(await finds('document_id', 'b'), []);
      assert.deepEqual(await finds('metadata.metadata.tenant', 'deep'), ['a']);
      assert.deepEqual(await finds('metadata.a.b', 'nested'), ['a']);
      assert.deepEqual(await finds('metadata.a.b', 'dotted'), []);
      assert.deepEqual(await finds('metadata.a.c d', 1), ['a']);
    });

    it('keep numbers exactly', async () => {
      const name = await stores.collection();
      const numbers = [
        2 ** 53 - 1,
        -(2 ** 53 - 1),
        2 ** 60,
        1e21,
        1.7976931348623157e308,
        5e-324,
        0.1,
        1 / 3,
      ];
      await stores.first.writeDocuments(
        name,
        numbers.map((number, index) => withMetadata(`d${index}`, { number })),
      );
      for (const [index, number] of numbers.entries()) {
        const [read] = await stores.second.readDocuments(name, [key(`d${index}`)]);
        assert.equal(read?.metadata['number'], number);
        const filter = { must: [{ field: 'metadata.number', equals: number }] };
        if (Math.abs(number) > Number.MAX_SAFE_INTEGER) {
          // It is not the only number that arrives as this one.
          const inexact = search(stores.second, name, [1, 0, 0, 0], { filter });
          await rejects(inexact, 'STORE_INVALID_ARGUMENT', /beyond 2\^53/);
          continue;
        }
        const hits = await search(stores.second, name, [1, 0, 0, 0], { filter });
        assert.deepEqual(
          hits.map(({ documentId, metadata }) => [documentId, metadata?.['number']]),
          [[`d${index}`, number]],
        );
      }
    });

    it('scale vectors to unit length', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [
        put('long', [[300, 400, 0, 0]]),
        put('short', [[3e-20, 4e-20, 0, 0]]),
        put('unit', [[0.6, 0.8, 0, 0]]),
      ]);
      for (const { score } of await search(stores.first, name, [30, 40, 0, 0])) {
        assert.ok(Math.abs(score - 1) < 1e-5, `score ${score}`);
      }
    });

    it('do not change the vectors of the caller', async () => {
      const name = await stores.collection();
      const write = put('a', [[3, 4, 0, 0]]);
      await stores.first.writeDocuments(name, [write]);
      assert.deepEqual([...write.passages[0]!.vector], [3, 4, 0, 0]);
    });

    it('take vectors that lie in a larger buffer', async () => {
      const name = await stores.collection();
      const buffer = Float32Array.of(9, 9, 1, 0, 0, 0, 9);
      await stores.first.writeDocuments(name, [
        { ...put('a', []), passages: [{ vector: buffer.subarray(2, 6) }] },
      ]);
      const [hit] = await stores.first.search(name, {
        tenant: TENANT,
        vector: buffer.subarray(2, 6),
        limit: 1,
      });
      assert.equal(hit?.score.toFixed(4), '1.0000');
    });
  });
}
