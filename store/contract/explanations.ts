import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { explanationsOf } from '../explain/explain.ts';
import { fateOf } from '../explain/fate.ts';
import { placesOf } from '../explain/places.ts';
import type { Fusion } from '../fusion.ts';
import type { Filter, SearchQuery } from '../queries.ts';
import type { DocumentWrite } from '../writes.ts';
import { holds } from './filter-model.ts';
import { direction, put, remove, search, sparse, type Stores, TENANT, withTerms } from './stores.ts';

type Put = Extract<DocumentWrite, { kind: 'put' }>;

const IDS = ['a', 'b', 'c', 'd', 'e', 'f', 'g'] as const;

/** Scores that are closer than this may come in either order. */
const CLOSE = 1e-4;

/** Documents that differ in every score: an angle and a weight is used once. */
const documents = fc
  .uniqueArray(fc.integer({ min: 0, max: 60 }), { minLength: 8, maxLength: 14 })
  .chain((numbers) =>
    fc.record({
      numbers: fc.constant(numbers),
      owners: fc.array(fc.constantFrom(...IDS), { minLength: numbers.length, maxLength: numbers.length }),
      terms: fc.array(fc.constantFrom(1, 2, 3), { minLength: numbers.length, maxLength: numbers.length }),
      a: fc.array(fc.constantFrom('x', 'y'), { minLength: IDS.length, maxLength: IDS.length }),
    }),
  )
  .map(({ numbers, owners, terms, a }): Put[] =>
    IDS.flatMap((id, index): Put[] => {
      const own = numbers.filter((_, place) => owners[place] === id);
      if (own.length === 0) return [];
      return [
        {
          ...put(id, [], { metadata: { a: a[index]! }, version: index }),
          passages: own.map((number) => ({
            vector: Float32Array.from(direction(number)),
            sparse: sparse({ [terms[numbers.indexOf(number)]!]: 0.5 + 0.013 * number }),
            text: String(number),
          })),
        },
      ];
    }),
  );

const asked = fc.record({
  mode: fc.constantFrom('dense', 'sparse', 'hybrid'),
  angle: fc.integer({ min: 0, max: 60 }).map((number) => number + 0.3),
  filter: fc.constantFrom<Filter | undefined>(
    undefined,
    { must: [{ field: 'metadata.a', equals: 'x' }] },
    {
      mustNot: [
        { field: 'metadata.a', equals: 'x' },
        { field: 'version', range: { gte: 5 } },
      ],
    },
    {
      must: [
        {
          filter: {
            should: [
              { field: 'metadata.a', equals: 'y' },
              { field: 'document_id', equals: 'a' },
            ],
          },
        },
      ],
    },
  ),
  limit: fc.integer({ min: 1, max: 4 }),
  offset: fc.integer({ min: 0, max: 3 }),
  threshold: fc.option(fc.constantFrom(-0.5, 0, 0.5, 0.9), { nil: undefined }),
});

interface Scored {
  id: string;
  score: number;
}

/** A ranking, written as plainly as can be. */
function rankingOf(
  puts: readonly Put[],
  score: (passage: Put['passages'][number]) => number,
  least: number,
): Scored[] {
  return puts
    .map(({ documentId: id, passages }) => ({ id, score: Math.max(...passages.map(score)) }))
    .filter((one) => one.score > least)
    .sort((a, b) => b.score - a.score || (a.id < b.id ? -1 : 1));
}

function byMeaning(puts: readonly Put[], angle: number): Scored[] {
  const query = direction(angle);
  return rankingOf(puts, ({ vector }) => vector[0]! * query[0]! + vector[1]! * query[1]!, -Infinity);
}

/** @param all documents of the tenant: how rare a term is does not depend on a filter */
function byWording(puts: readonly Put[], all: readonly Put[], term: number): Scored[] {
  const weight = (passage: Put['passages'][number]): number => {
    const at = passage.sparse!.indices.indexOf(term);
    return at < 0 ? 0 : passage.sparse!.values[at]!;
  };
  const passages = all.flatMap((one) => one.passages);
  const said = passages.filter((passage) => weight(passage) > 0).length;
  const idf = Math.log(1 + (passages.length - said + 0.5) / (said + 0.5));
  return rankingOf(puts, (passage) => weight(passage) * idf, 0);
}

/** By scores, and less of it by meaning. */
const FUSION: Fusion = { method: 'scores', k: 60, denseWeight: 0.4 };

