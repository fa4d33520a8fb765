import { mean } from '../evaluation/metrics.ts';
import {
  exponentOf,
  type Fit,
  logitOf,
  type Measurement,
  middle,
  type Solver as SolverOf,
  withIntervals,
} from './fit.ts';
import { minimize } from './minimize.ts';

/** Where a law is asked for a value. */
export interface Place {
  /** Weights that every token passes through: embedding tables do not count. */
  parameters: number;
  /** Pairs that it was trained on. */
  pairs: number;
}

/** The size of a model, the data that it was trained on, and its entropy. */
export interface Point extends Place, Measurement {}

type Solver<Name extends string> = SolverOf<Place, Name>;

/**
 * L(N) = (A/N)^α + δ, by least squares: for an exponent the rest is linear, so that one number is searched for
 * (Fang et al., 2024: https://arxiv.org/abs/2403.18684).
 */
export function fitSize(points: readonly Point[]): Fit<Place, 'A' | 'alpha' | 'delta'> {
  return withIntervals('L(N) = (A/N)^alpha + delta', points, solveSize);
}

/** L(N, D) = [(A/N)^(α/β) + B/D]^β + δ, by least squares (the joint law of the same paper, after Kaplan et al., 2020). */
export function fitJoint(points: readonly Point[]): Fit<Place, 'A' | 'alpha' | 'B' | 'beta' | 'delta'> {
  return withIntervals('L(N, D) = [(A/N)^(alpha/beta) + B/D]^beta + delta', points, solveJoint);
}

const solveSize: Solver<'A' | 'alpha' | 'delta'> = (points) => {
  const unit = middle(points.map(({ parameters }) => parameters));
  const given = (exponent: number) =>
    linear(
      points.map(({ parameters }) => (parameters / unit) ** -exponent),
      points.map(({ entropy }) => entropy),
    );
  const { at } = minimize(([log]) => given(exponentOf(log!)).error, [[-1], [0], [1]]);
  const alpha = exponentOf(at[0]!);
  const { slope, constant: delta } = given(alpha);
  return {
    constants: { A: unit * slope ** (1 / alpha), alpha, delta },
    at: ({ parameters }) => slope * (parameters / unit) ** -alpha + delta,
  };
};

const solveJoint: Solver<'A' | 'alpha' | 'B' | 'beta' | 'delta'> = (points, again) => {
  const size = middle(points.map(({ parameters }) => parameters));
  const data = middle(points.map(({ pairs }) => pairs));
  const entropies = points.map(({ entropy }) => entropy);
  // `share` says how much is size and how much is data; the linear part finds what both weigh together.
  const numbersOf = ([a, b, c]: readonly number[]) => ({
    alpha: exponentOf(a!),
    beta: exponentOf(b!),
    share: 1 / (1 + Math.exp(-c!)),
  });
  const term = (at: readonly number[], { parameters, pairs }: Place): number => {
    const { alpha, beta, share } = numbersOf(at);
    return (share * (parameters / size) ** (-alpha / beta) + (1 - share) * (data / pairs)) ** beta;
  };
  const given = (at: readonly number[]) =>
    linear(
      points.map((point) => term(at, point)),
      entropies,
    );
  const starts = again === undefined ? JOINT_STARTS : [startOf(again.from.constants, size, data)];
  const { at } = minimize((x) => given(x).error, starts);
  const { slope, constant: delta } = given(at);
  const { alpha, beta, share } = numbersOf(at);
  const scale = slope ** (1 / beta);
  return {
    constants: {
      A: size * (scale * share) ** (beta / alpha),
      alpha,
      B: data * scale * (1 - share),
      beta,
      delta,
    },
    at: (point) => slope * term(at, point) + delta,
  };
};

/** Exponents small and middling, mostly size and mostly data. */
const JOINT_STARTS = [-1, 0].flatMap((alpha) =>
  [-1, 0].flatMap((beta) => [-1, 1].map((share) => [alpha, beta, share])),
);

function startOf(
  { A, alpha, B, beta }: Record<'A' | 'alpha' | 'B' | 'beta' | 'delta', number>,
  size: number,
  data: number,
): number[] {
  const odds = (A / size) ** (alpha / beta) / (B / data);
  return [logitOf(alpha), logitOf(beta), Math.log(Math.min(Math.max(odds, 1e-6), 1e6))];
}

/** y = slope · x + constant by least squares, neither below 0. */
function linear(
  x: readonly number[],
  y: readonly number[],
): { slope: number; constant: number; error: number } {
  const [meanX, meanY] = [mean(x), mean(y)];
  let [xx, xy, squares, products] = [0, 0, 0, 0];
  for (const [i, value] of x.entries()) {
    xx += (value - meanX) ** 2;
    xy += (value - meanX) * (y[i]! - meanY);
    squares += value * value;
    products += value * y[i]!;
  }
  let slope = Math.max(0, xx === 0 ? 0 : xy / xx);
  let constant = meanY - slope * meanX;
  if (constant < 0) {
    constant = 0;
    slope = Math.max(0, products / squares);
  }
  let error = 0;
  for (const [i, value] of x.entries()) error += (y[i]! - slope * value - constant) ** 2;
  return { slope, constant, error };
}
