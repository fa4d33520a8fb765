import {
  exponentOf,
  type Fit,
  logitOf,
  type Measurement,
  middle,
  type Solution,
  type Solver,
  withIntervals,
} from './fit.ts';
import { minimize } from './minimize.ts';

/** Sizes of both towers, and the data that they were trained on together. */
export interface TowerPlace {
  /** Weights that every token of a document passes through: embedding tables do not count. */
  document: number;
  /** The same for a query. */
  query: number;
  /** Pairs that they were trained on. */
  pairs: number;
}

export interface TowerPoint extends TowerPlace, Measurement {}

/** The three terms: what each falls with, its scale and its exponent. */
export const TERMS = [
  { of: 'document', symbol: 'N_document', scale: 'A', exponent: 'alpha' },
  { of: 'query', symbol: 'N_query', scale: 'B', exponent: 'beta' },
  { of: 'pairs', symbol: 'D', scale: 'C', exponent: 'gamma' },
] as const;

export type TowerConstant = (typeof TERMS)[number]['scale' | 'exponent'] | 'delta';

export type TowerSolution = Solution<TowerPlace, TowerConstant>;
export type TowerFit = Fit<TowerPlace, TowerConstant>;

const FORM = 'L(N_document, N_query, D) = (A/N_document)^alpha + (B/N_query)^beta + (C/D)^gamma + delta';

/**
 * L(N_document, N_query, D) = (A/N_document)^α + (B/N_query)^β + (C/D)^γ + δ by least squares: a term for each thing that
 * may be too small, as Hoffmann et al. have it for one model (2022: https://arxiv.org/abs/2203.15556), with a term for each
 * tower. For given exponents the rest is linear, none of it below 0, so that three numbers are searched for.
 *
 * What all points have in common has no term: its constants are not numbers, and δ holds what it adds.
 */
export function fitTowers(points: readonly TowerPoint[]): TowerFit {
  return withIntervals(FORM, points, solveTowers);
}

/** Logits of exponents that a fit starts from: small and middling ones. */
const STARTS = [-1.5, 0];

/** How far from 0 the logits of other starts may be: exponents from 0.1 to 1.9. */
const REACH = 3;

const solveTowers: Solver<TowerPlace, TowerConstant> = (points, again) => {
  const entropies = points.map(({ entropy }) => entropy);
  const varied = TERMS.filter(({ of }) => new Set(points.map((point) => point[of])).size > 1).map((term) =>
    Object.assign({}, term, { unit: middle(points.map((point) => point[term.of])) }),
  );
  const logs = varied.map(({ of, unit }) => points.map((point) => Math.log(point[of] / unit)));
  const given = (at: readonly number[]): Linear =>
    nonNegative(
      logs.map((column, i) => {
        const exponent = exponentOf(at[i]!);
        return column.map((log) => Math.exp(-exponent * log));
      }),
      entropies,
    );
  const errorAt = (at: readonly number[]): number => given(at).error;
  const at =
    again === undefined
      ? fromEverywhere(errorAt, varied.length)
      : minimize(errorAt, [
          varied.map(({ exponent }) => logitOf(again.from.constants[exponent])),
          // Where exponents are as good as any others, a fit that only starts from the best would not leave them.
          varied.map(() => (2 * again.random() - 1) * REACH),
        ]).at;
  const exponents = at.map(exponentOf);
  const { slopes, constant: delta } = given(at);
  const constants = { A: NaN, alpha: NaN, B: NaN, beta: NaN, C: NaN, gamma: NaN, delta };
  for (const [i, { scale, exponent, unit }] of varied.entries()) {
    constants[scale] = unit * slopes[i]! ** (1 / exponents[i]!);
    constants[exponent] = exponents[i]!;
  }
  return {
    constants,
    at: (place) =>
      varied.reduce((sum, { of, unit }, i) => sum + slopes[i]! * (place[of] / unit) ** -exponents[i]!, delta),
  };
};

function fromEverywhere(errorAt: (at: readonly number[]) => number, exponents: number): number[] {
  let starts: number[][] = [[]];
  for (let i = 0; i < exponents; i++) {
    starts = starts.flatMap((start) => STARTS.map((each) => [...start, each]));
  }
  // A simplex that has become flat goes on when it is spread anew.
  return minimize(errorAt, [minimize(errorAt, starts).at]).at;
}

/** What is linear in a law, by least squares. */
interface Linear {
  /** Of each column, none below 0. */
  slopes: number[];
  constant: number;
  error: number;
}

/** y = Σ slope · column + constant by least squares, none of them below 0: the best of all choices of which are 0. */
export function nonNegative(columns: readonly (readonly number[])[], y: readonly number[]): Linear {
  const all = [...columns, y.map(() => 1)];
  const products = all.map((one) => all.map((other) => dot(one, other)));
  const right = all.map((column) => dot(column, y));
  // Of all columns first: nothing restricted can be better than what is not. Then all choices of some.
  const whole = 2 ** all.length - 1;
  let best: Linear | undefined;
  for (let kept = whole; kept > 0; kept--) {
    const found = solveFor(
      products,
      right,
      [...all.keys()].filter((i) => (kept & (1 << i)) !== 0),
    );
    if (found === undefined) continue;
    let error = 0;
    for (const [row, value] of y.entries()) {
      let rest = value;
      for (const [i, column] of all.entries()) rest -= found[i]! * column[row]!;
      error += rest * rest;
    }
    if (best === undefined || error < best.error) {
      best = { slopes: found.slice(0, -1), constant: found.at(-1)!, error };
    }
    if (kept === whole) break;
  }
  return best ?? { slopes: columns.map(() => 0), constant: 0, error: dot(y, y) };
}

/** A column of which less than this share is its own, beside the columns before it, can't be told from them. */
const OWN_SHARE = 1e-12;

/**
 * The normal equations of some columns, by Cholesky's factors: a matrix library takes ten times as long for four numbers,
 * and a fit asks a hundred thousand times.
 *
 * @returns a number for each column, 0 for those that are not kept; undefined where one is below 0, or columns are alike
 */
function solveFor(
  products: readonly (readonly number[])[],
  right: readonly number[],
  kept: readonly number[],
): number[] | undefined {
  const factors: number[][] = [];
  const forward: number[] = [];
  for (const [i, row] of kept.entries()) {
    const factor: number[] = [];
    let [own, value] = [products[row]![row]!, right[row]!];
    for (let j = 0; j < i; j++) {
      let sum = products[row]![kept[j]!]!;
      for (let k = 0; k < j; k++) sum -= factor[k]! * factors[j]![k]!;
      factor.push(sum / factors[j]![j]!);
      own -= factor[j]! ** 2;
      value -= factor[j]! * forward[j]!;
    }
    if (!(own > OWN_SHARE * products[row]![row]!)) return undefined;
    factor.push(Math.sqrt(own));
    factors.push(factor);
    forward.push(value / factor[i]!);
  }
  const found = right.map(() => 0);
  for (let i = kept.length - 1; i >= 0; i--) {
    let value = forward[i]!;
    for (let j = i + 1; j < kept.length; j++) value -= factors[j]![i]! * found[kept[j]!]!;
    value /= factors[i]![i]!;
    if (!(value >= 0)) return undefined;
    found[kept[i]!] = value;
  }
  return found;
}

function dot(a: readonly number[], b: readonly number[]): number {
  let sum = 0;
  for (const [i, x] of a.entries()) sum += x * b[i]!;
  return sum;
}
