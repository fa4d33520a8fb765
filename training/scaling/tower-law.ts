import { Matrix, QrDecomposition } from 'ml-matrix';
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

/** Exponents small and middling. */
const STARTS = [-1.5, 0].flatMap((a) => [-1.5, 0].flatMap((b) => [-1.5, 0].map((c) => [a, b, c])));

const solveTowers: Solver<TowerPlace, TowerConstant> = (points, start) => {
  const entropies = points.map(({ entropy }) => entropy);
  const varied = TERMS.filter(({ of }) => new Set(points.map((point) => point[of])).size > 1).map((term) =>
    Object.assign({}, term, { unit: middle(points.map((point) => point[term.of])) }),
  );
  const columns = (exponents: readonly number[], places: readonly TowerPlace[]): number[][] =>
    varied.map(({ of, unit }, i) => places.map((place) => (place[of] / unit) ** -exponents[i]!));
  const given = (at: readonly number[]) => nonNegative(columns(at.map(exponentOf), points), entropies);
  const starts =
    start === undefined
      ? [...new Set(STARTS.map((each) => each.slice(0, varied.length).join()))].map((each) =>
          each === '' ? [] : each.split(',').map(Number),
        )
      : [varied.map(({ exponent }) => logitOf(start.constants[exponent]))];
  const first = minimize((x) => given(x).error, starts);
  // A simplex that has become flat goes on when it is spread anew.
  const { at } = minimize((x) => given(x).error, [first.at]);
  const exponents = at.map(exponentOf);
  const { slopes, constant: delta } = given(at);
  const constants = { A: NaN, alpha: NaN, B: NaN, beta: NaN, C: NaN, gamma: NaN, delta };
  for (const [i, { scale, exponent, unit }] of varied.entries()) {
    constants[scale] = unit * slopes[i]! ** (1 / exponents[i]!);
    constants[exponent] = exponents[i]!;
  }
  return {
    constants,
    at: (place) => columns(exponents, [place]).reduce((sum, [x], i) => sum + slopes[i]! * x!, delta),
  };
};

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
  const whole = solveFor(all, y, [...all.keys()]);
  // Nothing restricted can be better than what is not.
  if (whole !== undefined) return whole;
  let best: Linear | undefined;
  for (let kept = 1; kept < 2 ** all.length - 1; kept++) {
    const found = solveFor(
      all,
      y,
      [...all.keys()].filter((i) => (kept & (1 << i)) !== 0),
    );
    if (found !== undefined && !(best !== undefined && best.error <= found.error)) best = found;
  }
  return best ?? { slopes: columns.map(() => 0), constant: 0, error: squares(y) };
}

/** Columns that differ by less than this share of themselves can't be told apart. */
const ALIKE = 1e-9;

function solveFor(
  all: readonly (readonly number[])[],
  y: readonly number[],
  kept: readonly number[],
): Linear | undefined {
  if (kept.length > y.length) return undefined;
  const matrix = new Matrix(y.map((_, row) => kept.map((column) => all[column]![row]!)));
  const split = new QrDecomposition(matrix);
  const diagonal = split.upperTriangularMatrix.diagonal().map(Math.abs);
  if (!(Math.min(...diagonal) > ALIKE * Math.max(...diagonal))) return undefined;
  const found = split.solve(Matrix.columnVector(y)).getColumn(0);
  if (found.some((x) => !(x >= 0))) return undefined;
  const whole = all.map(() => 0);
  for (const [i, column] of kept.entries()) whole[column] = found[i]!;
  const predicted = y.map((_, row) => all.reduce((sum, column, i) => sum + whole[i]! * column[row]!, 0));
  return {
    slopes: whole.slice(0, -1),
    constant: whole.at(-1)!,
    error: squares(y.map((value, row) => value - predicted[row]!)),
  };
}

function squares(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value * value, 0);
}
