import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Filter } from '../../proto/generated/scalingnote/v1/Filter.ts';
import type { Filter__Output } from '../../proto/generated/scalingnote/v1/Filter.ts';
import type { Condition } from '../../proto/generated/scalingnote/v1/Condition.ts';
import type { MessageTypeDefinition } from '@grpc/proto-loader';
import { packageDefinition } from '../../proto/load.ts';
import { toValue } from '../../proto/struct.ts';
import { ServiceError } from './errors.ts';
import { MAX_ANY_OF_VALUES, MAX_FIELD_BYTES, MAX_FILTER_CONDITIONS, parseFilter } from './filter.ts';
import { MAX_FILTER_DEPTH } from '../../store/filter.ts';

const filterType = packageDefinition['scalingnote.v1.Filter'] as unknown as MessageTypeDefinition<
  Filter,
  Filter__Output
>;

/** As it comes over the wire. */
function parse(filter: Filter): ReturnType<typeof parseFilter> {
  return parseFilter(filterType.deserialize(filterType.serialize(filter)));
}

function nested(depth: number): Filter {
  return depth === 1
    ? { must: [{ exists: { field: 'metadata.a' } }] }
    : { must: [{ filter: nested(depth - 1) }] };
}

test('what is not set, and what has no conditions, holds everywhere', () => {
  assert.equal(parseFilter(null), undefined);
  assert.equal(parse({}), undefined);
});

test('all tests, on all fields that have them', () => {
  assert.deepEqual(
    parse({
      must: [
        { equals: { field: 'metadata.a', value: toValue('x') } },
        { equals: { field: 'metadata.a.b', value: toValue(0) } },
        { equals: { field: 'metadata.a', value: toValue(false) } },
        { equals: { field: 'metadata.a', value: toValue('') } },
        { equals: { field: 'document_id', value: toValue('d1') } },
        { anyOf: { field: 'document_id', values: [toValue('d1'), toValue('d2')] } },
      ],
      should: [
        { range: { field: 'version', gte: 0 } },
        { range: { field: 'metadata.year', gt: 1, gte: 2, lt: -3.5, lte: 4 } },
      ],
      mustNot: [{ exists: { field: 'metadata.z' } }, { filter: nested(1) }],
    }),
    {
      must: [
        { field: 'metadata.a', equals: 'x' },
        { field: 'metadata.a.b', equals: 0 },
        { field: 'metadata.a', equals: false },
        { field: 'metadata.a', equals: '' },
        { field: 'document_id', equals: 'd1' },
        { field: 'document_id', anyOf: ['d1', 'd2'] },
      ],
      should: [
        { field: 'version', range: { gte: 0 } },
        { field: 'metadata.year', range: { gt: 1, gte: 2, lt: -3.5, lte: 4 } },
      ],
      mustNot: [
        { field: 'metadata.z', exists: true },
        { filter: { must: [{ field: 'metadata.a', exists: true }] } },
      ],
    },
  );
});

test('a key in quotes is part of the field, as it came', () => {
  const field = 'metadata."unit.price".x."".größe';
  assert.deepEqual(parse({ must: [{ equals: { field, value: toValue(2 ** 53 - 1) } }] }), {
    must: [{ field, equals: 2 ** 53 - 1 }],
  });
});

test('a list without conditions is left out', () => {
  const condition: Condition = { exists: { field: 'metadata.a' } };
  const parsed = [{ field: 'metadata.a', exists: true }];
  assert.deepEqual(parse({ must: [condition] }), { must: parsed });
  assert.deepEqual(parse({ should: [condition] }), { should: parsed });
  assert.deepEqual(parse({ mustNot: [condition] }), { mustNot: parsed });
});

test('depth and size have limits', () => {
  assert.ok(parse(nested(MAX_FILTER_DEPTH)));
  const condition: Condition = { exists: { field: 'metadata.a' } };
  assert.ok(parse({ should: Array.from({ length: MAX_FILTER_CONDITIONS }, () => condition) }));
  const values = Array.from({ length: MAX_ANY_OF_VALUES }, (_, index) => toValue(index));
  assert.ok(parse({ must: [{ anyOf: { field: 'metadata.a', values } }] }));
});

