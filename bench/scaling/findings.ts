import type { LocalTower } from '../../towers/pull.ts';
import { differenceInterval, ratioInterval } from '../../training/evaluation/bootstrap.ts';
import { mean } from '../../training/evaluation/metrics.ts';
import { elementCount } from '../../training/onnx/tensor.ts';
import { readTowerGraph } from '../../training/tower-folder.ts';
import type { Comparison } from '../report.ts';
import type { QueryCost, TeacherTimes } from './query-cost.ts';
import type { LookupStudent } from './students.ts';

/** The goals: a query's cost between students, for document towers of up to so many parameters and dimensions. */
const MOST_COST = 1.1;
const LARGE_PARAMETERS = 100e6;

type Interval = [low: number, high: number];

/** nDCG@10 with its 95 % interval. */
interface Quality {
  ndcg10: number;
  interval: Interval;
}

/** A document tower, its student, and what both find. */
export interface Measured {
  /** Where the document tower comes from. */
  from: string;
  teacher: LocalTower;
  student: LookupStudent;
  /** nDCG@10 of each query, in one order. */
  scores: { teacher: number[]; student: number[] };
}

/** A line of the result: a document tower and its student. */
export interface Rung {
  documentTower: string;
  from: string;
  /** Numbers in its graph's weights. */
  parameters: number;
  dimensions: number;
  teacher: Quality & TeacherTimes;
  student: Quality & {
    /** Of its weights. */
    bytes: number;
    pairs: number;
    queryMs: number;
    /** Its time for a query over that of the first tower's student, measured in turns. */
    cost: Omit<QueryCost, 'milliseconds'>;
  };
  /** Student's nDCG@10 over the teacher's. */
  retention: { ndcg10: number; interval: Interval };
  /** The student's nDCG@10 less that of the first tower's student, over the same queries. */
  gain: { ndcg10: number; interval: Interval };
}

/** Puts together what was measured of a document tower. @param first - the tower that it is compared with */
export async function rungOf(
  { from, teacher, student, scores }: Measured,
  first: Measured,
  times: TeacherTimes,
  { milliseconds, ...cost }: QueryCost,
): Promise<Rung> {
  const { name, dimensions } = teacher.manifest;
  return {
    documentTower: name,
    from,
    parameters: await countParameters(teacher.directory),
    dimensions,
    teacher: { ...qualityOf(scores.teacher), ...times },
    student: {
      ...qualityOf(scores.student),
      bytes: student.bytes,
      pairs: student.pairs,
      queryMs: milliseconds,
      cost,
    },
    retention: {
      ndcg10: mean(scores.student) / mean(scores.teacher),
      interval: ratioInterval(scores.student, scores.teacher),
    },
    gain: {
      ndcg10: mean(scores.student) - mean(first.scores.student),
      interval: differenceInterval(scores.student, first.scores.student),
    },
  };
}

function qualityOf(scores: readonly number[]): Quality {
  const nothing = scores.map(() => 0);
  return { ndcg10: mean(scores), interval: differenceInterval(scores, nothing) };
}

/** How many numbers the weights have, quantised ones counted as what they stand for. */
async function countParameters(directory: string): Promise<number> {
  const { model } = await readTowerGraph(directory);
  let sum = 0;
  for (const { type, dims } of model.graph.initializers.values())
    if (type === 'float32') sum += elementCount(dims);
  return sum;
}

/** The result as a table for people. */
export function tableOf(rungs: readonly Rung[]): string[][] {
  const share = (value: number): string => value.toFixed(3);
  const within = (value: number, [low, high]: Interval): string =>
    `${share(value)} (${share(low)}-${share(high)})`;
  return [
    [
      'document tower',
      'from',
      'parameters',
      'dimensions',
      'teacher nDCG@10',
      'student nDCG@10',
      'retention',
      'document tokens/s of CPU',
      'ms of CPU, teacher on a query',
      'student',
      'cost to the first',
      'stored MB',
    ],
    ...rungs.map(({ documentTower, from, parameters, dimensions, teacher, student, retention }) => [
      documentTower,
      from,
      `${(parameters / 1e6).toFixed(1)} M`,
      `${dimensions}`,
      within(teacher.ndcg10, teacher.interval),
      within(student.ndcg10, student.interval),
      within(retention.ndcg10, retention.interval),
      teacher.tokensPerSecond.toFixed(0),
      teacher.queryMs.toFixed(1),
      student.queryMs.toFixed(3),
      within(student.cost.ratio, student.cost.interval),
      (student.bytes / 1e6).toFixed(1),
    ]),
  ];
}

/** The goals of cost, and what happens to quality. Query costs are CPU time, in microseconds. */
export function compareAll(rungs: readonly Rung[], wide: Rung): Comparison[] {
  const [first, ...others] = rungs;
  if (first === undefined) return [];
  const cost = (rung: Rung, goal: boolean): Comparison => {
    const { ratio } = rung.student.cost;
    return {
      what: `a query, student of ${rung.documentTower} (${rung.dimensions} dimensions) to that of ${first.documentTower}`,
      unit: 'µs',
      ours: 1000 * rung.student.queryMs,
      peer: 1000 * first.student.queryMs,
      ratio,
      ...(goal && { goal: { text: `<= ${MOST_COST}`, met: ratio <= MOST_COST } }),
    };
  };
  return [
    ...others.map((rung) => cost(rung, rung.parameters > LARGE_PARAMETERS)),
    cost(wide, true),
    ...others.map((rung) => ({
      what: `nDCG@10, student of ${rung.documentTower} to that of ${first.documentTower}`,
      unit: '',
      ours: rung.student.ndcg10,
      peer: first.student.ndcg10,
      ratio: rung.student.ndcg10 / first.student.ndcg10,
    })),
  ];
}

/** What the goals ask for and the run did not have. */
export function notMeasured(rungs: readonly Rung[]): string[] {
  if (rungs.some(({ parameters }) => parameters > LARGE_PARAMETERS)) return [];
  return [`no document tower above ${LARGE_PARAMETERS / 1e6} M parameters was measured: that goal is open`];
}
