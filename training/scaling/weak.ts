import { MAX_EXPONENT, type Fit } from './fit.ts';
import { TERMS, type TowerConstant, type TowerPlace } from './tower-law.ts';

/** Constants that the points say little about, and why. */
export interface Weak {
  constants: TowerConstant[];
  why: string;
}

/** An interval that spans more than this factor says little. */
const WIDE = 10;

/** An exponent this near to the least or the largest there can be is at its bound. */
const AT_BOUND = 0.01;

/** Constants whose refits go together like this are known together and not apart. */
const TOGETHER = 0.95;

const EXPONENTS = new Set<TowerConstant>(TERMS.map(({ exponent }) => exponent));
const NAMES: readonly TowerConstant[] = [
  ...TERMS.flatMap(({ scale, exponent }) => [scale, exponent]),
  'delta',
];

/** Names what is weakly identified: no variation, wide intervals, bounds, terms that may be none, and what can't be told apart. */
export function weaklyIdentified({
  constants,
  refits,
  points,
}: Pick<Fit<TowerPlace, TowerConstant>, 'constants' | 'refits' | 'points'>): Weak[] {
  const weak: Weak[] = [];
  const isKnown = (name: TowerConstant): boolean => !Number.isNaN(constants[name].value);
  for (const { symbol, scale, exponent } of TERMS) {
    if (isKnown(exponent)) continue;
    weak.push({
      constants: [scale, exponent],
      why: `all points have the same ${symbol}; what it adds is in delta`,
    });
  }
  const known = NAMES.filter(isKnown);
  if (points <= known.length) {
    weak.push({ constants: known, why: `${known.length} constants from ${points} points` });
  }
  for (const name of known) {
    const why = weaknessOf(
      name,
      constants[name].interval,
      refits.map((refit) => refit.constants[name]),
    );
    if (why !== undefined) weak.push({ constants: [name], why });
  }
  for (const [i, one] of known.entries()) {
    for (const other of known.slice(i + 1)) {
      const r = correlation(
        refits.map((refit) => scaleOf(one, refit.constants[one])),
        refits.map((refit) => scaleOf(other, refit.constants[other])),
      );
      if (Math.abs(r) < TOGETHER) continue;
      weak.push({
        constants: [one, other],
        why: `they are known together and not apart: their refits have a correlation of ${r.toFixed(2)}`,
      });
    }
  }
  return weak;
}

function weaknessOf(
  name: TowerConstant,
  [low, high]: readonly [number, number],
  values: readonly number[],
): string | undefined {
  if (EXPONENTS.has(name)) {
    const bound = AT_BOUND * MAX_EXPONENT;
    if (low < bound) return 'its interval reaches the least that an exponent can be, 0';
    if (high > MAX_EXPONENT - bound) {
      return `its interval reaches the largest that an exponent can be, ${MAX_EXPONENT}`;
    }
  } else if (low <= 0) {
    const none = values.filter((value) => value <= 0).length / values.length;
    return `it is 0 in ${Math.ceil(100 * none)} % of the refits`;
  }
  if (high > WIDE * low) return `its interval spans a factor of ${factor(high / low)}`;
  return undefined;
}

function factor(value: number): string {
  return value >= 1e4 ? value.toExponential(0) : value.toFixed(0);
}

/** Scales differ by factors, exponents and δ by differences. */
function scaleOf(name: TowerConstant, value: number): number {
  return EXPONENTS.has(name) || name === 'delta' ? value : Math.log(value);
}

/** Pearson's; 0 where one of them does not vary, or is not finite. */
function correlation(a: readonly number[], b: readonly number[]): number {
  const both = a.flatMap((x, i) =>
    Number.isFinite(x) && Number.isFinite(b[i]!) ? [[x, b[i]!] as const] : [],
  );
  const mean = (at: 0 | 1): number => both.reduce((sum, pair) => sum + pair[at], 0) / both.length;
  const [meanA, meanB] = [mean(0), mean(1)];
  let [aa, bb, ab] = [0, 0, 0];
  for (const [x, y] of both) {
    aa += (x - meanA) ** 2;
    bb += (y - meanB) ** 2;
    ab += (x - meanA) * (y - meanB);
  }
  return aa > 0 && bb > 0 ? ab / Math.sqrt(aa * bb) : 0;
}
