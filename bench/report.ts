/** Two sides, measured in one run. */
export interface Comparison {
  what: string;
  unit: string;
  /** Through this system. */
  ours: number;
  /** Through what it is compared with. */
  peer: number;
  /** `ours / peer`. */
  ratio: number;
  /** What was aimed at, where something was. */
  goal?: { text: string; met: boolean };
}

/** What a benchmark found. */
export interface Findings {
  /** What the run was made of: sizes, counts, versions. */
  parameters: Readonly<Record<string, unknown>>;
  comparisons: Comparison[];
}

/** A benchmark. */
export interface Bench {
  /** @param progress takes a line now and then */
  run(progress: (line: string) => void): Promise<Findings>;
}

/** What `npm run bench` prints. */
export interface Report extends Findings {
  bench: string;
  machine: { cpus: number; model: string; node: string };
}

/** The smallest of the samples that so much of them does not exceed. @param share 0 to 1 */
export function percentile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

/** The middle one. */
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
