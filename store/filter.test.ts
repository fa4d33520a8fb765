import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  checkFilter,
  compileFilter,
  documentFilter,
  filterFields,
  MAX_FILTER_DEPTH,
  metadataPath,
  readPath,
} from './filter.ts';
import { StoreError } from './errors.ts';
import type { Condition, Filter } from './queries.ts';

const v = 'metadata.v';

/** Whether a filter of one condition holds for a document with this value at `metadata.v`. */
function holds(condition: Condition, value: unknown): boolean {
  return documentFilter({ must: [condition] })({ documentId: 'd', version: 3, metadata: { v: value } });
}

function holding(condition: Condition, values: readonly unknown[]): unknown[] {
  return values.filter((value) => holds(condition, value));
}

function nested(depth: number): Filter {
  return depth === 1 ? { must: [{ field: v, exists: true }] } : { should: [{ filter: nested(depth - 1) }] };
}

function refused(filter: Filter, message: RegExp): void {
  assert.throws(
    () => checkFilter(filter),
    (error) => {
      assert.ok(error instanceof StoreError);
      assert.equal(error.reason, 'STORE_INVALID_ARGUMENT');
      assert.match(error.message, message);
      return true;
    },
  );
}

test('a field leads through the keys of metadata', () => {
  assert.deepEqual(metadataPath('metadata.a'), ['a']);
  assert.deepEqual(metadataPath('metadata.a.b'), ['a', 'b']);
  assert.equal(metadataPath('document_id'), undefined);
  assert.equal(metadataPath('version'), undefined);
  for (const field of ['metadata', 'metadata.', 'metadata.a..b', 'metadata.a"b', 'other', 'other.a', ''])
    assert.throws(() => metadataPath(field), { reason: 'STORE_INVALID_ARGUMENT' }, field);
});

test('a key may stand in quotes, and has to where it holds what a path means something by', () => {
  const paths: [string, string[]][] = [
    ['metadata."unit.price".x', ['unit.price', 'x']],
    ['metadata.a."b"', ['a', 'b']],
    ['metadata.""', ['']],
    ['metadata."".""', ['', '']],
    ['metadata."x[0]"', ['x[0]']],
    ['metadata."metadata.a"', ['metadata.a']],
    // Without quotes as ever.
    ['metadata.odd key', ['odd key']],
    ['metadata.größe-2.日本', ['größe-2', '日本']],
    ["metadata.a'b", ["a'b"]],
  ];
  for (const [field, path] of paths) assert.deepEqual(metadataPath(field), path, field);
  const wrong: [string, RegExp][] = [
    ['metadata."a', /double quote .* out of place/],
    ['metadata."a"b', /double quote .* out of place/],
    ['metadata.a"b"', /double quote .* out of place/],
    ['metadata."a\\b"', /backslash out of place/],
    ['metadata.a\\b', /backslash out of place/],
    ['metadata."a".', /empty key/],
    ['metadata.."a"', /empty key/],
    ['metadata.tags[0]', /bracket.*metadata\."x\[0\]"/],
    ['metadata."a".b[]', /bracket/],
  ];
  for (const [field, message] of wrong) assert.throws(() => metadataPath(field), message, field);
});

test('a number that is not exact is refused, and with it the answer that it would give', () => {
  const field = 'metadata.a';
  for (const value of [2 ** 53, -(2 ** 53), 1e300]) {
    refused({ must: [{ field, equals: value }] }, /beyond 2\^53 - 1.*as text/);
    refused({ must: [{ field, anyOf: [1, value] }] }, /beyond 2\^53 - 1/);
    refused({ must: [{ field, range: { gt: 0, lte: value } }] }, /beyond 2\^53 - 1/);
  }
  checkFilter({
    must: [
      { field, equals: 2 ** 53 - 1 },
      { field, range: { gte: -(2 ** 53 - 1), lt: Infinity } },
    ],
  });
});

test('a path is followed through objects alone', () => {
  const metadata = { a: { b: 1, none: null }, list: [{ b: 2 }], text: 'x' };
  assert.equal(readPath(metadata, ['a', 'b']), 1);
  assert.equal(readPath(metadata, []), metadata);
  assert.equal(readPath(metadata, ['a', 'none']), null);
  for (const path of [
    ['b'],
    ['a', 'b', 'c'],
    ['a', 'none', 'c'],
    ['list', '0'],
    ['list', 'length'],
    ['text', 'length'],
  ])
    assert.equal(readPath(metadata, path), undefined, path.join('.'));
  for (const value of [null, undefined, 'text', 5]) assert.equal(readPath(value, ['length']), undefined);
  assert.equal(readPath({}, ['constructor']), undefined);
});

test('the fields of a filter are found wherever they stand, each once', () => {
  const filter: Filter = {
    must: [{ field: 'metadata.a', exists: true }, { filter: { must: [{ field: 'metadata.b', equals: 1 }] } }],
    should: [{ field: 'metadata.c', equals: 1 }],
    mustNot: [
      { field: 'metadata.a', equals: 1 },
      { field: 'version', range: { gt: 1 } },
    ],
  };
  assert.deepEqual([...filterFields(filter)].sort(), ['metadata.a', 'metadata.b', 'metadata.c', 'version']);
  assert.deepEqual([...filterFields({})], []);
});

test('filters nest as deep as the limit', () => {
  checkFilter(nested(MAX_FILTER_DEPTH));
  refused(nested(MAX_FILTER_DEPTH + 1), /deeper than 8/);
});

