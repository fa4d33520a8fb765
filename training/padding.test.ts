import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { rowsOf } from './onnx/tensor.ts';
import { pad, planRuns } from './padding.ts';
import { seededRandom } from './random.ts';

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

describe('texts are split into runs', () => {
  const padded = (lengths: readonly number[], runs: readonly (readonly number[])[]): number =>
    sum(runs.map((run) => run.length * Math.max(...run.map((text) => lengths[text]!))));

  test('each exactly once, longest first, within the limit', () => {
    const random = seededRandom(3);
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
        lengths.map((_, i) => i),
      );
      const order = runs.flat().map((text) => lengths[text]!);
      assert.deepEqual(
        order,
        [...order].sort((a, b) => b - a),
      );
      for (const run of runs) assert.ok(run.length === 1 || padded(lengths, [run]) <= 2_048);
    }
  });

  test('with little padding where lengths differ, in one run where they do not', () => {
    const random = seededRandom(5);
    const lengths = Array.from({ length: 128 }, () => 5 + Math.floor(250 * random() ** 6));
    const runs = planRuns(lengths);
    assert.ok(padded(lengths, [lengths.map((_, i) => i)]) > 3 * sum(lengths));
    assert.ok(padded(lengths, runs) + 64 * runs.length < 1.25 * sum(lengths));
    assert.equal(planRuns([4, 5, 4, 6, 5]).length, 1);
    assert.equal(planRuns(Array.from({ length: 128 }, (_, i) => (i < 28 ? 12 : 13))).length, 1);
  });

  test('a text that is too long for any run alone', () => {
    assert.deepEqual(planRuns([3, 5000, 3]), [[1], [0, 2]]);
    assert.deepEqual(planRuns([0, 0]), [[0, 1]]);
  });
});

test('texts are padded on the right', () => {
  const { input_ids, attention_mask } = pad([[7, 8, 9], [5]]);
  assert.deepEqual(input_ids!.dims, [2, 3]);
  assert.deepEqual([...input_ids!.data].map(Number), [7, 8, 9, 5, 0, 0]);
  assert.deepEqual([...attention_mask!.data].map(Number), [1, 1, 1, 1, 0, 0]);
});

test('rows of a matrix are picked', () => {
  assert.deepEqual([...rowsOf(Float32Array.of(1, 2, 3, 4, 5, 6), 2, [2, 0])], [5, 6, 1, 2]);
});
