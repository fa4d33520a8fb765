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

test('a key in quotes may hold anything but a quote', () => {
  const fields = [
    'metadata."unit.price".net',
    'metadata."a=b>c"',
    'metadata.""',
    'metadata.größe',
    'metadata."x[0]"',
  ];
  assert.deepEqual(
    parseFilter(fields.map((field) => `${field}>=3`))?.must,
    fields.map((field) => ({ field, range: { gte: 3 } })),
  );
  assert.deepEqual(parseFilter(['metadata."a b"'])?.must, [{ field: 'metadata."a b"', exists: true }]);
  for (const wrong of [
    'metadata.a b=1',
    'metadata."a=1',
    'metadata."a"b=1',
    'metadata..a=1',
    'metadata.x[0]=1',
  ]) {
    assert.throws(() => parseFilter([wrong]), /write FIELD=VALUE.*quote a KEY/, wrong);
  }
});

test('a bar inside quotes is text', () => {
  assert.deepEqual(parseFilter(['metadata.a="x|y"', 'metadata.a="x|y"|2||z"'])?.must, [
    { field: 'metadata.a', equals: 'x|y' },
    { field: 'metadata.a', anyOf: ['x|y', 2, '', 'z"'] },
  ]);
});

test('a number that would arrive as another one is refused, and in quotes it is text', () => {
  const big = '1234567890123456789';
  for (const wrong of [
    `id=${big}`,
    `id!=-${big}`,
    `id=1|${big}`,
    `id>${big}`,
    'id=9007199254740992',
    'id<1e999',
  ]) {
    assert.throws(() => parseFilter([`metadata.${wrong}`]), /beyond 2\^53 - 1.*in quotes: "/, wrong);
  }
  assert.deepEqual(parseFilter([`metadata.id="${big}"`, 'metadata.id=9007199254740991'])?.must, [
    { field: 'metadata.id', equals: big },
    { field: 'metadata.id', equals: 9007199254740991 },
  ]);
});

test('what only a programmer takes for a number is text', () => {
  const words = ['0x10', '0b1', '1_000', 'Infinity', 'NaN', ' 5', '5 ', '-', '.', '1e'];
  const parsed = parseFilter(words.map((word) => `metadata.a=${word}`));
  assert.deepEqual(
    parsed?.must,
    words.map((equals) => ({ field: 'metadata.a', equals })),
  );
  assert.throws(() => parseFilter(['metadata.a>0x10']), /"0x10" is not a number/);
  assert.deepEqual(parseFilter(['metadata.a=-1.5e3', 'metadata.a=.5', 'metadata.a=+7'])?.must, [
    { field: 'metadata.a', equals: -1500 },
    { field: 'metadata.a', equals: 0.5 },
    { field: 'metadata.a', equals: 7 },
  ]);
});
