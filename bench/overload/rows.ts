import { MAX_RECEIVE_BYTES as LARGEST_DOCUMENT } from '../../services/document/service.ts';
import { MAX_RECEIVE_BYTES as LARGEST_QUERY } from '../../services/query/service.ts';
import { budgetsOf } from '../../services/runtime/admission/budgets.ts';
import { type Comparison, median } from '../report.ts';
import { OF_DOCUMENTS, type Rpc } from './ground.ts';
import type { Agreement } from './truth.ts';

/** Share of the peak that has to be answered at any load. The lookup tower's Encode is mostly the transport itself. */
const goodputGoal = (rpc: Rpc): number => (rpc === 'encode' ? 0.8 : 0.9);
const SLOWER = 3;
const REFUSED_MS = 50;
const RECOVERED_MS = 2_000;
const IDLE_FACTOR = 1.3;

/** One load, as the callers saw it. */
export interface Row {
  rpc: Rpc;
  multiple: number;
  offered: number;
  goodput: number;
  refused: number;
  failed: number;
  statuses: Record<string, number>;
  p50: number;
  p99: number;
  refusedP99: number;
  generatorShare: number;
  serviceShare: number;
  rssMiB: number;
  recoveryMs: number;
  /** The slowest answer of `/metrics.json` meanwhile. */
  scrapeMs: number;
  /** Of the machine. */
  load: number;
  steal: number;
}

/** What was found of a method. */
export interface Measured {
  rows: Row[];
  capacity: number;
  idleMiB: number;
  agreement: Agreement;
}

/** The rows of all rounds, as one for each load: medians, and the worst of what may not happen once. */
export function merged(rows: readonly Row[]): Row[] {
  const multiples = [...new Set(rows.map(({ multiple }) => multiple))].sort((a, b) => a - b);
  return multiples.map((multiple) => {
    const same = rows.filter((row) => row.multiple === multiple);
    const middle = (of: (row: Row) => number): number => median(same.map(of));
    return {
      ...same[0]!,
      offered: middle(({ offered }) => offered),
      goodput: middle(({ goodput }) => goodput),
      refused: middle(({ refused }) => refused),
      failed: middle(({ failed }) => failed),
      p50: middle(({ p50 }) => p50),
      p99: middle(({ p99 }) => p99),
      refusedP99: middle(({ refusedP99 }) => refusedP99),
      serviceShare: middle(({ serviceShare }) => serviceShare),
      generatorShare: middle(({ generatorShare }) => generatorShare),
      rssMiB: Math.max(...same.map(({ rssMiB }) => rssMiB)),
      recoveryMs: middle(({ recoveryMs }) => recoveryMs),
      scrapeMs: Math.max(...same.map(({ scrapeMs }) => scrapeMs)),
      load: Math.max(...same.map(({ load }) => load)),
      steal: Math.max(...same.map(({ steal }) => steal)),
    };
  });
}

/**
 * Processor time of the service for one refusal, in microseconds: what it takes more than its answers do where nothing is
 * refused. Not a number where there are too few.
 */
function refusalUs(row: Row, rows: readonly Row[]): number {
  if (row.refused < row.goodput / 10) return Number.NaN;
  const calm = rows.findLast(({ refused }) => refused === 0);
  if (!calm) return Number.NaN;
  const perAnswer = calm.serviceShare / calm.goodput;
  return (1e6 * (row.serviceShare - perAnswer * row.goodput)) / row.refused;
}

