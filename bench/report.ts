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
  /** The goal, if there is one. */
  goal?: { text: string; met: boolean };
}

/** The result of a benchmark. */
export interface Findings {
  /** Parameters of the run: sizes, counts, versions. */
  parameters: Readonly<Record<string, unknown>>;
  comparisons: Comparison[];
}

/** A benchmark. */
export interface Bench {
  /** @param progress receives lines that report progress */
  run(progress: (line: string) => void): Promise<Findings>;
}

/** The output of `npm run bench`. */
export interface Report extends Findings {
  bench: string;
  machine: { cpus: number; model: string; node: string };
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
export function renderReport({ bench, machine, parameters, comparisons }: Report): string {
  const rows = comparisons.map(({ what, unit, ours, peer, ratio, goal }) => [
    what,
    `${round(ours)} ${unit}`,
    `${round(peer)} ${unit}`,
    ratio.toFixed(2),
    goal ? `${goal.text}: ${goal.met ? 'met' : 'missed'}` : '',
  ]);
  const cells = [['', 'ours', 'peer', 'ratio', 'goal'], ...rows];
  const widths = cells[0]!.map((_, column) => Math.max(...cells.map((row) => row[column]!.length)));
  return [
    `${bench} on ${machine.cpus} x ${machine.model}, Node ${machine.node}`,
    JSON.stringify(parameters),
    ...cells.map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('  ')
        .trimEnd(),
    ),
  ].join('\n');
}

function round(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toFixed(2);
}
