import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomOf } from '../fuzz/random.ts';
import { slopeOf } from './slope.ts';

const seconds = Array.from({ length: 80 }, (_, index) => index * 5);
const random = randomOf(3, 1);
const noise = seconds.map(() => random.nextInt(0, 1000) - 500);

test('noise has no slope, however wild its points', () => {
  const values = noise.map((each, index) => 10_000 + each + (index % 20 === 7 ? 50_000 : 0));
  assert.equal(slopeOf(seconds, values, 0).isNoise, true);
});

test('a leak is seen through noise, and so is how fast it is', () => {
  const values = seconds.map((at, index) => 10_000 + 2 * at + noise[index]!);
  const slope = slopeOf(seconds, values, 100);
  assert.equal(slope.isNoise, false);
  assert.ok(slope.low < 7200 && slope.high > 7200, JSON.stringify(slope));
  assert.ok(Math.abs(slope.perHour - 7200) < 1500, JSON.stringify(slope));
});

test('what grows by less than can be told from nothing is noise; what shrinks is no leak', () => {
  assert.equal(
    slopeOf(
      seconds,
      seconds.map((at) => at / 100),
      10,
    ).isNoise,
    true,
  );
  assert.equal(
    slopeOf(
      seconds,
      seconds.map((at) => -at),
      10,
    ).isNoise,
    true,
  );
  assert.equal(slopeOf([1], [1], 0).isNoise, true);
});
