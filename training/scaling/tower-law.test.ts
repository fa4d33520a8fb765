import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../random.ts';
import { readReference } from '../testing/reference.ts';
import { fitTowers, nonNegative, TERMS, type TowerConstant, type TowerPoint } from './tower-law.ts';
import { weaklyIdentified } from './weak.ts';

const SIZES = [1.2e5, 4e5, 9e5, 2e6];
const DATA = [8_000, 16_000, 32_000];
const law = { A: 9e4, alpha: 0.5, B: 2.7e5, beta: 0.35, C: 1.3e4, gamma: 0.6, delta: 1.1 };

function points(noise: number, seed = 1, from: { query?: number; data?: number[] } = {}): TowerPoint[] {
  const random = seededRandom(seed * 101);
  const queries = from.query === undefined ? SIZES : [from.query];
  return (from.data ?? DATA).flatMap((pairs) =>
    SIZES.flatMap((document) =>
      queries.map((query) => ({
        document,
        query,
        pairs,
        entropy:
          (law.A / document) ** law.alpha +
          (law.B / query) ** law.beta +
          (law.C / pairs) ** law.gamma +
          law.delta +
          noise * (random() + random() - 1),
      })),
    ),
  );
}

const NAMES = Object.keys(law) as TowerConstant[];

test('a law of both towers that is there is found, to the third digit', () => {
  const fit = fitTowers(points(0));
  for (const name of NAMES) {
    const { value } = fit.constants[name];
    assert.ok(Math.abs(value / law[name] - 1) < 1e-3, `${name} is ${value}, not ${law[name]}`);
  }
  assert.ok(fit.r2 > 0.999999);
  const unseen = { document: 3e6, query: 2e5, pairs: 64_000 };
  const expected = (law.A / 3e6) ** 0.5 + (law.B / 2e5) ** 0.35 + (law.C / 64_000) ** 0.6 + law.delta;
  assert.ok(Math.abs(fit.predict(unseen).value - expected) < 1e-3);
});

test("the fit is that of SciPy's least squares", () => {
  const { places, cases } = readReference('tower-law') as {
    places: [number, number, number][];
    cases: { entropy: number[]; constants: Record<TowerConstant, number>; error: number }[];
  };
  for (const { entropy, constants, error } of cases) {
    const given = places.map(([document, query, pairs], i) => ({
      document,
      query,
      pairs,
      entropy: entropy[i]!,
    }));
    const { best } = fitTowers(given);
    for (const name of NAMES) {
      const ratio = best.constants[name] / constants[name];
      assert.ok(
        Math.abs(ratio - 1) < 1e-3,
        `${name} is ${best.constants[name]}, SciPy has ${constants[name]}`,
      );
    }
    const own = given.reduce((sum, point) => sum + (point.entropy - best.at(point)) ** 2, 0);
    assert.ok(own <= error * (1 + 1e-6) + 1e-9, `${own} is left, SciPy leaves ${error}`);
  }
});

test('with noise, intervals mostly hold what is true, and a point that was not seen', () => {
  const held = { constants: 0, predicted: 0 };
  const seeds = [1, 2, 3, 4];
  for (const seed of seeds) {
    const all = points(0.01, seed);
    const [hidden] = all.splice(17, 1);
    const fit = fitTowers(all);
    const contains = ([low, high]: readonly number[], value: number): boolean =>
      low! <= value && value <= high!;
    if (contains(fit.predict(hidden!).interval, hidden!.entropy)) held.predicted++;
    for (const name of NAMES) if (contains(fit.constants[name].interval, law[name])) held.constants++;
    assert.ok(fit.r2 > 0.99);
  }
  assert.ok(held.predicted >= 3, JSON.stringify(held));
  assert.ok(held.constants >= 0.8 * NAMES.length * seeds.length, JSON.stringify(held));
});

test('what the grid does not vary is named, and so is what it varies too little', () => {
  const whole = weaklyIdentified(fitTowers(points(0)));
  assert.deepEqual(
    whole.filter(({ constants }) => constants.length === 1),
    [],
    'a whole grid without noise leaves nothing open',
  );
  const oneQuery = fitTowers(points(0.002, 1, { query: SIZES[1]! }));
  assert.ok(Number.isNaN(oneQuery.constants.B.value) && Number.isNaN(oneQuery.constants.beta.value));
  assert.ok(Math.abs(oneQuery.constants.alpha.value - law.alpha) < 0.2);
  assert.deepEqual(
    weaklyIdentified(oneQuery).find(({ why }) => why.includes('N_query')),
    {
      constants: ['B', 'beta'],
      why: 'all points have the same N_query; what it adds is in delta',
    },
  );
  const narrow = weaklyIdentified(fitTowers(points(0.02, 1, { data: [30_000, 32_000] })));
  const named = new Set(narrow.flatMap(({ constants }) => constants));
  assert.ok(named.has('C') && named.has('gamma'), JSON.stringify(narrow));
  const few = weaklyIdentified(fitTowers(points(0).slice(0, 5)));
  assert.ok(few.some(({ why }) => /5 constants from 5 points/.test(why)));
});

test('an entropy that no size changes leaves the exponents of sizes open', () => {
  const random = seededRandom(5);
  const flat = points(0).map((point) => ({
    ...point,
    entropy: (law.C / point.pairs) ** law.gamma + 1 + 0.01 * random(),
  }));
  const named = new Set(weaklyIdentified(fitTowers(flat)).flatMap(({ constants }) => constants));
  for (const { scale, exponent } of TERMS.slice(0, 2)) {
    assert.ok(named.has(scale) || named.has(exponent), `${scale} and ${exponent} are not named`);
  }
});

test('least squares without numbers below 0 is the best of all that keep to it', () => {
  const columns = [
    [1, 2, 3, 4, 5, 7],
    [2, 1, 4, 3, 6, 5],
  ];
  const y = [3, 1, 2, 0, 1, -1];
  const found = nonNegative(columns, y);
  assert.ok(found.constant >= 0 && found.slopes.every((slope) => slope >= 0));
  const errorOf = (a: number, b: number, c: number): number =>
    y.reduce((sum, value, i) => sum + (value - a * columns[0]![i]! - b * columns[1]![i]! - c) ** 2, 0);
  for (let a = 0; a <= 2; a += 0.05) {
    for (let b = 0; b <= 2; b += 0.05) {
      for (let c = 0; c <= 3; c += 0.05) assert.ok(found.error <= errorOf(a, b, c) + 1e-9);
    }
  }
  const exact = nonNegative(
    columns,
    columns[0]!.map((x, i) => 0.5 * x + 0.25 * columns[1]![i]! + 2),
  );
  for (const [i, value] of [0.5, 0.25, 2].entries()) {
    assert.ok(Math.abs([...exact.slopes, exact.constant][i]! - value) < 1e-9);
  }
});
