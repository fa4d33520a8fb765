import { differenceInterval } from '../../evaluation/bootstrap.ts';
import { mean } from '../../evaluation/metrics.ts';
import type { CellResult } from './cells.ts';
import type { Arm } from './recipe.ts';

/** Half of an interval that the experiment aims at. */
const AIM = 0.01;

/** How many half-widths of headroom an experiment needs to show anything. */
const NEEDED = 2;

type Interval = [low: number, high: number];

/** A value and its 95 % interval, by bootstrap over held-out queries, paired where it is of a difference. */
interface Estimate {
  value: number;
  interval: Interval;
}

/** A student of an arm at a number of labelled pairs: means over seeds. */
export interface Point {
  pairs: number;
  student: string;
  arm: Arm | 'teacher';
  mrr: number;
  entropy: number;
  /** 95 %, of the MRR, over held-out queries. */
  interval: Interval;
  rate: number;
  seeds: number;
  /** Of training one such tower, its teacher included: mean over seeds. */
  operations: number;
  /** The MRR of each seed: what queries do not say. */
  mrrOfSeeds: number[];
}

/** How much two stages can gain at all: the teacher's MRR less that of its student trained end to end. */
export interface Headroom extends Estimate {
  pairs: number;
  student: string;
  teacher: number;
  endToEnd: number;
  halfWidth: number;
  /** Whether it is below two half-widths: arms that are distilled or see a teacher are then skipped. */
  skipped: boolean;
}

/** Two-stage less another arm. */
export interface Difference {
  pairs: number;
  student: string;
  minus: Arm;
  mrr: Estimate;
  entropy: Estimate;
  halfWidth: number;
  mrrOfSeeds: number[];
  /** What the paper would need to be true here. */
  sentence: string;
  /** Of the MRR's interval: above 0, below 0, or on both sides. */
  verdict: 'true' | 'false' | 'not shown';
  /** Why the interval is wider than aimed at. */
  wide?: string;
}

/** Results of the seeds of one point. */
export interface Results {
  pairs: number;
  student: string;
  arm: Arm | 'teacher';
  rate: number;
  seeds: readonly CellResult[];
}

export function pointOf({ pairs, student, arm, rate, seeds }: Results): Point {
  const ranks = meanOf(seeds, 'reciprocalRanks');
  return {
    pairs,
    student,
    arm,
    mrr: mean(ranks),
    entropy: mean(meanOf(seeds, 'entropies')),
    interval: differenceInterval(ranks, zerosLike(ranks)),
    rate,
    seeds: seeds.length,
    operations: mean(seeds.map(({ operations }) => operations)),
    mrrOfSeeds: seeds.map(({ heldOut }) => mean(heldOut.reciprocalRanks)),
  };
}

export function headroomOf(teacher: Results, endToEnd: Results): Headroom {
  const [above, below] = [teacher, endToEnd].map(({ seeds }) => meanOf(seeds, 'reciprocalRanks')) as [
    number[],
    number[],
  ];
  const found = differenceOf(above, below);
  const halfWidth = halfWidthOf(found.interval);
  return {
    pairs: endToEnd.pairs,
    student: endToEnd.student,
    teacher: mean(above),
    endToEnd: mean(below),
    ...found,
    halfWidth,
    skipped: found.value < NEEDED * halfWidth,
  };
}

export function differenceTo(twoStage: Results, other: Results): Difference {
  const part = (key: 'reciprocalRanks' | 'entropies'): Estimate =>
    differenceOf(meanOf(twoStage.seeds, key), meanOf(other.seeds, key));
  const mrr = part('reciprocalRanks');
  const [low, high] = mrr.interval;
  const halfWidth = halfWidthOf(mrr.interval);
  const { pairs, student } = twoStage;
  const arm = other.arm as Arm;
  const queries = other.seeds[0]!.heldOut.reciprocalRanks.length;
  const wanted = Math.ceil(queries * (halfWidth / AIM) ** 2);
  return {
    pairs,
    student,
    minus: arm,
    mrr,
    entropy: part('entropies'),
    halfWidth,
    mrrOfSeeds: twoStage.seeds.map(
      ({ heldOut }, seed) => mean(heldOut.reciprocalRanks) - mean(other.seeds[seed]!.heldOut.reciprocalRanks),
    ),
    sentence: `With ${pairs.toLocaleString('en')} labelled pairs, ${student} in two stages finds better than ${RIVALS[arm]}.`,
    verdict: low > 0 ? 'true' : high < 0 ? 'false' : 'not shown',
    ...(halfWidth > AIM && {
      wide: `${queries.toLocaleString('en')} held-out queries resolve ${halfWidth.toFixed(4)}; ${AIM} takes about ${wanted.toLocaleString('en')}`,
    }),
  };
}

/** What two stages are compared with, for people. */
const RIVALS: Readonly<Record<Arm, string>> = {
  'two-stage': 'itself',
  'end-to-end': 'the same tower trained end to end',
  'frozen-documents': "the same tower trained by the pairs against the frozen teacher's documents",
  'labelled-queries': 'two stages on the labelled queries alone',
  'no-relative': 'the same tower trained end to end from weights that are no relative of the document tower',
};

function differenceOf(values: readonly number[], baseline: readonly number[]): Estimate {
  return { value: mean(values) - mean(baseline), interval: differenceInterval(values, baseline) };
}

function halfWidthOf([low, high]: Interval): number {
  return (high - low) / 2;
}

/** Each query's mean over seeds. */
function meanOf(seeds: readonly CellResult[], key: 'reciprocalRanks' | 'entropies'): number[] {
  return seeds[0]!.heldOut[key].map((_, query) => mean(seeds.map(({ heldOut }) => heldOut[key][query]!)));
}

function zerosLike(values: readonly number[]): number[] {
  return values.map(() => 0);
}
