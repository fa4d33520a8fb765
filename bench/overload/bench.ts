import { loadavg } from 'node:os';
import { generate } from '../load/generator.ts';
import type { Phase } from '../load/load.ts';
import { BIN_MS, type Bin, type PhaseReport } from '../load/tally.ts';
import { type Bench, BenchUsageError, type Comparison } from '../report.ts';
import { Ground, type Rpc, RPCS, type Target, type Usage, usageOf } from './ground.ts';

/** Shares of the capacity that are offered. */
const MULTIPLES = [0.5, 1, 2, 5, 10];
/** Past this many calls a second two cores measure the generator and HTTP/2. */
const MOST_PER_SECOND = 6_000;
const DEADLINE_MS = 1_000;
const CONNECTIONS = 8;
/** Calls under way in the closed loop that finds the capacity: enough for every queue, few enough to be taken. */
const CALLERS = [8, 16, 64];
const WARM_MS = 2_000;
const RECOVERY_MS = 3_000;
const SAMPLE_MS = 50;
/** Share of the peak that has to be answered at any load. The lookup tower's Encode is mostly the transport itself. */
const GOODPUT: Readonly<Record<Rpc, number>> = { encode: 0.8, search: 0.9, ingest: 0.9 };
const SLOWER = 3;
const REFUSED_MS = 50;
const RECOVERED_MS = 2_000;

/** One load, as the callers saw it. */
interface Row {
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
  /** Processor time of the service for one refusal, in microseconds; not a number where there are too few. */
  refusalUs: number;
  generatorShare: number;
  serviceShare: number;
  rssMiB: number;
  recoveryMs: number;
  /** Of the machine, before. */
  load: number;
}

/** What is answered, refused and lost when more is offered than a service can do. */
export const bench: Bench = {
  flags: {
    rpc: { type: 'string' },
    seconds: { type: 'string' },
    multiples: { type: 'string' },
    // What another run found, so that both are offered the same.
    capacity: { type: 'string' },
  },
  run: async (progress, given) => {
    const { rpc: only, seconds = '5', multiples = MULTIPLES.join(',') } = given;
    const known = given['capacity'] === undefined ? undefined : positive('capacity', given['capacity']);
    const rpcs = only === undefined ? RPCS : only.split(',').map(rpcOf);
    const ms = 1000 * positive('seconds', seconds);
    const shares = multiples.split(',').map((share) => positive('multiples', share));
    const rows: Row[] = [];
    const comparisons: Comparison[] = [];
    const notes: string[] = [];
    for (const rpc of rpcs) {
      const ground = new Ground();
      try {
        await ground.fill();
        const measured = await measure(await ground.target(rpc, []), rpc, { ms, shares, known }, progress);
        rows.push(...measured.rows);
        comparisons.push(...goals(rpc, measured.rows));
        notes.push(
          `${rpc}: ${Math.round(measured.capacity)} calls/s are its capacity; ` +
            `idle ${measured.idleMiB.toFixed(0)} MiB, most ${Math.max(...measured.rows.map(({ rssMiB }) => rssMiB)).toFixed(0)} MiB`,
        );
      } finally {
        await ground.close();
      }
    }
    return {
      parameters: {
        deadlineMs: DEADLINE_MS,
        connections: CONNECTIONS,
        seconds: ms / 1000,
        cap: MOST_PER_SECOND,
      },
      comparisons,
      details: { rows },
      table: tableOf(rows),
      notes,
    };
  },
};

function rpcOf(name: string): Rpc {
  const rpc = RPCS.find((known) => known === name);
  if (!rpc) throw new BenchUsageError(`--rpc ${name} is none of ${RPCS.join(', ')}`);
  return rpc;
}

function positive(flag: string, text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new BenchUsageError(`--${flag} ${text} is not a number above 0`);
  return value;
}