function fused(meaning: readonly Scored[], wording: readonly Scored[]): Scored[] {
  const sums = new Map<string, number>();
  for (const [weight, ranking] of [
    [0.4, meaning],
    [0.6, wording],
  ] as const) {
    const high = ranking[0]?.score ?? 0;
    for (const [index, { id, score }] of ranking.entries()) {
      const share = high > 0 ? Math.max(0, score / high) : (score + 1) / (high + 1);
      const least = 1 / (101 + index);
      const worth = least + (1 - least) * share;
      sums.set(id, (sums.get(id) ?? 0) + weight * worth);
    }
  }
  return [...sums]
    .map(([id, score]) => ({ id, score }))
    .sort((a, b) => b.score - a.score || (a.id < b.id ? -1 : 1));
}

function isClear(ranking: readonly Scored[], threshold = Infinity): boolean {
  const near = (one: Scored, index: number): boolean =>
    (index > 0 && ranking[index - 1]!.score - one.score < CLOSE) || Math.abs(one.score - threshold) < CLOSE;
  return !ranking.some(near);
}

export function explanationContract(stores: Stores): void {
  describe('explanations', () => {
    const explained = (collection: string, query: SearchQuery) => ({
      store: stores.second,
      collection,
      query,
      options: {},
    });

    it('give each document the place and the fate that a plain model gives it', async () => {
      let run = 0;
      const name = await stores.collection();
      const property = fc.asyncProperty(documents, asked, async (puts, ask) => {
        const { mode, angle, filter, limit, offset } = ask;
        const threshold = mode === 'dense' ? ask.threshold : undefined;
        const passing = puts.filter((one) => filter === undefined || holds(filter, one));
        const meaning = byMeaning(passing, angle);
        const wording = byWording(passing, puts, 1);
        fc.pre(isClear(meaning, threshold) && isClear(wording));
        const ranking = mode === 'dense' ? meaning : mode === 'sparse' ? wording : fused(meaning, wording);
        fc.pre(isClear(ranking));
        // How rare a term is, a store may count over all tenants.
        const collection = mode === 'dense' ? name : await stores.collection();
        const tenant = `run ${run++}`;
        await stores.first.writeDocuments(
          collection,
          puts.map((one) => ({ ...one, tenant })),
        );
        await stores.first.writeDocuments(collection, [
          { ...put('gone', [direction(1)], { version: 3 }), tenant },
          remove('gone', 4, tenant),
          ...(mode === 'dense' ? [{ ...put('secret', [direction(angle)]), tenant: 'another' }] : []),
        ]);
        const query: SearchQuery = {
          tenant,
          limit,
          offset,
          filter,
          scoreThreshold: threshold,
          ...(mode !== 'sparse' && { vector: Float32Array.from(direction(angle)) }),
          ...(mode !== 'dense' && { sparse: sparse({ 1: 1 }) }),
          ...(mode === 'hybrid' && { fusion: FUSION }),
        };
        const hits = await stores.second.search(collection, query);
        const ids = puts.map(({ documentId }) => documentId);
        const fates = await Promise.all(
          [...ids, 'gone', 'secret', 'nobody'].map((id) => fateOf(explained(collection, query), id, hits)),
        );
        assert.deepEqual(
          fates.slice(ids.length).map(({ fate, version }) => [fate, version]),
          [
            ['DELETED', 4],
            ['NOT_STORED', undefined],
            ['NOT_STORED', undefined],
          ],
        );
        for (const [index, id] of ids.entries()) {
          const { fate, rank, score, offset: at, filterPath, explanation } = fates[index]!;
          const place = ranking.findIndex((one) => one.id === id);
          const isIn = passing.some(({ documentId }) => documentId === id);
          const wanted = !isIn
            ? 'FILTERED_OUT'
            : place < 0
              ? 'NO_SHARED_TERM'
              : threshold !== undefined && ranking[place]!.score < threshold
                ? 'BELOW_THRESHOLD'
                : place < offset
                  ? 'SKIPPED_BY_OFFSET'
                  : place < offset + limit
                    ? 'IN_ANSWER'
                    : 'RANKED_LOWER';
          assert.equal(fate, wanted, `${id}: ${fates[index]!.message}`);
          assert.equal(filterPath !== undefined, !isIn);
          assert.equal(explanation!.passages, puts[index]!.passages.length);
          if (!isIn || place < 0) continue;
          assert.equal(rank, place + 1);
          assert.ok(Math.abs(score! - ranking[place]!.score) < CLOSE);
          if (fate === 'RANKED_LOWER' || fate === 'SKIPPED_BY_OFFSET') {
            assert.equal(at, place);
            const [first] = await stores.second.search(collection, { ...query, offset: at, limit: 1 });
            assert.equal(first?.documentId, id, 'the page of that offset begins with it');
          }
          const dense = meaning.findIndex((one) => one.id === id);
          const worded = wording.findIndex((one) => one.id === id);
          if (mode !== 'sparse') assert.equal(explanation!.dense?.rank, dense + 1);
          if (mode !== 'dense') assert.equal(explanation!.sparse?.rank, worded < 0 ? undefined : worded + 1);
          if (mode !== 'hybrid') continue;
          const shares = (explanation!.dense?.share ?? 0) + (explanation!.sparse?.share ?? 0);
          assert.ok(Math.abs(shares - score!) < 1e-6, 'the shares add up to the fused score');
        }
      });
      await fc.assert(property, { numRuns: 25 });
    });

    it('name the condition that removed a document, nested ones too', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [put('a', [[1, 0, 0, 0]], { metadata: { kind: 'noun' } })]);
      const vector = Float32Array.of(1, 0, 0, 0);
      const fate = (filter: Filter) =>
        fateOf(explained(name, { tenant: TENANT, vector, limit: 10, filter }), 'a', []);
      const noun = { field: 'metadata.kind', equals: 'noun' };
      const verb = { field: 'metadata.kind', equals: 'verb' };
      assert.equal((await fate({ must: [noun, verb] })).filterPath, 'filter.must[1]');
      assert.match((await fate({ must: [verb] })).message, /kind has to be "verb", and its .*kind is "noun"/);
      assert.equal((await fate({ must: [noun], mustNot: [verb, noun] })).filterPath, 'filter.must_not[1]');
      assert.equal(
        (await fate({ should: [verb, { field: 'version', range: { gt: 3 } }] })).filterPath,
        'filter.should',
      );
      const nested = await fate({ must: [{ filter: { mustNot: [noun] } }] });
      assert.equal(nested.filterPath, 'filter.must[0].filter.must_not[0]');
    });

    it('say what each term of the query scores alone', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [
        withTerms('both', { 1: 2, 2: 1 }),
        withTerms('one', { 1: 1 }),
        withTerms('none', { 3: 1 }),
      ]);
      const query = { tenant: TENANT, sparse: sparse({ 1: 1, 2: 1 }), limit: 10 };
      const hits = await stores.first.search(name, query);
      const explanations = await explanationsOf(explained(name, query), ['both', 'one', 'none']);
      assert.deepEqual(
        ['both', 'one', 'none'].map((id) =>
          explanations
            .get(id)!
            .terms.map(({ term }) => term)
            .sort(),
        ),
        [[1, 2], [1], []],
      );
      const sum = explanations.get('both')!.terms.reduce((total, { score }) => total + score, 0);
      assert.ok(Math.abs(sum - hits[0]!.score) < 1e-5, 'together they make the score');
    });

    it('do not tell an expired document from its version', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [put('old', [[1, 0, 0, 0]], { version: 7, expiresAt: 1 })]);
      const query = { tenant: TENANT, vector: Float32Array.of(1, 0, 0, 0), limit: 10 };
      const { fate, version } = await fateOf(explained(name, query), 'old', []);
      assert.deepEqual([fate, version], ['DELETED', 7]);
      assert.equal(await stores.first.findDelete(name, { tenant: 'other', documentId: 'old' }), undefined);
    });

    it('rank documents with equal scores as a search does', async () => {
      const name = await stores.collection();
      const ids = Array.from({ length: 20 }, (_, index) => `d${String(index).padStart(2, '0')}`);
      await stores.first.writeDocuments(
        name,
        ids.toReversed().map((id) => put(id, [[1, 0, 0, 0]])),
      );
      const vector = Float32Array.of(1, 0, 0, 0);
      const places = await placesOf(
        stores.second,
        name,
        { tenant: TENANT, vector, filter: undefined },
        ids,
        {},
      );
      assert.deepEqual(
        ids.map((id) => places.get(id)?.rank),
        ids.map((_, index) => index + 1),
      );
      assert.equal(
        (await search(stores.second, name, [1, 0, 0, 0], { offset: 19, limit: 1 }))[0]?.documentId,
        'd19',
      );
    });
  });
}
