import assert from 'node:assert/strict';
import { test } from 'node:test';
import { searchExactly } from '../evaluation/exact-search.ts';
import { toNumbers } from '../onnx/tensor.ts';
import { noise } from '../testing/noise.ts';
import { mineNegatives, NONE } from './mining.ts';
import type { Replica } from './replica.ts';
import { searchBatched } from './batched-search.ts';

const rows = (count: number, width: number, seed: number): Float32Array =>
  toNumbers(noise([count, width], seed)) as Float32Array;

test('the batched search finds what the plain one finds', async () => {
  const [queries, documents] = [rows(20, 6, 1), rows(50, 6, 2)];
  const owners = Array.from({ length: 50 }, (_, i) => i);
  const expected = searchExactly(
    { data: queries, dimensions: 6 },
    { data: documents, dimensions: 6 },
    owners,
    7,
  );
  const found: number[][] = [];
  for await (const { indices, scores } of searchBatched(queries, documents, { dimensions: 6, depth: 7 })) {
    assert.deepEqual(
      scores,
      [...scores].sort((a, b) => b - a),
    );
    found.push(indices);
  }
  assert.deepEqual(
    found,
    expected.map((nearest) => nearest.map(({ document }) => document)),
  );
  const few: number[] = [];
  for await (const { indices } of searchBatched(queries, documents.subarray(0, 12), {
    dimensions: 6,
    depth: 7,
  }))
    few.push(indices.length);
  assert.deepEqual(
    few,
    Array.from({ length: 20 }, () => 2),
  );
});

test('mined negatives are the nearest, but for those within the margin and for other answers', async () => {
  // Every query looks along the first axis; a document's score is its first component.
  const scores = [0.6, 0.9, 0.58, 0.5, 0.4, 0.5];
  const replica = {
    encode: async (side: string) =>
      side === 'query'
        ? Float32Array.from(scores.flatMap(() => [1, 0]))
        : Float32Array.from(scores.flatMap((x) => [x, Math.sqrt(1 - x * x)])),
  } as unknown as Replica;
  const texts = ['a', 'b', 'c', 'D', 'e', 'd'].map((document, i) => ({
    query: i < 2 ? 'the same' : `query ${i}`,
    document,
  }));
  const ids = scores.map(() => [1]);
  const mined = await mineNegatives({
    replica,
    queries: ids,
    documents: ids,
    texts,
    dimensions: 2,
    normalize: true,
    count: 2,
    margin: 0.05,
  });
  // 0: b answers the same query, c is within the margin, d is there once. 4: all others score higher.
  assert.deepEqual([...mined.subarray(0, 2)], [3, 4]);
  assert.deepEqual([...mined.subarray(2, 4)], [2, 3]);
  assert.deepEqual([...mined.subarray(8, 10)], [NONE, NONE]);
});
