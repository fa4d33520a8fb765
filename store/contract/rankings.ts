import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DEFAULT_FUSION, type Fusion, fuse } from '../fusion.ts';
import type { SearchQuery } from '../queries.ts';
import { ids, put, rejects, search, sparse, type Stores, TENANT, withTerms } from './stores.ts';

export function rankingContract(stores: Stores): void {
  describe('dense search', () => {
    it('ranks by cosine', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [
        put('opposite', [[-1, 0, 0, 0]]),
        put('orthogonal', [[0, 1, 0, 0]]),
        put('near', [[1, 1, 0, 0]]),
        put('same', [[5, 0, 0, 0]], { version: 3, metadata: { key: 'value' } }),
      ]);
      const hits = await search(stores.second, name, [2, 0, 0, 0]);
      assert.deepEqual(ids(hits), ['same', 'near', 'orthogonal', 'opposite']);
      for (const [index, score] of [1, Math.SQRT1_2, 0, -1].entries()) {
        assert.ok(Math.abs(hits[index]!.score - score) < 1e-5, `${hits[index]!.score} is not ${score}`);
      }
      assert.deepEqual(
        { ...hits[0], score: 1 },
        {
          documentId: 'same',
          score: 1,
          passage: 0,
          title: 'Title of same',
          text: 'same passage 0',
          metadata: { key: 'value' },
          version: 3,
        },
      );
    });

    it('breaks ties by document id, on every page', async () => {
      const name = await stores.collection();
      const documents = Array.from(
        { length: 30 },
        (_, index) => `d${String((index * 7) % 30).padStart(2, '0')}`,
      );
      await stores.first.writeDocuments(
        name,
        documents.map((id) => put(id, [[1, 0, 0, 0]])),
      );
      const sorted = documents.toSorted();
      assert.deepEqual(ids(await search(stores.first, name, [1, 0, 0, 0], { limit: 3 })), sorted.slice(0, 3));
      assert.deepEqual(
        ids(await search(stores.first, name, [1, 0, 0, 0], { limit: 5, offset: 10 })),
        sorted.slice(10, 15),
      );
      assert.deepEqual(ids(await search(stores.first, name, [1, 0, 0, 0], { limit: 100 })), sorted);
    });

    it('pages by documents', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(
        name,
        Array.from({ length: 12 }, (_, index) =>
          put(`d${index}`, [
            [1, index / 10, 0, 0],
            [1, index / 10 + 0.01, 0, 0],
          ]),
        ),
      );
      const expected = Array.from({ length: 12 }, (_, index) => `d${index}`);
      for (const [offset, limit] of [
        [0, 1],
        [0, 5],
        [5, 5],
        [10, 5],
        [11, 1],
      ] as const) {
        const hits = await search(stores.first, name, [1, 0, 0, 0], { offset, limit });
        assert.deepEqual(ids(hits), expected.slice(offset, offset + limit));
      }
      assert.deepEqual(await search(stores.first, name, [1, 0, 0, 0], { offset: 12 }), []);
      assert.deepEqual(await search(stores.first, name, [1, 0, 0, 0], { offset: 10_000, limit: 1000 }), []);
    });

    it('finds a document once, by its best passage', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [
        put('a', [
          [0, 1, 0, 0],
          [1, 0.1, 0, 0],
          [0, 0, 1, 0],
        ]),
        put('b', [[1, 0.2, 0, 0]]),
      ]);
      const hits = await search(stores.first, name, [1, 0, 0, 0]);
      assert.deepEqual(
        hits.map(({ documentId, passage, text }) => [documentId, passage, text]),
        [
          ['a', 1, 'a passage 1'],
          ['b', 0, 'b passage 0'],
        ],
      );
    });

    it('finds other documents beside one with hundreds of passages', async () => {
      const name = await stores.collection();
      const many = Array.from({ length: 600 }, (_, index) => [1, index / 1e6, 0, 0]);
      await stores.first.writeDocuments(name, [
        put('large', many),
        put('large too', many),
        ...Array.from({ length: 12 }, (_, index) =>
          put(`small ${10 + index}`, [[1, 0.5 + index / 10, 0, 0]]),
        ),
      ]);
      const expected = [
        'large',
        'large too',
        ...Array.from({ length: 12 }, (_, index) => `small ${10 + index}`),
      ];
      assert.deepEqual(
        ids(await search(stores.first, name, [1, 0, 0, 0], { limit: 5 })),
        expected.slice(0, 5),
      );
      assert.deepEqual(ids(await search(stores.first, name, [1, 0, 0, 0], { limit: 20 })), expected);
      assert.deepEqual(
        ids(await search(stores.first, name, [1, 0, 0, 0], { limit: 3, offset: 11 })),
        expected.slice(11),
      );
    });

    it('leaves out documents that score below the threshold', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [
        put('same', [[1, 0, 0, 0]]),
        put('near', [[1, 1, 0, 0]]),
        put('far', [[0, 1, 0, 0]]),
      ]);
      const above = async (scoreThreshold: number) =>
        ids(await search(stores.first, name, [1, 0, 0, 0], { scoreThreshold }));
      assert.deepEqual(await above(0.9), ['same']);
      assert.deepEqual(await above(0.7), ['same', 'near']);
      assert.deepEqual(await above(0), ['same', 'near', 'far']);
      assert.deepEqual(await above(1.1), []);
    });

    it('leaves out text and metadata where asked to, and text where there is none', async () => {
      const name = await stores.collection();
      const passages = [{ vector: Float32Array.of(0, 1, 0, 0) }];
      await stores.first.writeDocuments(name, [
        put('a', [[1, 0, 0, 0]], { metadata: { key: 1 } }),
        { ...put('silent', []), passages },
      ]);
      const [bare] = await search(stores.first, name, [1, 0, 0, 0], { withText: false, withMetadata: false });
      assert.equal('text' in bare!, false);
      assert.equal('metadata' in bare!, false);
      assert.equal(bare?.title, 'Title of a');
      const [full] = await search(stores.first, name, [1, 0, 0, 0], { withText: true, withMetadata: true });
      assert.deepEqual([full?.text, full?.metadata], ['a passage 0', { key: 1 }]);
      const [silent] = await search(stores.first, name, [0, 1, 0, 0]);
      assert.equal('text' in silent!, false);
      assert.deepEqual(silent?.metadata, {});
    });

    it('of an empty collection finds nothing', async () => {
      const name = await stores.collection();
      assert.deepEqual(await search(stores.first, name, [1, 0, 0, 0]), []);
    });

    const bad: Record<string, [Partial<SearchQuery>, RegExp]> = {
      'too few dimensions': [{ vector: Float32Array.of(1, 0) }, /2 dimensions.*has 4/],
      'too many dimensions': [{ vector: new Float32Array(5).fill(1) }, /5 dimensions/],
      'a zero vector': [{ vector: new Float32Array(4) }, /zero/],
      NaN: [{ vector: Float32Array.of(NaN, 0, 0, 0) }, /NaN at index 0/],
      'a limit of 0': [{ limit: 0 }, /limit is 0/],
      'a fractional limit': [{ limit: 1.5 }, /limit/],
      'a negative offset': [{ offset: -1 }, /offset/],
      'a threshold of NaN': [{ scoreThreshold: NaN }, /threshold/],
      'a sparse vector of uneven lengths': [{ sparse: { indices: [1], values: [] } }, /sparse/],
    };
    for (const [what, [query, message]] of Object.entries(bad)) {
      it(`refuses ${what}`, async () => {
        const name = await stores.collection();
        await stores.first.writeDocuments(name, [put('a', [[1, 0, 0, 0]])]);
        await rejects(search(stores.first, name, [1, 0, 0, 0], query), 'STORE_INVALID_ARGUMENT', message);
      });
    }

    it('refuses a query without vectors', async () => {
      const name = await stores.collection();
      await rejects(
        stores.first.search(name, { tenant: TENANT, limit: 1 }),
        'STORE_INVALID_ARGUMENT',
        /vector/,
      );
    });
  });

  describe('sparse search', () => {
    const find = (name: string, terms: Record<number, number>, rest: Partial<SearchQuery> = {}) =>
      stores.second.search(name, { tenant: TENANT, sparse: sparse(terms), limit: 10, ...rest });
    const idf = (passages: number, frequency: number) =>
      Math.log(1 + (passages - frequency + 0.5) / (frequency + 0.5));

    it('ranks by term weights times inverse document frequency', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [
        withTerms('common', { 1: 2 }),
        withTerms('rare', { 1: 1, 4294967295: 1 }),
        withTerms('other', { 7: 3 }),
        withTerms('two', { 7: 1 }, { 1: 0.5 }),
        put('none', [[1, 0, 0, 0]]),
      ]);
      const hits = await find(name, { 1: 1, 4294967295: 2 });
      const expected = [
        ['rare', 0, idf(6, 3) + 2 * idf(6, 1)],
        ['common', 0, 2 * idf(6, 3)],
        ['two', 1, 0.5 * idf(6, 3)],
      ] as const;
      assert.deepEqual(
        hits.map(({ documentId, passage }) => [documentId, passage]),
        expected.map(([id, passage]) => [id, passage]),
      );
      for (const [index, [, , score]] of expected.entries()) {
        assert.ok(Math.abs(hits[index]!.score - score) < 1e-5, `${hits[index]!.score} is not ${score}`);
      }
    });

    it('pages, filters, cuts off and breaks ties', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(
        name,
        Array.from({ length: 10 }, (_, index) => ({
          ...withTerms(`d${9 - index}`, { 5: index < 5 ? 1 : 2 }),
          metadata: { odd: index % 2 === 1 },
        })),
      );
      assert.deepEqual(ids(await find(name, { 5: 1 })), [
        'd0',
        'd1',
        'd2',
        'd3',
        'd4',
        'd5',
        'd6',
        'd7',
        'd8',
        'd9',
      ]);
      assert.deepEqual(ids(await find(name, { 5: 1 }, { limit: 3, offset: 4 })), ['d4', 'd5', 'd6']);
      const filter = { must: [{ field: 'metadata.odd', equals: true }] };
      assert.deepEqual(ids(await find(name, { 5: 1 }, { filter, limit: 4 })), ['d0', 'd2', 'd4', 'd6']);
      const scoreThreshold = 1.5 * idf(10, 10);
      assert.deepEqual(ids(await find(name, { 5: 1 }, { scoreThreshold })), ['d0', 'd1', 'd2', 'd3', 'd4']);
    });

    it('finds nothing for terms that no document has, or without terms', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [withTerms('a', { 1: 1 })]);
      assert.deepEqual(await find(name, { 2: 1 }), []);
      assert.deepEqual(await find(name, {}), []);
    });

    it('finds nothing for the highest terms, either', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [
        withTerms('a', { 1: 1 }),
        put('b', [[1, 0, 0, 0]]),
        withTerms('c', {}),
      ]);
      for (const term of [0xffff_fffd, 0xffff_fffe, 0xffff_ffff])
        assert.deepEqual(await find(name, { [term]: 1 }), []);
    });

    it('follows writes and deletes', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [withTerms('a', { 1: 1 }), withTerms('b', { 1: 2 })]);
      assert.deepEqual(ids(await find(name, { 1: 1 })), ['b', 'a']);
      await stores.first.writeDocuments(name, [
        withTerms('c', { 1: 3 }),
        withTerms('b', { 2: 1 }),
        { kind: 'delete', tenant: TENANT, documentId: 'a', version: 0 },
      ]);
      assert.deepEqual(ids(await find(name, { 1: 1 })), ['c']);
      assert.deepEqual(ids(await find(name, { 2: 1 })), ['b']);
    });
  });

  describe('hybrid search', () => {
    const both = (documentId: string, vector: number[], terms: Record<number, number>) => ({
      ...put(documentId, []),
      passages: [{ vector: Float32Array.from(vector), sparse: sparse(terms), text: documentId }],
    });
    const four = [
      both('dense only', [1, 0, 0, 0], { 9: 1 }),
      both('second in both', [1, 0.2, 0, 0], { 1: 2 }),
      both('third and first', [1, 0.4, 0, 0], { 1: 3 }),
      both('fourth', [0, 1, 0, 0], { 9: 1 }),
    ];
    const query = {
      tenant: TENANT,
      vector: Float32Array.of(1, 0, 0, 0),
      sparse: sparse({ 1: 1 }),
      limit: 10,
    };
    const byRanks = (denseWeight: number, k = 60): Fusion => ({ method: 'ranks', k, denseWeight });

    it('fuses both legs by rank, each with its weight, and says the places in both', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, four);
      const hits = await stores.first.search(name, { ...query, fusion: byRanks(0.5) });
      const half = (rank: number): number => (0.5 * 61) / (60 + rank);
      const expected = [
        ['third and first', half(3) + half(1)],
        ['second in both', half(2) + half(2)],
        ['dense only', half(1)],
        ['fourth', half(4)],
      ] as const;
      assert.deepEqual(
        ids(hits),
        expected.map(([id]) => id),
      );
      for (const [index, [, score]] of expected.entries()) {
        assert.ok(Math.abs(hits[index]!.score - score) < 1e-6, `${hits[index]!.score} is not ${score}`);
      }
      assert.equal(hits[0]?.text, 'third and first');
      const places = hits.map(({ legs }) => [legs?.dense?.rank, legs?.sparse?.rank]);
      assert.deepEqual(places, [
        [3, 1],
        [2, 2],
        [1, undefined],
        [4, undefined],
      ]);
      assert.ok(Math.abs(hits[2]!.legs!.dense!.score - 1) < 1e-6);
      const [page] = await stores.first.search(name, {
        ...query,
        fusion: byRanks(0.5),
        limit: 1,
        offset: 1,
        scoreThreshold: half(1),
      });
      assert.equal(page?.documentId, 'second in both');
      const worded = await stores.first.search(name, { ...query, fusion: byRanks(0.1, 1) });
      assert.deepEqual(ids(worded).slice(0, 2), ['third and first', 'second in both']);
      const meant = await stores.first.search(name, { ...query, fusion: byRanks(1) });
      assert.deepEqual(ids(meant), ['dense only', 'second in both', 'third and first', 'fourth']);
    });

    it('fuses as one piece of code does, in every method, and leaves out what is below the threshold', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, four);
      const { sparse: terms, vector, ...scope } = query;
      const [dense, worded] = await Promise.all([
        stores.first.search(name, { ...scope, vector }),
        stores.first.search(name, { ...scope, sparse: terms }),
      ]);
      for (const fusion of [
        DEFAULT_FUSION,
        { ...DEFAULT_FUSION, denseWeight: 0.2 },
        { ...DEFAULT_FUSION, method: 'distribution' as const },
        byRanks(0.3, 5),
      ]) {
        const expected = fuse(dense, worded, fusion);
        const hits = await stores.first.search(name, { ...query, fusion });
        assert.deepEqual(ids(hits), ids(expected), fusion.method);
        for (const [index, { score }] of expected.entries()) {
          assert.ok(Math.abs(hits[index]!.score - score) < 1e-4, `${fusion.method}: ${hits[index]!.score}`);
        }
        const least = (expected[0]!.score + expected[1]!.score) / 2;
        const best = await stores.first.search(name, { ...query, fusion, scoreThreshold: least });
        assert.deepEqual(ids(best), ids(expected.slice(0, 1)), fusion.method);
      }
    });

    it('gives a document that is first in both legs a score of 1', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [
        both('first', [1, 0, 0, 0], { 1: 3 }),
        both('other', [1, 1, 0, 0], { 1: 1 }),
      ]);
      for (const fusion of [DEFAULT_FUSION, byRanks(0.3)]) {
        const [first] = await stores.first.search(name, { ...query, fusion });
        assert.deepEqual([first!.documentId, first!.score.toFixed(6)], ['first', '1.000000']);
      }
    });

    it('shows the passage of the dense ranking, if that has the document', async () => {
      const name = await stores.collection();
      const vectors = [Float32Array.of(0, 1, 0, 0), Float32Array.of(1, 0, 0, 0)] as const;
      await stores.first.writeDocuments(name, [
        {
          ...put('a', []),
          passages: [{ vector: vectors[0], sparse: sparse({ 1: 5 }) }, { vector: vectors[1] }],
        },
      ]);
      assert.equal((await stores.first.search(name, { ...query, limit: 1 }))[0]?.passage, 1);
    });
  });
}