/** What was wanted, and whether it is so. */
export function goals(
  rpc: Rpc,
  rows: readonly Row[],
  { idleMiB, agreement }: Pick<Measured, 'idleMiB' | 'agreement'>,
): Comparison[] {
  const peak = Math.max(...rows.map(({ goodput }) => goodput));
  const half = rows.find(({ multiple }) => multiple < 1);
  const worst = (of: (row: Row) => number): number => Math.max(...rows.map(of));
  const over = rows.some(({ multiple }) => multiple >= 1)
    ? rows.filter(({ multiple }) => multiple >= 1)
    : rows;
  // What is less than the peak because less was offered is no loss.
  const share = (row: Row): number => row.goodput / Math.min(row.offered, peak);
  const worstRow = over.reduce((worst, row) => (share(row) < share(worst) ? row : worst), over[0]!);
  const least = worstRow.goodput;
  const possible = Math.min(worstRow.offered, peak);
  const goal = (
    what: string,
    unit: string,
    ours: number,
    peer: number,
    text: string,
    met: boolean,
  ): Comparison => ({ what: `${rpc}: ${what}`, unit, ours, peer, ratio: ours / peer, goal: { text, met } });
  const p99 = worst((row) => row.p99);
  const refusedP99 = worst((row) => row.refusedP99);
  const recovery = worst((row) => row.recoveryMs);
  return [
    goal(
      'least goodput, and what was offered or the peak',
      '/s',
      least,
      possible,
      `at least ${goodputGoal(rpc)}`,
      least >= goodputGoal(rpc) * possible,
    ),
    ...(half
      ? [
          goal(
            'p99 of accepted calls, and at half load',
            'ms',
            p99,
            half.p99,
            `at most ${SLOWER} x`,
            p99 <= SLOWER * half.p99,
          ),
        ]
      : []),
    goal(
      'p99 of refusals, and the goal',
      'ms',
      refusedP99,
      REFUSED_MS,
      `at most ${REFUSED_MS} ms`,
      refusedP99 <= REFUSED_MS,
    ),
    goal(
      'recovery, and the goal',
      'ms',
      recovery,
      RECOVERED_MS,
      `at most ${RECOVERED_MS} ms`,
      recovery <= RECOVERED_MS,
    ),
    goal(
      'memory at most, and idle with all budgets',
      'MiB',
      worst((row) => row.rssMiB),
      IDLE_FACTOR * idleMiB + budgetMiB(rpc),
      `at most ${IDLE_FACTOR} x idle and the budgets`,
      worst((row) => row.rssMiB) <= IDLE_FACTOR * idleMiB + budgetMiB(rpc),
    ),
    goal(
      'p99 at 2 x capacity by /metrics, and as the callers saw it',
      's',
      ...agreement.p99,
      'the same bucket or neighbours',
      agreement.bucketsApart <= 1,
    ),
    goal(
      'calls at 2 x capacity by /metrics, and as the callers saw them',
      '',
      sum(agreement.counts, 0),
      sum(agreement.counts, 1),
      'each status equal, but for what was given up',
      agreement.countsAgree,
    ),
  ];
}

function sum(counts: Agreement['counts'], side: 0 | 1): number {
  return Object.values(counts).reduce((total, count) => total + count[side], 0);
}

/** What a service may hold for its callers: messages, bodies of HTTP, answers. */
function budgetMiB(rpc: Rpc): number {
  const largest = OF_DOCUMENTS.has(rpc) ? LARGEST_DOCUMENT : LARGEST_QUERY;
  const { requests, bodies, untaken } = budgetsOf(largest);
  return (requests + bodies + untaken) / 2 ** 20;
}

/** The rows for people. */
export function tableOf(rows: readonly Row[]): string[][] {
  const round = (value: number, digits = 0): string => (Number.isNaN(value) ? '' : value.toFixed(digits));
  return [
    [
      'rpc',
      'x',
      'offered/s',
      'good/s',
      'refused/s',
      'failed/s',
      'p50 ms',
      'p99 ms',
      'refusal p99 ms',
      'µs a refusal',
      'service CPU',
      'generator CPU',
      'RSS MiB',
      'recovery ms',
      'scrape ms',
      'load',
      'steal',
    ],
    ...rows.map((row) => [
      row.rpc,
      String(row.multiple),
      round(row.offered),
      round(row.goodput),
      round(row.refused),
      round(row.failed),
      round(row.p50, 1),
      round(row.p99, 1),
      row.refused > 0 ? round(row.refusedP99, 1) : '',
      round(
        refusalUs(
          row,
          rows.filter(({ rpc }) => rpc === row.rpc),
        ),
      ),
      round(row.serviceShare, 2),
      round(row.generatorShare, 2),
      round(row.rssMiB),
      round(row.recoveryMs),
      round(row.scrapeMs),
      round(row.load, 1),
      round(row.steal, 2),
    ]),
  ];
}
