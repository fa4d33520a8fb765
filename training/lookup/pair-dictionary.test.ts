import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { NO_PAIR, PairDictionary } from './pair-dictionary.ts';

test('the most frequent pairs that are in more than one text have a row, each its own', () => {
  const texts = [
    [1, 2, 3],
    [1, 2, 9],
    [2, 3],
    [1, 2],
    [7, 8, 7, 8, 7],
  ];
  const dictionary = PairDictionary.of(texts, 10, 100);
  assert.equal(dictionary.size, 3);
  assert.deepEqual(dictionary.rowsOf([1, 2, 3]), [1, 2]);
  assert.deepEqual(dictionary.rowsOf([7, 8, 2, 1]), []);
  assert.deepEqual(PairDictionary.of(texts, 10, 1).rowsOf([1, 2, 3]), [1]);
  assert.equal(PairDictionary.of(texts, 10, 0).size, 1);
});

test('a dictionary that goes on keeps its rows, and adds the most frequent pairs of other texts', () => {
  const before = PairDictionary.of(
    [
      [1, 2, 3],
      [1, 2, 3],
      [1, 2],
    ],
    10,
    100,
  );
  const others = [
    [4, 5, 6],
    [4, 5, 6],
    [4, 5],
    [1, 2],
  ];
  const { keys, rows } = before.tensors();
  const restored = PairDictionary.restored(10, Float64Array.from(keys.data, Number), rows.data as Int32Array);
  assert.deepEqual(restored.rowsOf([1, 2, 3]), [1, 2]);
  const after = restored.extended(others, 1);
  assert.deepEqual([after.rowsOf([1, 2, 3]), after.rowsOf([4, 5, 6]), after.size], [[1, 2], [3], 4]);
  assert.deepEqual(restored.extended(others, 0).rowsOf([1, 2, 4, 5]), [1]);
  assert.deepEqual(before.rowsOf([4, 5]), []);
});

test('whatever the texts, a pair has one row at the most, and never that of none', () => {
  const text = fc.array(fc.nat(30), { maxLength: 20 });
  fc.assert(
    fc.property(fc.array(text, { maxLength: 40 }), fc.nat(50), (texts, limit) => {
      const dictionary = PairDictionary.of(texts, 31, limit);
      const owners = new Map<number, string>();
      for (const ids of texts) {
        for (let at = 0; at + 1 < ids.length; at++) {
          const pair = ids.slice(at, at + 2);
          const rows = dictionary.rowsOf(pair);
          assert.ok(rows.length <= 1);
          for (const row of rows) {
            assert.ok(row !== NO_PAIR && row < dictionary.size);
            assert.equal(owners.get(row) ?? pair.join(), pair.join());
            owners.set(row, pair.join());
          }
        }
      }
      assert.ok(owners.size === dictionary.size - 1 && owners.size <= limit);
    }),
  );
});
