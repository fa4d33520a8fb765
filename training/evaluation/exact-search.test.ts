import assert from 'node:assert/strict';
import { test } from 'node:test';
import { searchExactly } from './exact-search.ts';

/** The documents that are found for each query. */
const search = (...parameters: Parameters<typeof searchExactly>): number[][] =>
  searchExactly(...parameters).map((found) => found.map(({ document }) => document));

const vectors = (...rows: number[][]) => ({ data: Float32Array.from(rows.flat()), dimensions: 2 });

test('a document counts by its best passage', () => {
  const passages = vectors([1, 0], [0, 1], [0.6, 0.6], [-1, 0]);
  // Documents 0: passages 0 and 3; 1: passage 1; 2: passage 2.
  const owners = [0, 1, 2, 0];
  assert.deepEqual(search(vectors([1, 0], [0, 1]), passages, owners, 10), [
    [0, 2, 1],
    [1, 2, 0],
  ]);
});

test('ties are in the order of documents, and depth is kept', () => {
  const passages = vectors([1, 0], [1, 0], [1, 0]);
  assert.deepEqual(search(vectors([1, 0]), passages, [0, 1, 2], 2), [[0, 1]]);
});

test('a document without passages is never found', () => {
  assert.deepEqual(search(vectors([1, 0]), vectors([-1, 0], [-1, 0]), [0, 2], 10), [[0, 2]]);
});

test('scores are inner products, rounded to float32: what differs by less is a tie', () => {
  const passages = vectors([0.1, 0.2], [0.5, 0.5], [0.5, 0.50000006]);
  const [found] = searchExactly(vectors([1, 0.01]), passages, [0, 1, 2], 3);
  assert.deepEqual(found, [
    { document: 1, score: Math.fround(0.505) },
    { document: 2, score: Math.fround(0.505) },
    { document: 0, score: Math.fround(0.102) },
  ]);
});
