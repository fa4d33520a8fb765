import { seededRandom } from '../random.ts';
import { mean } from '../evaluation/metrics.ts';

export type Interval = [low: number, high: number];

/** A number of a fit, and its 95 % interval. */
export interface Estimate {
  value: number;
  interval: Interval;
}

/** A law with numbers for its constants, over places such as sizes and data. */
export interface Solution<Place, Name extends string> {
  constants: Record<Name, number>;
  at: (place: Place) => number;
}

/**
 * Finds the constants that fit best.
 *
 * @param again - of a fit that is made again: where it may start, and what it may draw other starts from. @default from anywhere
 */
export type Solver<Place, Name extends string> = (
  points: readonly (Place & Measurement)[],
  again?: { from: Solution<Place, Name>; random: () => number },
) => Solution<Place, Name>;

/** What was measured at a place. */
export interface Measurement {
  /** Contrastive entropy on held-out pairs, in nats. */
  entropy: number;
}

/** A fitted law, as reports have it. */
export interface FitSummary<Name extends string> {
  /** The law, for people. */
  form: string;
  constants: Record<Name, Estimate>;
  /** Share of the variance that it explains. */
  r2: number;
  points: number;
}

/** A fitted law. */
export interface Fit<Place, Name extends string> extends FitSummary<Name> {
  best: Solution<Place, Name>;
  /** Fits to resampled residuals, which intervals are taken from. */
  refits: readonly Solution<Place, Name>[];
  /** Predicts a point, with the 95 % interval of a measurement there. */
  predict: (at: Place) => Estimate;
}

export function summaryOf<Name extends string>(fit: FitSummary<Name>): FitSummary<Name> {
  const { form, constants, r2, points } = fit;
  return { form, constants, r2, points };
}

/** How many times a law is fitted again. */
const RESAMPLES = 200;

const TAIL = 0.025;

/** No exponent is larger. Published laws have exponents below 1. */
export const MAX_EXPONENT = 2;

/** Intervals by the residual bootstrap: the law is fitted again to its own predictions with residuals drawn anew. */
export function withIntervals<Place, Name extends string>(
  form: string,
  points: readonly (Place & Measurement)[],
  solve: Solver<Place, Name>,
): Fit<Place, Name> {
  const best = solve(points);
  const residuals = points.map((point) => point.entropy - best.at(point));
  const names = Object.keys(best.constants) as Name[];
  // As many degrees of freedom are gone as there are constants: residuals are that much too small.
  const free = Math.max(1, points.length - names.length);
  const inflated = residuals.map((residual) => residual * Math.sqrt(points.length / free));
  const random = seededRandom(1);
  const draw = (): number => inflated[Math.floor(random() * inflated.length)]!;
  const refits = Array.from({ length: RESAMPLES }, () =>
    solve(
      points.map((point) => Object.assign({}, point, { entropy: best.at(point) + draw() })),
      { from: best, random },
    ),
  );
  const noise = refits.map(draw);
  const middleOfAll = mean(points.map(({ entropy }) => entropy));
  const squares = (values: readonly number[]): number =>
    values.reduce((sum, value) => sum + value * value, 0);
  const constants = Object.fromEntries(
    names.map((name) => [
      name,
      { value: best.constants[name], interval: interval(refits.map((fit) => fit.constants[name])) },
    ]),
  ) as Record<Name, Estimate>;
  return {
    form,
    constants,
    r2: 1 - squares(residuals) / squares(points.map(({ entropy }) => entropy - middleOfAll)),
    points: points.length,
    best,
    refits,
    predict: (at) => ({
      value: best.at(at),
      interval: interval(refits.map((fit, i) => fit.at(at) + noise[i]!)),
    }),
  };
}

function interval(values: readonly number[]): Interval {
  const sorted = Float64Array.from(values).sort();
  return [sorted[Math.floor(TAIL * sorted.length)]!, sorted[Math.ceil((1 - TAIL) * sorted.length) - 1]!];
}

/** From any number to an exponent that can be. */
export function exponentOf(x: number): number {
  return MAX_EXPONENT / (1 + Math.exp(-x));
}

export function logitOf(exponent: number): number {
  const share = Math.min(Math.max(exponent / MAX_EXPONENT, 1e-6), 1 - 1e-6);
  return Math.log(share / (1 - share));
}

/** Geometric mean: in units of it numbers stay near one. */
export function middle(values: readonly number[]): number {
  return Math.exp(mean(values.map(Math.log)));
}
