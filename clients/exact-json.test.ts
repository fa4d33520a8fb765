import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { numberProblem, parseExactly } from './exact-json.ts';

test('what JSON.parse keeps is kept', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 4 }), fc.boolean(), (value, spaced) => {
      const text = JSON.stringify(value, undefined, spaced ? 2 : undefined);
      let parsed: unknown;
      try {
        parsed = parseExactly(text);
      } catch (error) {
        // Large doubles are written with all their digits.
        assert.match((error as Error).message, /beyond 2\^53/);
        return;
      }
      assert.deepEqual(parsed, JSON.parse(text));
    }),
  );
});

test('a number that would change is refused by name', () => {
  const refused: [text: string, message: RegExp][] = [
    ['{"metadata":{"views":1234567890123456789}}', /^"metadata\.views": 1234567890123456789 is beyond 2\^53/],
    ['{"a":[1,{"b":9007199254740993}]}', /^"a\[1\]\.b": 9007199254740993 /],
    ['{"a": -9007199254740993.0}', /beyond 2\^53/],
    ['[1e999]', /^"\[0\]": 1e999 is too large/],
    ['{"n":-1E400}', /too large/],
    ['{"n":1e-999}', /too small/],
    ['{"n":1.2345678901234567891e18}', /beyond/],
    [
      '{"id":"1","version":9007199254740993}',
      /^"version" is 9007199254740993, but must be a whole number from 0 to 2\^53 - 1$/,
    ],
    ['1234567890123456789', /^1234567890123456789 is/],
  ];
  for (const [text, message] of refused) assert.throws(() => parseExactly(text), { message });
});

test('a number that is exact, or rounded as fractions are, is none of these', () => {
  const texts = [
    '9007199254740991',
    '-9007199254740991',
    '0.1',
    '3.141592653589793238462643383279',
    '1e20',
    '6.02214076e23',
    '0e0',
    '0.0',
    '-0',
    '1e-300',
    '100.0000000000000000',
  ];
  for (const text of texts) {
    assert.equal(numberProblem(text), undefined);
    assert.equal(parseExactly(`{"a":${text}}`) !== undefined, true);
  }
  assert.deepEqual(parseExactly('{"id":"12345678901234567890","text":"1e999, 2e5: \\"x\\" : y"}'), {
    id: '12345678901234567890',
    text: '1e999, 2e5: "x" : y',
  });
});

test('a key that comes twice in one object is refused, wherever it is and however it is written', () => {
  const refused: [text: string, key: string][] = [
    ['{"a":1,"a":2}', 'a'],
    ['{"a":1, "a" :1}', 'a'],
    ['{"x":[{"b":{"c":1,"\\u0063":2}}]}', 'x[0].b.c'],
    ['{"__proto__":1,"__proto__":2}', '__proto__'],
    ['{"t":"say \\"x\\": y","t":1}', 't'],
    ['{"":1,"":2}', ''],
  ];
  for (const [text, key] of refused) {
    assert.throws(() => parseExactly(text), {
      message: `key "${key}" comes twice in one object; keep one of them`,
    });
  }
  assert.deepEqual(parseExactly('[{"a":1},{"a":2,"b":{"a":3}}]'), [{ a: 1 }, { a: 2, b: { a: 3 } }]);
});
