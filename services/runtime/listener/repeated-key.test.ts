import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assert as check, jsonValue, property } from 'fast-check';
import { repeatedKey } from './repeated-key.ts';

test('a key that an object has twice is found, however it is written and wherever it stands', () => {
  const cases: [string, string | undefined][] = [
    ['{"limit":1,"limit":2}', 'limit'],
    ['{"a":{"b":1}, "c":[{"d":1,"e":2,"d" :3}]}', 'd'],
    ['{"a":1,"\\u0061":2}', 'a'],
    ['{"a\\"":1,"a":2,"a\\\\":3}', undefined],
    ['{"a":{"a":1},"b":{"a":[{"a":1},{"a":1}]}}', undefined],
    ['{"a":"{\\"a\\":1,\\"a\\":2}","b":"a"}', undefined],
    ['["a","a"]', undefined],
    ['{"":1,"":2}', ''],
  ];
  for (const [json, key] of cases) {
    JSON.parse(json);
    assert.equal(repeatedKey(json), key, json);
  }
});

test('what JSON.stringify writes has none', () => {
  check(property(jsonValue(), (value) => repeatedKey(JSON.stringify(value)) === undefined));
});