const GOOD: Condition[] = [
  { field: v, equals: '' },
  { field: v, equals: 0 },
  { field: v, equals: false },
  { field: v, anyOf: ['x'] },
  { field: v, anyOf: [1, 'x', true] },
  { field: v, range: { gt: -Infinity } },
  { field: v, range: { lte: 0 } },
  { field: v, exists: true },
];

const BAD: [Condition, RegExp][] = [
  [{ field: 'colour', exists: true }, /field "colour" is unknown/],
  [{ field: v, equals: Number.NaN }, /compares with NaN/],
  [{ field: v, equals: Infinity }, /compares with Infinity/],
  [{ field: v, equals: null as never }, /compares with null/],
  [{ field: v, equals: {} as never }, /compares with/],
  [{ field: v, anyOf: [] }, /has no values/],
  [{ field: v, anyOf: ['x', Number.NaN] }, /compares with NaN/],
  [{ field: v, range: {} }, /has no bound/],
  [{ field: v, range: { gt: undefined } as never }, /has no bound/],
  [{ field: v, range: { gt: 1, lt: Number.NaN } }, /bound that is NaN/],
];

test('what cannot be evaluated is refused, wherever it stands', () => {
  for (const condition of GOOD) checkFilter({ must: [condition], should: [condition], mustNot: [condition] });
  for (const [bad, message] of BAD) {
    const good = GOOD[0]!;
    refused({ must: [bad] }, message);
    refused({ must: [good], should: [good, bad] }, message);
    refused({ mustNot: [bad] }, message);
    refused({ must: [{ filter: { should: [bad] } }] }, message);
    refused({ must: [{ filter: { must: [good] } }, bad] }, message);
  }
});

test('equality is of value and type; a list holds if one of its values does', () => {
  const values = ['x', 'X', 1, '1', true, null, undefined, ['y', 'x'], ['y'], [], { x: 1 }, [['x']]];
  assert.deepEqual(holding({ field: v, equals: 'x' }, values), ['x', ['y', 'x']]);
  assert.deepEqual(holding({ field: v, equals: 1 }, values), [1]);
  assert.deepEqual(holding({ field: v, anyOf: [1, 'X'] }, values), ['X', 1]);
  const there = values.filter(
    (value) => value !== null && value !== undefined && !(Array.isArray(value) && value.length === 0),
  );
  assert.deepEqual(holding({ field: v, exists: true }, values), there);
});

test('bounds of a range are kept, each of them', () => {
  const values = [0, 1, 2, 3, 4, '2', null, undefined, [0, 9], [2]];
  assert.deepEqual(holding({ field: v, range: { gt: 1, lt: 3 } }, values), [2, [2]]);
  assert.deepEqual(holding({ field: v, range: { gte: 1, lte: 3 } }, values), [1, 2, 3, [2]]);
  assert.deepEqual(holding({ field: v, range: { gt: 3 } }, values), [4, [0, 9]]);
  assert.deepEqual(holding({ field: v, range: { gte: 3 } }, values), [3, 4, [0, 9]]);
  assert.deepEqual(holding({ field: v, range: { lt: 1 } }, values), [0, [0, 9]]);
  assert.deepEqual(holding({ field: v, range: { lte: 1 } }, values), [0, 1, [0, 9]]);
});

test('must, should and mustNot combine', () => {
  const is = (value: number): Condition => ({ field: v, anyOf: [value, 9] });
  const odd: Condition = { field: v, anyOf: [1, 3, 5] };
  const small: Condition = { field: v, range: { lt: 3 } };
  const cases: [Filter, number[]][] = [
    [{}, [0, 1, 2, 3, 4, 5]],
    [{ must: [], should: [], mustNot: [] }, [0, 1, 2, 3, 4, 5]],
    [{ must: [odd, small] }, [1]],
    [{ must: [small, odd] }, [1]],
    [{ should: [is(2), is(4)] }, [2, 4]],
    [{ should: [is(2)] }, [2]],
    [{ mustNot: [is(2), is(4)] }, [0, 1, 3, 5]],
    [{ mustNot: [is(2)] }, [0, 1, 3, 4, 5]],
    [{ must: [small], should: [is(2), is(4)] }, [2]],
    [{ must: [small], should: [], mustNot: [is(0)] }, [1, 2]],
    [{ must: [{ filter: { mustNot: [odd] } }], mustNot: [is(0)] }, [2, 4]],
  ];
  for (const [filter, expected] of cases) {
    const test = documentFilter(filter);
    const found = [0, 1, 2, 3, 4, 5].filter((value) =>
      test({ documentId: 'd', version: 1, metadata: { v: value } }),
    );
    assert.deepEqual(found, expected, JSON.stringify(filter));
  }
});

test('id and version are looked at, too', () => {
  const document = { documentId: 'd', version: 3, metadata: { document_id: 'e', version: 4 } };
  assert.equal(documentFilter({ must: [{ field: 'document_id', equals: 'd' }] })(document), true);
  assert.equal(documentFilter({ must: [{ field: 'document_id', equals: 'e' }] })(document), false);
  assert.equal(documentFilter({ must: [{ field: 'version', range: { gt: 2, lte: 3 } }] })(document), true);
  assert.equal(documentFilter({ must: [{ field: 'version', range: { gte: 4 } }] })(document), false);
});

test('the reader of a field is asked for once for each condition, before any document', () => {
  const asked: string[] = [];
  const holdsFor = compileFilter<number>(
    { must: [{ field: 'a', range: { gt: 1 } }], mustNot: [{ field: 'b', equals: 3 }] },
    (field) => {
      asked.push(field);
      return (item) => item;
    },
  );
  assert.deepEqual([1, 2, 3, 4].map(holdsFor), [false, true, false, true]);
  assert.deepEqual(asked, ['a', 'b']);
});
