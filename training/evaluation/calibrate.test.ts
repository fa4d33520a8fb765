import assert from 'node:assert/strict';
import { test } from 'node:test';
import { normalizeRows } from '../../towers/session/pooling.ts';
import { seededRandom } from '../random.ts';
import { calibrateSearch } from './calibrate.ts';

const DIMENSIONS = 32;
const random = seededRandom(3);

function unit(count: number): Float32Array {
  const rows = Float32Array.from({ length: count * DIMENSIONS }, () => random() - 0.5);
  normalizeRows(rows, DIMENSIONS);
  return rows;
}

test('queries that lie among the passages need a narrower search than queries from anywhere', async () => {
  const passages = unit(3000);
  const near = passages.slice(0, 100 * DIMENSIONS).map((x) => x + 0.05 * (random() - 0.5));
  normalizeRows(near, DIMENSIONS);
  const vectors = (data: Float32Array) => ({ data, dimensions: DIMENSIONS });
  const [close, strange] = await calibrateSearch(vectors(passages), [vectors(near), vectors(unit(100))]);
  assert.ok(close!.hnswEf >= 16 && strange!.hnswEf >= close!.hnswEf, JSON.stringify([close, strange]));
  assert.ok(close!.recall >= 0.99 && strange!.recall > 0.9, JSON.stringify([close, strange]));
});

test('fewer passages than are looked for are all found', async () => {
  const passages = { data: unit(4), dimensions: DIMENSIONS };
  assert.deepEqual(await calibrateSearch(passages, [passages]), [{ hnswEf: 16, recall: 1, passages: 4 }]);
});