const a = 'metadata.a';
const REFUSED: [string, Condition, string, RegExp][] = [
  [
    'a field that is neither ours nor metadata',
    { equals: { field: 'colour', value: toValue(1) } },
    'equals.field',
    /use "metadata.colour"/,
  ],
  ['no field', { exists: { field: '' } }, 'exists.field', /is empty/],
  ['metadata as a whole', { exists: { field: 'metadata.' } }, 'exists.field', /empty key/],
  ['an empty key inside', { exists: { field: 'metadata.a..b' } }, 'exists.field', /empty key/],
  [
    'a key with a bracket',
    { exists: { field: 'metadata.tags[0]' } },
    'exists.field',
    /leads into no list.*metadata\."x\[0\]"/,
  ],
  ['a quote that does not end', { exists: { field: 'metadata."a' } }, 'exists.field', /"unit.price"/],
  ['a quote in a key', { exists: { field: 'metadata.a"b' } }, 'exists.field', /can't be named/],
  [
    'a property of every object',
    { exists: { field: 'constructor' } },
    'exists.field',
    /use "metadata.constructor"/,
  ],
  [
    'the tenant',
    { equals: { field: 'tenant', value: toValue('t') } },
    'equals.field',
    /tenant of the request/,
  ],
  [
    'a very long field',
    { exists: { field: a.padEnd(MAX_FIELD_BYTES + 1, 'a') } },
    'exists.field',
    /send at most/,
  ],
  ['a field with NUL', { exists: { field: 'metadata.\0' } }, 'exists.field', /NUL/],
  ['a range of ids', { range: { field: 'document_id', gt: 1 } }, 'range.field', /use equals or any_of/],
  ['equality of versions', { equals: { field: 'version', value: toValue(1) } }, 'equals.field', /use range/],
  ['no value', { equals: { field: a } }, 'equals.value', /is not set/],
  ['a value of no kind', { equals: { field: a, value: {} } }, 'equals.value', /is not set/],
  ['null', { equals: { field: a, value: toValue(null) } }, 'equals.value', /put exists into must_not/],
  ['a list', { equals: { field: a, value: toValue([1]) } }, 'equals.value', /list or an object/],
  ['an object', { equals: { field: a, value: toValue({}) } }, 'equals.value', /list or an object/],
  ['NaN', { equals: { field: a, value: { numberValue: Number.NaN } } }, 'equals.value', /finite/],
  [
    'a number that is not exact',
    { equals: { field: a, value: toValue(2 ** 53) } },
    'equals.value',
    /as text/,
  ],
  [
    'a negative one among several',
    { anyOf: { field: a, values: [toValue(1), toValue(-(2 ** 60))] } },
    'any_of.values[1]',
    /beyond 2\^53 - 1/,
  ],
  ['a bound that is not exact', { range: { field: a, lt: 1e300 } }, 'range.lt', /beyond 2\^53 - 1/],
  ['a version that is not', { range: { field: 'version', gte: 2 ** 53 } }, 'range.gte', /beyond 2\^53 - 1/],
  ['a value with NUL', { equals: { field: a, value: toValue('\0') } }, 'equals.value', /NUL/],
  [
    'an id that is a number',
    { equals: { field: 'document_id', value: toValue(1) } },
    'equals.value',
    /ids are strings/,
  ],
  ['any of nothing', { anyOf: { field: a, values: [] } }, 'any_of.values', /has 0 values/],
  [
    'any of too many',
    { anyOf: { field: a, values: Array.from({ length: MAX_ANY_OF_VALUES + 1 }, () => toValue(1)) } },
    'any_of.values',
    /has 257 values/,
  ],
  [
    'any of mixed types',
    { anyOf: { field: a, values: [toValue('1'), toValue('x'), toValue(1)] } },
    'any_of.values[2]',
    /is a number among values of type string/,
  ],
  ['a range without bounds', { range: { field: a } }, 'range', /has no bound/],
  ['a range to NaN', { range: { field: a, gte: 1, lt: Number.NaN } }, 'range.lt', /finite/],
  ['a range to infinity', { range: { field: a, gte: -Infinity } }, 'range.gte', /finite/],
  ['a condition without a test', {}, '', /has no test/],
  ['an empty filter inside', { filter: {} }, 'filter', /is empty/],
];

for (const [what, condition, path, description] of REFUSED) {
  test(`${what} is refused, wherever it stands`, () => {
    for (const [filter, prefix] of [
      [{ must: [condition] }, 'filter.must[0]'],
      [
        { must: [{ exists: { field: a } }], mustNot: [{ exists: { field: a } }, condition] },
        'filter.must_not[1]',
      ],
      [{ must: [{ filter: { should: [condition] } }] }, 'filter.must[0].filter.should[0]'],
    ] as [Filter, string][]) {
      assert.throws(
        () => parse(filter),
        (error) => {
          assert.ok(error instanceof ServiceError);
          assert.equal(error.violations[0]?.field, path === '' ? prefix : `${prefix}.${path}`);
          assert.match(error.violations[0].description, description);
          return true;
        },
      );
    }
  });
}

test('a filter that is too deep or too large is refused', () => {
  assert.throws(() => parse(nested(MAX_FILTER_DEPTH + 1)), /nested deeper than 8/);
  const condition: Condition = { exists: { field: 'metadata.a' } };
  const half = { must: Array.from({ length: MAX_FILTER_CONDITIONS / 2 }, () => condition) };
  assert.throws(() => parse({ should: [{ filter: half }, { filter: half }] }), /more than 256 conditions/);
});
