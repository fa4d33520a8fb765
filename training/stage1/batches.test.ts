import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planBatches } from '../../towers/batching.ts';
import { seededRandom } from '../random.ts';
import { planRuns } from './batches.ts';

/** Positions of runs, padding included. */
function positions(lengths: readonly number[], runs: readonly (readonly number[])[]): number[] {
  return runs.map((run) => run.length * Math.max(1, ...run.map((index) => lengths[index]!)));
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

test('every text is in one run, and no run is larger than memory allows', () => {
  const random = seededRandom(1);
  for (const [count, longest] of [
    [0, 1],
    [1, 3],
    [40, 1],
    [700, 30],
    [90, 600],
    [3, 5_000],
  ] as const) {
    const lengths = Array.from({ length: count }, () => Math.floor(random() * longest));
    const runs = planRuns(lengths);
    assert.deepEqual(
      runs.flat().sort((a, b) => a - b),
      lengths.map((_, index) => index),
    );
    for (const [i, size] of positions(lengths, runs).entries())
      assert.ok(size <= 1_024 || runs[i]!.length === 1);
  }
});

test('texts of many lengths cost less than in full batches, and a few of them share one run', () => {
  const random = seededRandom(2);
  const lengths = Array.from({ length: 256 }, () => 3 + Math.floor(28 * random() ** 2));
  const planned = positions(lengths, planRuns(lengths));
  const full = positions(lengths, planBatches(lengths, { maxBatchTokens: 1_024, maxBatchSize: 256 }));
  assert.ok(sum(planned) < 1.15 * sum(lengths) && sum(full) > 1.2 * sum(lengths));
  assert.equal(planRuns([4, 5, 4, 6, 5]).length, 1);
});
