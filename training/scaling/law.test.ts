import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../random.ts';
import { fitJoint, fitSize, type Point } from './law.ts';

const SIZES = [2e5, 5e5, 1e6, 2e6, 4e6, 8e6, 1.1e7];
const DATA = [1_000, 4_000, 16_000];
const law = { A: 4e5, alpha: 0.45, B: 900, beta: 0.6, delta: 0.4 };

const entropyOf = (parameters: number, pairs: number): number =>
  ((law.A / parameters) ** (law.alpha / law.beta) + law.B / pairs) ** law.beta + law.delta;

function points(noise: number, seed = 1): Point[] {
  const random = seededRandom(seed * 101);
  return DATA.flatMap((pairs) =>
    SIZES.map((parameters) => ({
      parameters,
      pairs,
      entropy: entropyOf(parameters, pairs) + noise * (random() + random() - 1),
    })),
  );
}

test('a law that is there is found, to the third digit', () => {
  const joint = fitJoint(points(0));
  for (const name of ['A', 'alpha', 'B', 'beta', 'delta'] as const) {
    const { value } = joint.constants[name];
    assert.ok(Math.abs(value / law[name] - 1) < 0.01, `${name} is ${value}, not ${law[name]}`);
  }
  assert.ok(joint.r2 > 0.99999);
  const size = fitSize(
    SIZES.map((parameters) => ({ parameters, pairs: 1, entropy: (3e5 / parameters) ** 0.3 + 0.2 })),
  );
  assert.ok(Math.abs(size.constants.alpha.value - 0.3) < 1e-3);
  assert.ok(Math.abs(size.constants.A.value / 3e5 - 1) < 1e-2);
  assert.ok(Math.abs(size.constants.delta.value - 0.2) < 1e-3);
});

test('with noise, intervals mostly hold what is true, and a point that was not seen', () => {
  const held = { alpha: 0, predicted: 0 };
  const seeds = [1, 2, 3, 4];
  for (const seed of seeds) {
    const all = points(0.02, seed);
    const hidden = all.pop()!;
    const fit = fitJoint(all);
    const contains = ([low, high]: readonly number[], value: number): boolean =>
      low! <= value && value <= high!;
    const { value, interval } = fit.predict(hidden);
    assert.ok(contains(interval, value));
    assert.ok(interval[1] - interval[0] < 0.2);
    assert.ok(fit.r2 > 0.98);
    if (contains(interval, hidden.entropy)) held.predicted++;
    if (contains(fit.constants.alpha.interval, law.alpha)) held.alpha++;
  }
  assert.ok(held.predicted >= 3 && held.alpha >= 3, JSON.stringify(held));
});

test('what grows with size is no law: the exponent explains nothing', () => {
  const fit = fitSize(SIZES.map((parameters, i) => ({ parameters, pairs: 1, entropy: 1 + 0.1 * i })));
  assert.ok(fit.r2 < 0.01);
});
