import assert from 'node:assert/strict';
import { test } from 'node:test';
import { searchExactly } from './search.ts';

const vectors = (...rows: number[][]) => ({ data: Float32Array.from(rows.flat()), dimensions: 2 });

test('a document counts by its best passage', () => {
  const passages = vectors([1, 0], [0, 1], [0.6, 0.6], [-1, 0]);
  // Documents 0: passages 0 and 3; 1: passage 1; 2: passage 2.
  const owners = [0, 1, 2, 0];
  assert.deepEqual(searchExactly(vectors([1, 0], [0, 1]), passages, owners, 10), [
    [0, 2, 1],
    [1, 2, 0],
  ]);
});

test('ties are in the order of documents, and depth is kept', () => {
  const passages = vectors([1, 0], [1, 0], [1, 0]);
  assert.deepEqual(searchExactly(vectors([1, 0]), passages, [0, 1, 2], 2), [[0, 1]]);
});

test('a document without passages is never found', () => {
  assert.deepEqual(searchExactly(vectors([1, 0]), vectors([-1, 0], [-1, 0]), [0, 2], 10), [[0, 2]]);
});
