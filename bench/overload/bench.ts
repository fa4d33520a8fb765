import { generate } from '../load/generator.ts';
import type { Phase } from '../load/load.ts';
import { BIN_MS, type Bin, type PhaseReport } from '../load/tally.ts';
import { watchMachine } from '../machine.ts';
import { type Bench, BenchUsageError, type Comparison } from '../report.ts';
import { Ground, type Rpc, RPCS, type Target, type Usage, usageOf } from './ground.ts';
import { goals, type Measured, merged, type Row, tableOf } from './rows.ts';
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

interface Plan {
  ms: number;
  shares: readonly number[];
  known: number | undefined;
  rounds: number;
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

function perSecond({ accepted, seconds }: PhaseReport): number {
  return accepted.count / seconds;
}

/** When the last call began that was not accepted. */
function recoveryMs(bins: readonly Bin[]): number {
  return BIN_MS * (bins.findLastIndex(({ refused, failed }) => refused + failed > 0) + 1);
}
