import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ScalingnoteError } from './errors.ts';
import { parseFilter } from './filter-syntax.ts';

test('each operator becomes its condition', () => {
  assert.deepEqual(
    parseFilter(['metadata.pos=noun', 'metadata.year>=1990', 'metadata.year<2000', 'metadata.tag']),
    {
      must: [
        { field: 'metadata.pos', equals: 'noun' },
        { field: 'metadata.year', range: { gte: 1990 } },
        { field: 'metadata.year', range: { lt: 2000 } },
        { field: 'metadata.tag', exists: true },
      ],
      mustNot: [],
    },
  );
  assert.deepEqual(parseFilter(['metadata.pos!=verb'])?.mustNot, [{ field: 'metadata.pos', equals: 'verb' }]);
  assert.deepEqual(parseFilter(['metadata.pos=noun|verb'])?.must, [
    { field: 'metadata.pos', anyOf: ['noun', 'verb'] },
  ]);
});

test('numbers and booleans are typed, and quotes make them texts', () => {
  const values = parseFilter(['metadata.a=3', 'metadata.b=true', 'metadata.c="3"', 'metadata.d=']);
  assert.deepEqual(values?.must, [
    { field: 'metadata.a', equals: 3 },
    { field: 'metadata.b', equals: true },
    { field: 'metadata.c', equals: '3' },
    { field: 'metadata.d', equals: '' },
  ]);
});

test('no flag is no filter, and nonsense is named', () => {
  assert.equal(parseFilter([]), undefined);
  assert.throws(() => parseFilter(['=x']), ScalingnoteError);
  assert.throws(() => parseFilter(['metadata.year>soon']), /"soon" is not a number/);
});
