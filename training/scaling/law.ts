import { seededRandom } from '../random.ts';
import { mean } from '../evaluation/metrics.ts';
import { minimize } from './minimize.ts';

/** The size of a model, the data that it was trained on, and its entropy. */
export interface Point {
  /** Weights that every token passes through: embedding tables do not count. */
  parameters: number;
  /** Pairs that it was trained on. */
  pairs: number;
  /** Contrastive entropy on held-out pairs, in nats. */
  entropy: number;
}

/** Where a law is asked for a value. */
type Place = Pick<Point, 'parameters' | 'pairs'>;

export type Interval = [low: number, high: number];

/** A number of a fit, and its 95 % interval. */
export interface Estimate {
  value: number;
  interval: Interval;
}

/** A fitted law. */
export interface Fit<Name extends string> {
  /** The law, for people. */
  form: string;
  constants: Record<Name, Estimate>;
  /** Share of the variance that it explains. */
  r2: number;
  points: number;
  /** Predicts a point, with the 95 % interval of a measurement there. */
  predict: (at: Place) => Estimate;
}

/** Fits to resampled residuals that intervals are taken from. */
const RESAMPLES = 200;

const TAIL = 0.025;

/** No exponent is larger. Published laws have exponents below 1. */
const MAX_EXPONENT = 2;

/** A law with numbers for its constants. */
interface Solution<Name extends string> {
  constants: Record<Name, number>;
  at: (point: Place) => number;
}

type Solver<Name extends string> = (points: readonly Point[], start?: Solution<Name>) => Solution<Name>;

/**
 * L(N) = (A/N)^α + δ, by least squares: for an exponent the rest is linear, so that one number is searched for
 * (Fang et al., 2024: https://arxiv.org/abs/2403.18684).
 */
export function fitSize(points: readonly Point[]): Fit<'A' | 'alpha' | 'delta'> {
  return withIntervals('L(N) = (A/N)^alpha + delta', points, solveSize);
}

/** L(N, D) = [(A/N)^(α/β) + B/D]^β + δ, by least squares (the joint law of the same paper, after Kaplan et al., 2020). */
export function fitJoint(points: readonly Point[]): Fit<'A' | 'alpha' | 'B' | 'beta' | 'delta'> {
  return withIntervals('L(N, D) = [(A/N)^(alpha/beta) + B/D]^beta + delta', points, solveJoint);
}

const solveSize: Solver<'A' | 'alpha' | 'delta'> = (points) => {
  // In units of the middle size numbers stay near one.
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

const solveJoint: Solver<'A' | 'alpha' | 'B' | 'beta' | 'delta'> = (points, start) => {
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
  const starts = start === undefined ? JOINT_STARTS : [startOf(start.constants, size, data)];
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

/** From any number to an exponent that can be. */
function exponentOf(x: number): number {
  return MAX_EXPONENT / (1 + Math.exp(-x));
}

function logitOf(exponent: number): number {
  const share = Math.min(Math.max(exponent / MAX_EXPONENT, 1e-6), 1 - 1e-6);
  return Math.log(share / (1 - share));
}

function middle(values: readonly number[]): number {
  return Math.exp(mean(values.map(Math.log)));
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

/** Intervals by the residual bootstrap: the law is fitted again to its own predictions with residuals drawn anew. */
function withIntervals<Name extends string>(
  form: string,
  points: readonly Point[],
  solve: Solver<Name>,
): Fit<Name> {
  const best = solve(points);
  const residuals = points.map((point) => point.entropy - best.at(point));
  const names = Object.keys(best.constants) as Name[];
  // As many degrees of freedom are gone as there are constants: residuals are that much too small.
  const free = Math.max(1, points.length - names.length);
  const inflated = residuals.map((residual) => residual * Math.sqrt(points.length / free));
  const random = seededRandom(1);
  const draw = (): number => inflated[Math.floor(random() * inflated.length)]!;
  const again = Array.from({ length: RESAMPLES }, () =>
    solve(
      points.map((point) => Object.assign({}, point, { entropy: best.at(point) + draw() })),
      best,
    ),
  );
  const noise = again.map(draw);
  const middleOfAll = mean(points.map(({ entropy }) => entropy));
  const squares = (values: readonly number[]): number =>
    values.reduce((sum, value) => sum + value * value, 0);
  const constants = Object.fromEntries(
    names.map((name) => [
      name,
      { value: best.constants[name], interval: interval(again.map((fit) => fit.constants[name])) },
    ]),
  ) as Record<Name, Estimate>;
  return {
    form,
    constants,
    r2: 1 - squares(residuals) / squares(points.map(({ entropy }) => entropy - middleOfAll)),
    points: points.length,
    predict: (at) => ({
      value: best.at(at),
      interval: interval(again.map((fit, i) => fit.at(at) + noise[i]!)),
    }),
  };
}

function interval(values: readonly number[]): Interval {
  const sorted = Float64Array.from(values).sort();
  return [sorted[Math.floor(TAIL * sorted.length)]!, sorted[Math.ceil((1 - TAIL) * sorted.length) - 1]!];
}