async function measure(
  { path, bodies, service }: Target,
  rpc: Rpc,
  { ms, shares, known }: { ms: number; shares: readonly number[]; known: number | undefined },
  progress: (line: string) => void,
): Promise<{ rows: Row[]; capacity: number; idleMiB: number }> {
  const pid = service.child.pid!;
  const [host = '', port] = service.address.split(':');
  const plan = { host, port: Number(port), path, bodies, headers: {}, connections: CONNECTIONS, seed: 1 };
  const closed = await generate({
    ...plan,
    deadlineMs: undefined,
    phases: [
      { name: 'warm', ms: WARM_MS, callers: 8 },
      ...(known === undefined ? CALLERS : []).map((callers): Phase => ({
        name: String(callers),
        ms: 2_000,
        callers,
      })),
    ],
  });
  const capacity = known ?? Math.max(...closed.phases.slice(1).map(perSecond));
  progress(`${rpc}: ${Math.round(capacity)} calls/s are its capacity`);
  const idleMiB = usageOf(pid).rssBytes / 2 ** 20;
  const rows: Row[] = [];
  let usPerAccepted = Number.NaN;
  for (const multiple of shares) {
    const rate = Math.min(MOST_PER_SECOND, capacity * multiple);
    const samples: (Usage & { at: number })[] = [];
    const sampling = setInterval(() => samples.push({ at: Date.now(), ...usageOf(pid) }), SAMPLE_MS);
    const [load = 0] = loadavg();
    const report = await generate({
      ...plan,
      deadlineMs: DEADLINE_MS,
      phases: [
        { name: 'load', ms, rate, arrivals: 'poisson' },
        { name: 'after', ms: RECOVERY_MS, rate: capacity / 2, arrivals: 'poisson' },
      ],
    }).finally(() => clearInterval(sampling));
    const [loaded, after] = report.phases as [PhaseReport, PhaseReport];
    const during = samples.filter(({ at }) => at >= loaded.from && at <= loaded.to);
    const [first, last] = [during[0]!, during.at(-1)!];
    const serviceShare = (last.cpuMs - first.cpuMs) / (last.at - first.at);
    const cpuUs = serviceShare * ms * 1000;
    if (loaded.refused.count === 0) usPerAccepted = cpuUs / loaded.accepted.count;
    const row: Row = {
      rpc,
      multiple,
      offered: loaded.offered / loaded.seconds,
      goodput: perSecond(loaded),
      refused: loaded.refused.count / loaded.seconds,
      failed: loaded.failed.count / loaded.seconds,
      statuses: loaded.statuses,
      p50: loaded.accepted.p50,
      p99: loaded.accepted.p99,
      refusedP99: loaded.refused.p99,
      refusalUs:
        loaded.refused.count > loaded.accepted.count / 10
          ? (cpuUs - usPerAccepted * loaded.accepted.count) / loaded.refused.count
          : Number.NaN,
      generatorShare: report.cpuShare,
      serviceShare,
      rssMiB: Math.max(...samples.map(({ rssBytes }) => rssBytes)) / 2 ** 20,
      recoveryMs: recoveryMs(after.bins),
      load,
    };
    progress(JSON.stringify(row));
    rows.push(row);
  }
  return { rows, capacity, idleMiB };
}

function perSecond({ accepted, seconds }: PhaseReport): number {
  return accepted.count / seconds;
}

/** When the last call began that was not accepted. */
function recoveryMs(bins: readonly Bin[]): number {
  return BIN_MS * (bins.findLastIndex(({ refused, failed }) => refused + failed > 0) + 1);
}

function goals(rpc: Rpc, rows: readonly Row[]): Comparison[] {
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
  const compare = (
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
    compare(
      'least goodput, and what was offered or the peak',
      '/s',
      least,
      possible,
      `at least ${GOODPUT[rpc]}`,
      least >= GOODPUT[rpc] * possible,
    ),
    ...(half
      ? [
          compare(
            'p99 of accepted calls, and at half load',
            'ms',
            p99,
            half.p99,
            `at most ${SLOWER} x`,
            p99 <= SLOWER * half.p99,
          ),
        ]
      : []),
    compare(
      'p99 of refusals, and the goal',
      'ms',
      refusedP99,
      REFUSED_MS,
      `at most ${REFUSED_MS} ms`,
      refusedP99 <= REFUSED_MS,
    ),
    compare(
      'recovery, and the goal',
      'ms',
      recovery,
      RECOVERED_MS,
      `at most ${RECOVERED_MS} ms`,
      recovery <= RECOVERED_MS,
    ),
  ];
}

function tableOf(rows: readonly Row[]): string[][] {
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
      'load',
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
      round(row.refusalUs),
      round(row.serviceShare, 2),
      round(row.generatorShare, 2),
      round(row.rssMiB),
      round(row.recoveryMs),
      round(row.load, 1),
    ]),
  ];
}
