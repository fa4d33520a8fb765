import assert from 'node:assert/strict';
import { test } from 'node:test';
import { normalizeRows } from '../../towers/session/pooling.ts';
import { seededRandom } from '../random.ts';
import { calibrateSearch } from './calibrate.ts';
import { searchExactly } from './exact-search.ts';

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
  assert.deepEqual(await calibrateSearch(passages, [passages]), [
    { hnswEf: 16, recall: 1, passages: 4, oversampling: 1 },
  ]);
});

test('of vectors that are kept as bits as many are compared in full as have the nearest among them', async () => {
  const passages = unit(2000);
  const queries = unit(50);
  const bits = passages.map(Math.sign);
  const vectors = (data: Float32Array) => ({ data, dimensions: DIMENSIONS });
  const owners = Array.from({ length: 2000 }, (_, passage) => passage);
  const exact = searchExactly(vectors(queries), vectors(passages), owners, 10);
  const byBits = searchExactly(vectors(queries.map(Math.sign)), vectors(bits), owners, 2000);
  const recall = (factor: number): number =>
    exact.reduce((sum, best, query) => {
      const candidates = new Set(byBits[query]!.slice(0, factor * 10).map(({ document }) => document));
      const found = best.filter(({ document }) => candidates.has(document));
      return sum + found.length / best.length / exact.length;
    }, 0);
  const [found] = await calibrateSearch(vectors(passages), [vectors(queries)]);
  assert.ok(found!.oversampling >= 16 || recall(found!.oversampling) >= 0.99, `${found!.oversampling}`);
  assert.ok(recall(found!.oversampling / 2) < 0.99, `${found!.oversampling} is more than is needed`);
  // Whose components are all as large is its bits: nothing but ties stands before the nearest.
  const [plain] = await calibrateSearch(vectors(bits), [vectors(bits.slice(0, 20 * DIMENSIONS))]);
  assert.ok(plain!.oversampling < found!.oversampling);
});
