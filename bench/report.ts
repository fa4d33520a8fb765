import { aboutBystanders, type Bystanders } from './machine.ts';

/** Two sides, measured in one run. */
export interface Comparison {
  what: string;
  unit: string;
  /** The value of this system. */
  ours: number;
  /** The value of what it is compared with. */
  peer: number;
  /** `ours / peer`. */
  ratio: number;
  /** An interval of the ratio, where it was measured more than once. */
  interval?: readonly [low: number, high: number];
  /** The lowest ratio and the highest: the interval where the machine was busy. */
  extremes?: readonly [low: number, high: number];
  /** The goal, if there is one. */
  goal?: { text: string; met: boolean };
}

/** The result of a benchmark. */
export interface Findings {
  /** Parameters of the run: sizes, counts, versions. */
  parameters: Readonly<Record<string, unknown>>;
  comparisons: Comparison[];
  /** A result that is more than comparisons: for programs, and the same as rows of cells for people, the first one the head. */
  details?: Readonly<Record<string, unknown>>;
  table?: readonly (readonly string[])[];
  /** What a reader has to know of this run, a line each. */
  notes?: readonly string[];
}

/** Flags of a benchmark that take a value. */
export type BenchFlags = Readonly<Record<string, { type: 'string' }>>;

/** How much to measure: `quick` shows within five minutes that a benchmark runs, and what comes out about. */
export interface Extent {
  quick: boolean;
}

/** A flag of a benchmark has a value that can't be used. */
export class BenchUsageError extends Error {}

/** What a benchmark compares with is not installed; the message has the line that installs it. */
export class MissingPeerError extends Error {}

/** A benchmark. */
export interface Bench {
  /** @default none */
  flags?: BenchFlags;
  /** Whether it takes `--quick`. @default false */
  hasQuick?: boolean;
  /**
   * @param progress receives lines that report progress
   * @param given values of the flags that were given
   */
  run(
    progress: (line: string) => void,
    given: Readonly<Record<string, string | undefined>>,
    extent: Extent,
  ): Promise<Findings>;
}

/** The output of `npm run bench`. */
export interface Report extends Findings {
  bench: string;
  machine: { cpus: number; model: string; node: string; bystanders?: Bystanders };
}

/** The smallest sample that a share of the samples does not exceed. @param share 0 to 1 */
export function percentile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

/** The middle value. */
export function median(samples: readonly number[]): number {
  return percentile(samples, 0.5);
}

/** A report for people. */
export function renderReport({
  bench,
  machine,
  parameters,
  comparisons,
  table = [],
  notes = [],
}: Report): string {
  const rows = comparisons.map(({ what, unit, ours, peer, ratio, interval, goal }) => [
    what,
    `${round(ours)} ${unit}`,
    `${round(peer)} ${unit}`,
    interval
      ? `${ratio.toFixed(2)} (${interval[0].toFixed(2)} to ${interval[1].toFixed(2)})`
      : ratio.toFixed(2),
    goal ? `${goal.text}: ${goal.met ? 'met' : 'missed'}` : '',
  ]);
  return [
    `${bench} on ${machine.cpus} x ${machine.model}, Node ${machine.node}`,
    JSON.stringify(parameters),
    ...aligned(table),
    ...aligned([['', 'ours', 'peer', 'ratio', 'goal'], ...rows]),
    ...notes,
    ...(machine.bystanders ? [aboutBystanders(machine.bystanders)] : []),
  ].join('\n');
}

/** Rows of cells as lines, each column as wide as its widest cell. */
function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]!.length))) ?? [];
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd(),
  );
}

function round(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toFixed(2);
}
