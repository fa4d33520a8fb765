import { MAX_RECEIVE_BYTES as LARGEST_DOCUMENT } from '../../services/document/service.ts';
import { MAX_RECEIVE_BYTES as LARGEST_QUERY } from '../../services/query/service.ts';
import { LARGEST_MESSAGES } from '../../services/runtime/admission/admission.ts';
import { MAX_UNTAKEN_BYTES } from '../../services/runtime/admission/answers.ts';
import { MAX_BODY_BYTES_IN_ALL } from '../../services/runtime/listener/exchange.ts';
import { generate } from '../load/generator.ts';
import type { Phase } from '../load/load.ts';
import { BIN_MS, type Bin, type PhaseReport } from '../load/tally.ts';
import { watchMachine } from '../machine.ts';
import { type Bench, BenchUsageError, type Comparison, median } from '../report.ts';
import { Ground, OF_DOCUMENTS, type Rpc, RPCS, type Target, type Usage, usageOf } from './ground.ts';
import { type Agreement, ask, compare } from './truth.ts';

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
const SCRAPE_MS = 500;
/** Share of the peak that has to be answered at any load. The lookup tower's Encode is mostly the transport itself. */
const goodputGoal = (rpc: Rpc): number => (rpc === 'encode' ? 0.8 : 0.9);
const SLOWER = 3;
const REFUSED_MS = 50;
const RECOVERED_MS = 2_000;
const IDLE_FACTOR = 1.3;

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

interface Plan {
  ms: number;
  shares: readonly number[];
  known: number | undefined;
  rounds: number;
}

interface Measured {
  rows: Row[];
  capacity: number;
  idleMiB: number;
  agreement: Agreement;
}

/** What is answered, refused and lost when more is offered than a service can do. */
export const bench: Bench = {
  flags: {
    rpc: { type: 'string' },
    seconds: { type: 'string' },
    multiples: { type: 'string' },
    // Times through all loads, up and down in turn.
    rounds: { type: 'string' },
    // What another run found, so that both are offered the same.
    capacity: { type: 'string' },
  },
  run: async (progress, given) => {
    const { rpc: only, seconds = '5', multiples = MULTIPLES.join(','), rounds = '2' } = given;
    const known = given['capacity'] === undefined ? undefined : positive('capacity', given['capacity']);
    const rpcs = only === undefined ? RPCS : only.split(',').map(rpcOf);
    const plan: Plan = {
      ms: 1000 * positive('seconds', seconds),
      shares: multiples.split(',').map((share) => positive('multiples', share)),
      rounds: Math.ceil(positive('rounds', rounds)),
      known,
    };
    const all: Row[] = [];
    const rows: Row[] = [];
    const agreements: Record<string, Agreement> = {};
    const comparisons: Comparison[] = [];
    const notes: string[] = [];
    for (const rpc of rpcs) {
      const ground = new Ground();
      try {
        await ground.fill();
        const measured = await measure(await ground.target(rpc, []), rpc, plan, progress);
        all.push(...measured.rows);
        const own = merged(measured.rows);
        rows.push(...own);
        agreements[rpc] = measured.agreement;
        const most = Math.max(...own.map(({ rssMiB }) => rssMiB));
        comparisons.push(...goals(rpc, own, measured));
        notes.push(
          `${rpc}: ${Math.round(measured.capacity)} calls/s are its capacity; ` +
            `idle ${measured.idleMiB.toFixed(0)} MiB, most ${most.toFixed(0)} MiB`,
        );
      } finally {
        await ground.close();
      }
    }
    return {
      parameters: {
        deadlineMs: DEADLINE_MS,
        connections: CONNECTIONS,
        seconds: plan.ms / 1000,
        rounds: plan.rounds,
        cap: MOST_PER_SECOND,
      },
      comparisons,
      details: { rows, rounds: all, agreements },
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
  { ms, shares, known, rounds }: Plan,
  progress: (line: string) => void,
): Promise<Measured> {
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
  const loadOnce = async (multiple: number): Promise<Row> => {
    const rate = Math.min(MOST_PER_SECOND, capacity * multiple);
    const samples: (Usage & { at: number })[] = [];
    const scrapes: number[] = [];
    const sampling = setInterval(() => samples.push({ at: Date.now(), ...usageOf(pid) }), SAMPLE_MS);
    const scraping = setInterval(() => {
      void ask(service.metrics, path).then(({ tookMs }) => scrapes.push(tookMs));
    }, SCRAPE_MS);
    const bystanders = watchMachine();
    const report = await generate({
      ...plan,
      deadlineMs: DEADLINE_MS,
      phases: [
        { name: 'load', ms, rate, arrivals: 'poisson' },
        { name: 'after', ms: RECOVERY_MS, rate: capacity / 2, arrivals: 'poisson' },
      ],
    }).finally(() => {
      clearInterval(sampling);
      clearInterval(scraping);
    });
    const { load = 0, steal = 0 } = bystanders() ?? {};
    const [loaded, after] = report.phases as [PhaseReport, PhaseReport];
    const during = samples.filter(({ at }) => at >= loaded.from && at <= loaded.to);
    const [first, last] = [during[0]!, during.at(-1)!];
    const serviceShare = (last.cpuMs - first.cpuMs) / (last.at - first.at);
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
      serviceShare,
      generatorShare: report.cpuShare,
      rssMiB: Math.max(...samples.map(({ rssBytes }) => rssBytes)) / 2 ** 20,
      recoveryMs: recoveryMs(after.bins),
      scrapeMs: Math.max(0, ...scrapes),
      load,
      steal,
    };
    progress(JSON.stringify(row));
    return row;
  };
  const rows: Row[] = [];
  // Up and down, so that what the machine does besides falls on all loads alike.
  for (let round = 0; round < rounds; round++) {
    for (const multiple of round % 2 === 0 ? shares : [...shares].reverse()) {
      rows.push(await loadOnce(multiple));
    }
  }
  const before = await ask(service.metrics, path);
  const { phases } = await generate({
    ...plan,
    deadlineMs: DEADLINE_MS,
    phases: [{ name: 'truth', ms, rate: Math.min(MOST_PER_SECOND, 2 * capacity), arrivals: 'poisson' }],
  });
  const after = await ask(service.metrics, path);
  const agreement = compare(before.told, after.told, phases[0]!);
  progress(`${rpc}: metrics and callers ${JSON.stringify(agreement)}`);
  return { rows, capacity, idleMiB, agreement };
}

/** The rows of all rounds, as one for each load: medians, and the worst of what may not happen once. */
function merged(rows: readonly Row[]): Row[] {
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
  const calm = rows.filter(({ refused }) => refused === 0).at(-1);
  if (!calm) return Number.NaN;
  const perAnswer = calm.serviceShare / calm.goodput;
  return (1e6 * (row.serviceShare - perAnswer * row.goodput)) / row.refused;
}

function perSecond({ accepted, seconds }: PhaseReport): number {
  return accepted.count / seconds;
}

/** When the last call began that was not accepted. */
function recoveryMs(bins: readonly Bin[]): number {
  return BIN_MS * (bins.findLastIndex(({ refused, failed }) => refused + failed > 0) + 1);
}

function goals(
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
  return (LARGEST_MESSAGES * largest + MAX_BODY_BYTES_IN_ALL + MAX_UNTAKEN_BYTES) / 2 ** 20;
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
