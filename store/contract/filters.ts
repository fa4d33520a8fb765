import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { assert as fcAssert, asyncProperty, sample } from 'fast-check';
import { MAX_FILTER_DEPTH } from '../filter.ts';
import type { Condition, Filter } from '../queries.ts';
import { filter, holds, metadata } from './filter-model.ts';
import { ids, matching, put, rejects, search, type Stores, TENANT, withMetadata } from './stores.ts';

const DOCUMENTS: Record<string, Record<string, unknown>> = {
  string: { v: 'x' },
  number: { v: 1 },
  fraction: { v: 1.5 },
  numeral: { v: '1' },
  yes: { v: true },
  no: { v: false },
  zero: { v: 0 },
  empty: { v: '' },
  null: { v: null },
  missing: {},
  list: { v: ['x', 2, true, null] },
  none: { v: [] },
  nulls: { v: [null] },
  object: { v: { w: 'x', deep: { z: 3 } } },
  objects: { v: [{ w: 'x' }] },
  inner: { v: [['x']] },
};

const v = 'metadata.v';

const CONDITIONS: [Condition, string[]][] = [
  [{ field: v, equals: 'x' }, ['string', 'list']],
  [{ field: v, equals: '1' }, ['numeral']],
  [{ field: v, equals: '' }, ['empty']],
  [{ field: v, equals: 1 }, ['number']],
  [{ field: v, equals: 1.5 }, ['fraction']],
  [{ field: v, equals: 0 }, ['zero']],
  [{ field: v, equals: true }, ['yes', 'list']],
  [{ field: v, equals: false }, ['no']],
  [{ field: v, equals: 'X' }, []],
  [{ field: v, anyOf: ['x', '1'] }, ['string', 'numeral', 'list']],
  [{ field: v, anyOf: [1, 2, 3] }, ['number', 'list']],
  [{ field: v, anyOf: [1.5, 'x', false] }, ['string', 'fraction', 'no', 'list']],
  [{ field: v, range: { gte: 1 } }, ['number', 'fraction', 'list']],
  [{ field: v, range: { gt: 1 } }, ['fraction', 'list']],
  [{ field: v, range: { lt: 1 } }, ['zero']],
  [{ field: v, range: { lte: 1, gte: 0 } }, ['number', 'zero']],
  [{ field: v, range: { gt: 5, lt: 1 } }, []],
  [
    { field: v, exists: true },
    Object.keys(DOCUMENTS).filter((id) => !['null', 'missing', 'none'].includes(id)),
  ],
  [{ field: 'metadata.v.w', equals: 'x' }, ['object']],
  [{ field: 'metadata.v.w', exists: true }, ['object']],
  [{ field: 'metadata.v.deep.z', range: { gt: 2 } }, ['object']],
  [{ field: 'metadata.v.deep', exists: true }, ['object']],
  [{ field: 'metadata.nowhere', equals: 'x' }, []],
  [{ field: 'metadata.nowhere', exists: true }, []],
  [{ field: 'metadata.constructor', exists: true }, []],
  [{ field: 'document_id', equals: 'yes' }, ['yes']],
  [{ field: 'document_id', anyOf: ['yes', 'no', 'maybe'] }, ['yes', 'no']],
  [{ field: 'document_id', exists: true }, Object.keys(DOCUMENTS)],
];

/** Keys, and fields that lead to them without quotes. */
const ODD_KEYS: ReadonlyMap<string, readonly string[]> = new Map([
  ['a.b', []],
  ['.', []],
  ['', []],
  ['a b', ['metadata.a b']],
  [' ', ['metadata. ']],
  ['ä', ['metadata.ä']],
  ['日本', ['metadata.日本']],
  ['x[0]', []],
  ['x[]', []],
  [']', []],
  ['a-b', ['metadata.a-b']],
  ['a_b', ['metadata.a_b']],
  ['0', ['metadata.0']],
  ["it's", ["metadata.it's"]],
  ["!#$%&'()*+,-./:;<=>?@[]^_`{|}~", []],
  ['line\nbreak', ['metadata.line\nbreak']],
  ['document_id', ['metadata.document_id']],
  ['__proto__', ['metadata.__proto__']],
]);

