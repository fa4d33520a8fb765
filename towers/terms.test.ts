import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { AVERAGE_PASSAGE_WORDS, BM25_B, BM25_K1, passageTerms, queryTerms } from './terms.ts';

test('a term is the FNV-1a hash of its UTF-8', () => {
  // Reference values of the hash's authors (http://www.isthe.com/chongo/src/fnv/test_fnv.c).
  assert.deepEqual(queryTerms('a').indices, [0xe40c292c]);
  assert.deepEqual(queryTerms('foobar').indices, [0xbf9cf968]);
});

test('words are found whatever their case, width, composition and punctuation', () => {
  const same = queryTerms('café 1st').indices;
  assert.equal(same.length, 2);
  for (const text of ['CAFÉ, 1st!', 'cafe\u0301 (1ST)', '１ｓｔ — “Café”'.split(' ').reverse().join(' ')]) {
    assert.deepEqual(queryTerms(text).indices, same, text);
  }
});

test('marks stay with their letters', () => {
  assert.equal(queryTerms('हिन्दी').indices.length, 1);
});

test('a text without letters and digits has no terms', () => {
  for (const text of ['', ' ', '?!…', '👍']) {
    assert.deepEqual(queryTerms(text), { indices: [], values: [] });
    assert.deepEqual(passageTerms(text), { indices: [], values: [] });
  }
});

test('a query has each term once, weighted by how often it says it', () => {
  const { indices, values } = queryTerms('to be or not to be');
  assert.equal(indices.length, 4);
  assert.deepEqual(indices, queryTerms('to be or not').indices);
  assert.deepEqual(values, [2, 2, 1, 1]);
});

test('a passage of average length weighs a term that it says once by 1', () => {
  const words = Array.from({ length: AVERAGE_PASSAGE_WORDS }, (_, index) => `word${index}`);
  for (const value of passageTerms(words.join(' ')).values) assert.ok(Math.abs(value - 1) < 1e-12);
});

test('weights are those of BM25', () => {
  const { values } = passageTerms('star star planet');
  const saturation = BM25_K1 * (1 - BM25_B + (BM25_B * 3) / AVERAGE_PASSAGE_WORDS);
  assert.deepEqual(values, [(2 * (BM25_K1 + 1)) / (2 + saturation), (1 * (BM25_K1 + 1)) / (1 + saturation)]);
});

test('property: weights are positive and bounded, terms unique and the same on both sides', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 200 }), (text) => {
      const passage = passageTerms(text);
      assert.deepEqual(passage.indices, queryTerms(text).indices);
      assert.equal(new Set(passage.indices).size, passage.indices.length);
      assert.equal(passage.values.length, passage.indices.length);
      for (const index of passage.indices)
        assert.ok(Number.isInteger(index) && index >= 0 && index < 2 ** 32);
      for (const value of passage.values) assert.ok(value > 0 && value < BM25_K1 + 1);
    }),
  );
});
