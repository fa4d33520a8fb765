import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../random.ts';
import { differenceInterval, meanDifferenceInterval, ratioInterval } from './bootstrap.ts';

const random = seededRandom(7);
const baseline = Array.from({ length: 200 }, () => 0.2 + 0.8 * random());

test('a system against itself keeps everything, whatever is drawn', () => {
  assert.deepEqual(ratioInterval(baseline, baseline), [1, 1]);
});

test('a system that keeps the same share of each query has no spread: the bootstrap is paired', () => {
  const [low, high] = ratioInterval(
    baseline.map((value) => value / 2),
    baseline,
  );
  assert.equal(low, 0.5);
  assert.equal(high, 0.5);
});

test('the interval is around the ratio of the means, and the same for the same seed', () => {
  const values = baseline.map((value) => value * (0.7 + 0.5 * random()));
  const ratio = values.reduce((a, b) => a + b) / baseline.reduce((a, b) => a + b);
  const [low, high] = ratioInterval(values, baseline, 3);
  assert.ok(low < ratio && ratio < high);
  assert.deepEqual(ratioInterval(values, baseline, 3), [low, high]);
  assert.notDeepEqual(ratioInterval(values, baseline, 4), [low, high]);
});

test('the interval is as wide as theory says: about ± 1.96 standard errors', () => {
  const ones = baseline.map(() => 1);
  const values = baseline.map((_, index) => (index % 2 === 0 ? 0 : 1));
  const [low, high] = ratioInterval(values, ones);
  const standardError = Math.sqrt(0.25 / values.length);
  assert.ok(Math.abs(high - low - 2 * 1.96 * standardError) < 0.02);
});

test('more queries make it narrower', () => {
  const width = (size: number): number => {
    const values = Array.from({ length: size }, (_, index) => index % 2);
    const [low, high] = ratioInterval(
      values,
      values.map(() => 1),
    );
    return high - low;
  };
  assert.ok(width(400) < 0.7 * width(100));
});

test('a baseline that finds nothing gives 0, not a division by it', () => {
  assert.deepEqual(ratioInterval([0, 0], [0, 0]), [0, 0]);
});

test('over several sets each counts the same, however many queries it has', () => {
  const set = (size: number, gain: number) => ({
    values: Array.from({ length: size }, () => 0.5 + gain),
    baseline: Array.from({ length: size }, () => 0.5),
  });
  const [low, high] = meanDifferenceInterval([set(10, 0.25), set(1000, -0.125)]);
  assert.ok(Math.abs(low - 0.0625) < 1e-9 && Math.abs(high - 0.0625) < 1e-9, `${low} to ${high}`);
  const values = baseline.map((value) => value * random());
  assert.deepEqual(
    meanDifferenceInterval([{ values, baseline }], 5).map((one) => one.toFixed(9)),
    differenceInterval(values, baseline, 5).map((one) => one.toFixed(9)),
  );
});