export function filterContract(stores: Stores): void {
  describe('filters', () => {
    it('match the right values, in must and in mustNot', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(
        name,
        Object.entries(DOCUMENTS).map(([id, metadata]) => withMetadata(id, metadata)),
      );
      for (const [condition, expected] of CONDITIONS) {
        const what = JSON.stringify(condition);
        assert.deepEqual(await matching(stores.second, name, [condition]), expected.toSorted(), what);
        const others = Object.keys(DOCUMENTS).filter((id) => !expected.includes(id));
        assert.deepEqual(
          await matching(stores.second, name, [{ filter: { mustNot: [condition] } }]),
          others.sort(),
          `not ${what}`,
        );
      }
    });

    it('take infinite bounds: every number is between them, and none beyond', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(
        name,
        Object.entries(DOCUMENTS).map(([id, metadata]) => withMetadata(id, metadata)),
      );
      const numbers = ['fraction', 'list', 'number', 'zero'];
      const cases: [Extract<Condition, { range: object }>['range'], string[]][] = [
        [{ gt: -Infinity }, numbers],
        [{ lte: Infinity }, numbers],
        [{ gte: -Infinity, lt: Infinity }, numbers],
        [{ gt: 1, lt: Infinity }, ['fraction', 'list']],
        [{ gt: Infinity }, []],
        [{ gte: Infinity }, []],
        [{ lt: -Infinity }, []],
        [{ gte: 0, lte: -Infinity }, []],
      ];
      for (const [range, expected] of cases) {
        const found = await matching(stores.first, name, [{ field: v, range }]);
        assert.deepEqual(found, expected, Object.entries(range).join());
      }
    });

    it('compare versions', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(
        name,
        [0, 1, 2, 3].map((version) => put(`v${version}`, [[1, 0, 0, 0]], { version })),
      );
      assert.deepEqual(await matching(stores.first, name, [{ field: 'version', range: { gte: 2 } }]), [
        'v2',
        'v3',
      ]);
      assert.deepEqual(await matching(stores.first, name, [{ field: 'version', equals: 1 }]), ['v1']);
    });

    it('reach keys of any characters but double quotes and backslashes', async () => {
      const name = await stores.collection();
      const keys = [...ODD_KEYS.keys()];
      await stores.first.writeDocuments(
        name,
        // Beside each key, one that a path without its quotes would lead to.
        keys.map((key, index) =>
          withMetadata(`d${index}`, {
            [key]: { n: index, [key]: ['x'] },
            decoy: { n: index },
            a: { b: { n: -1 } },
          }),
        ),
      );
      for (const [index, key] of keys.entries()) {
        const what = JSON.stringify(key);
        const quoted = `metadata."${key}"`;
        for (const field of [quoted, ...(ODD_KEYS.get(key) ?? [])]) {
          const own: Condition[] = [
            { field: `${field}.n`, range: { gte: index, lte: index } },
            { field: `${field}.n`, equals: index },
            { field: `${field}."n"`, anyOf: [index, 1000] },
            { field: `${field}."${key}"`, equals: 'x' },
            { field, exists: true },
          ];
          for (const condition of own) {
            assert.deepEqual(await matching(stores.second, name, [condition]), [`d${index}`], what);
          }
        }
      }
      assert.deepEqual(
        await matching(stores.first, name, [{ field: 'metadata.a.b.n', equals: -1 }]),
        keys.map((_, index) => `d${index}`).sort(),
      );
    });

    it('combine', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(
        name,
        Array.from({ length: 8 }, (_, index) =>
          withMetadata(`d${index}`, { a: (index & 1) > 0, b: (index & 2) > 0, c: (index & 4) > 0 }),
        ),
      );
      const [a, b, c] = ['a', 'b', 'c'].map((key): Condition => ({
        field: `metadata.${key}`,
        equals: true,
      })) as [Condition, Condition, Condition];
      const cases: [Filter, number[]][] = [
        [{}, [0, 1, 2, 3, 4, 5, 6, 7]],
        [{ must: [], should: [], mustNot: [] }, [0, 1, 2, 3, 4, 5, 6, 7]],
        [{ must: [a, b] }, [3, 7]],
        [{ should: [a, b] }, [1, 2, 3, 5, 6, 7]],
        [{ must: [c], should: [a, b] }, [5, 6, 7]],
        [{ must: [c], mustNot: [a] }, [4, 6]],
        [{ mustNot: [a, b] }, [0, 4]],
        [{ must: [{ filter: { should: [a, b] } }], mustNot: [{ filter: { must: [a, b] } }] }, [1, 2, 5, 6]],
        [{ should: [{ filter: { must: [a, c] } }, { filter: { mustNot: [a, b, c] } }] }, [0, 5, 7]],
        [{ mustNot: [{ filter: {} }] }, []],
      ];
      for (const [filter, expected] of cases) {
        assert.deepEqual(
          await matching(stores.first, name, [{ filter }]),
          expected.map((index) => `d${index}`),
          JSON.stringify(filter),
        );
      }
    });

    it('keep the ranking of the documents that match', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(
        name,
        Array.from({ length: 200 }, (_, index) =>
          put(`d${String(index).padStart(3, '0')}`, [[1, index / 100, 0, 0]], {
            metadata: { index, tens: index % 10 },
          }),
        ),
      );
      for (const [condition, expected] of [
        [{ field: 'metadata.tens', equals: 9 }, [9, 19, 29]],
        [{ field: 'metadata.index', range: { gte: 100 } }, [100, 101, 102]],
        [{ field: 'metadata.index', range: { gte: 198 } }, [198, 199]],
      ] as [Condition, number[]][]) {
        const hits = await search(stores.first, name, [1, 0, 0, 0], {
          filter: { must: [condition] },
          limit: 3,
        });
        assert.deepEqual(
          ids(hits),
          expected.map((index) => `d${String(index).padStart(3, '0')}`),
        );
      }
    });

    it('follow changed metadata', async () => {
      const name = await stores.collection();
      const filter = { must: [{ field: 'metadata.color', equals: 'red' }] };
      await stores.first.writeDocuments(name, [
        withMetadata('a', { color: 'red' }),
        withMetadata('b', { color: 'blue' }),
      ]);
      assert.deepEqual(ids(await search(stores.second, name, [1, 0, 0, 0], { filter })), ['a']);
      await stores.first.writeDocuments(name, [
        withMetadata('a', { color: 'blue' }),
        withMetadata('b', { color: 'red' }),
        withMetadata('c', { color: 'red' }),
      ]);
      assert.deepEqual(ids(await search(stores.second, name, [1, 0, 0, 0], { filter })), ['b', 'c']);
    });

    it('agree with a plain evaluation, for random filters', async () => {
      const name = await stores.collection();
      const documents = sample(metadata, { numRuns: 60, seed: 7 }).map((value, index) =>
        put(`d${index}`, [[1, 0, 0, 0]], { version: index % 5, metadata: value }),
      );
      await stores.first.writeDocuments(name, documents);
      const property = asyncProperty(filter(2), async (condition) => {
        const expected = documents.filter((document) => holds(condition, document));
        assert.deepEqual(await matching(stores.second, name, [{ filter: condition }]), ids(expected).sort());
      });
      await fcAssert(property, { numRuns: 100 });
    });

    it('nest as deep as the limit, and no deeper', async () => {
      const name = await stores.collection();
      await stores.first.writeDocuments(name, [put('a', [[1, 0, 0, 0]]), put('b', [[1, 0, 0, 0]])]);
      const deep = (levels: number): Filter =>
        levels === 1
          ? { must: [{ field: 'document_id', equals: 'a' }] }
          : { must: [{ filter: deep(levels - 1) }] };
      const filter = deep(MAX_FILTER_DEPTH);
      assert.deepEqual(ids(await search(stores.second, name, [1, 0, 0, 0], { filter })), ['a']);
      assert.deepEqual(await stores.second.count(name, TENANT, filter), { documents: 1, passages: 1 });
      await rejects(
        search(stores.first, name, [1, 0, 0, 0], { filter: deep(MAX_FILTER_DEPTH + 1) }),
        'STORE_INVALID_ARGUMENT',
        /deeper than 8 levels/,
      );
    });

    const nested = (depth: number): Filter => (depth === 0 ? {} : { must: [{ filter: nested(depth - 1) }] });
    const bad: Record<string, [Filter, RegExp]> = {
      'an unknown field': [{ must: [{ field: 'title', equals: 'x' }] }, /"title"/],
      'metadata as a whole': [{ must: [{ field: 'metadata', exists: true }] }, /"metadata"/],
      'an empty key': [{ must: [{ field: 'metadata.', exists: true }] }, /metadata/],
      'an empty key inside': [{ must: [{ field: 'metadata.a..b', exists: true }] }, /metadata/],
      'a quotation mark': [{ must: [{ field: 'metadata.a"b', exists: true }] }, /metadata/],
      'a quote that does not end': [{ must: [{ field: 'metadata."a', exists: true }] }, /double quote/],
      'a quote that ends too soon': [{ must: [{ field: 'metadata."a"b', exists: true }] }, /double quote/],
      'a backslash': [{ must: [{ field: 'metadata."a\\b"', exists: true }] }, /backslash/],
      'a bracket without quotes': [{ must: [{ field: 'metadata.x[0]', exists: true }] }, /bracket/],
      'a value that is not exact': [{ must: [{ field: v, equals: 2 ** 53 }] }, /beyond 2\^53 - 1/],
      'a bound that is not exact': [{ must: [{ field: v, range: { lt: -1e300 } }] }, /beyond 2\^53 - 1/],
      'a bad field deep inside': [
        { should: [{ filter: { mustNot: [{ field: 'x', exists: true }] } }] },
        /"x"/,
      ],
      'no values': [{ must: [{ field: v, anyOf: [] }] }, /no values/],
      'no bounds': [{ must: [{ field: v, range: {} }] }, /no bound/],
      'a bound of NaN': [{ must: [{ field: v, range: { gt: NaN } }] }, /NaN/],
      'a value of NaN': [{ must: [{ field: v, equals: NaN }] }, /NaN/],
      'a thousand levels': [nested(1000), /levels/],
    };
    for (const [what, [filter, message]] of Object.entries(bad)) {
      it(`refuse ${what}`, async () => {
        const name = await stores.collection();
        await rejects(
          search(stores.first, name, [1, 0, 0, 0], { filter }),
          'STORE_INVALID_ARGUMENT',
          message,
        );
        await rejects(stores.first.count(name, TENANT, filter), 'STORE_INVALID_ARGUMENT', message);
        await rejects(
          stores.first.scroll(name, TENANT, { limit: 1, filter }),
          'STORE_INVALID_ARGUMENT',
          message,
        );
        await rejects(stores.first.deleteByFilter(name, TENANT, filter), 'STORE_INVALID_ARGUMENT', message);
      });
    }
  });
}
