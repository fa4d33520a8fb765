import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { DocumentWrite, SparseVector } from '../store.ts';
import { confirm, ids, put, rejects, remove, search, type Stores, TENANT } from './stores.ts';

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

    it('of nothing do nothing', async () => {
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
        { version: 0, contentHash: 'new hash', passages: 1 },
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
        { version: 6, contentHash: 'hash of a', passages: 1 },
        undefined,
        undefined,
      ]);
      const hits = await search(stores.second, name, [0, 0, 0, 1]);
      assert.deepEqual(
        hits.map(({ documentId, version, score }) => [documentId, version, score.toFixed(3)]),
        [['a', 6, '1.000']],
      );
    });

    it('keep what is newer, whatever comes last', async () => {
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
        { version: 20, contentHash: 'hash 20', passages: 1 },
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
      assert.deepEqual(await stores.second.lookupDocuments(name, [key('a')]), [
        { version: 4, contentHash: 'hash of a', passages: 1 },
      ]);
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
        { version: 1, contentHash: 'hash of a', passages: 1 },
        undefined,
      ]);
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
      assert.deepEqual(new Set(page.documents.map(({ texts }) => texts[0])), new Set(strange));
    });

    it('give metadata back as JSON has them', async () => {
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

    it('leave the vectors of the caller alone', async () => {
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

    const good = put('good', [[1, 0, 0, 0]]);
    const bad: Record<string, [DocumentWrite, RegExp]> = {
      'a vector that is too short': [put('bad', [[1, 0, 0]]), /3 dimensions.*has 4/],
      'a vector that is too long': [put('bad', [[1, 0, 0, 0, 0]]), /5 dimensions/],
      'a second passage of another length': [put('bad', [[1, 0, 0, 0], [1]]), /passage 1/],
      NaN: [put('bad', [[1, NaN, 0, 0]]), /NaN at index 1/],
      Infinity: [put('bad', [[1, 0, Infinity, 0]]), /Infinity at index 2/],
      'a number beyond float32': [put('bad', [[1e39, 0, 0, 0]]), /finite/],
      'a zero vector': [put('bad', [[0, 0, 0, 0]]), /zero/],
      'no passages': [put('bad', []), /no passages/],
      'an empty id': [put('', [[1, 0, 0, 0]]), /empty/],
      'an id with a lone surrogate': [put('\ud800', [[1, 0, 0, 0]]), /surrogate/],
      'a tenant with a lone surrogate': [put('bad', [[1, 0, 0, 0]], { tenant: '\udc00' }), /surrogate/],
      'a negative version': [put('bad', [[1, 0, 0, 0]], { version: -1 }), /version/],
      'a fractional version': [put('bad', [[1, 0, 0, 0]], { version: 1.5 }), /version/],
      'a version beyond 2^53': [remove('bad', 2 ** 53), /version/],
      'more indices than values': [withSparse({ indices: [1, 2], values: [1] }), /2 indices and 1 values/],
      'an index twice': [withSparse({ indices: [1, 1], values: [1, 1] }), /twice/],
      'an index beyond 32 bits': [withSparse({ indices: [2 ** 32], values: [1] }), /32-bit/],
      'a negative weight': [withSparse({ indices: [1], values: [-1] }), /positive/],
      'a weight that is not finite': [withSparse({ indices: [1], values: [NaN] }), /finite/],
      'a weight beyond float32': [withSparse({ indices: [1], values: [1e39] }), /float32/],
    };
    for (const [what, [write, message]] of Object.entries(bad)) {
      it(`refuse ${what}, and all that comes with it`, async () => {
        const name = await stores.collection();
        await rejects(
          stores.first.writeDocuments(name, [good, write, good]),
          'STORE_INVALID_ARGUMENT',
          message,
        );
        assert.deepEqual(await stores.first.count(name, TENANT), { documents: 0, passages: 0 });
      });
    }
  });

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
          { version: index, contentHash: 'hash of same', passages: 1 },
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
      const described = await stores.first.describeCollection(name);
      assert.deepEqual([described.documents, described.passages], [4, 4]);
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

function withSparse(sparse: SparseVector): DocumentWrite {
  return { ...put('bad', []), passages: [{ vector: Float32Array.of(1, 0, 0, 0), sparse }] };
}
