import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { v1 } from '../../proto/load.ts';
import { drive, frame, LeanGrpc, type Load } from '../qdrant/load.ts';
import { type Process, startProcess } from '../../services/runtime/testing/processes.ts';
import { cpuMicros, prepare, searchParameters, SEARCHES, startQueryService } from '../query-service.ts';
import { type Bench, type Comparison, median, percentile } from '../report.ts';

/** After this many searches all code is compiled, and a search takes the service a third less time. */
const WARM_UP_CALLS = 15_000;
/** So few that other work on the machine affects all sides of a turn alike. */
const CALLS = 500;
/** Calls not counted: while a process waits for its turn, its memory leaves the caches. */
const LEAD_IN_CALLS = 100;
/** Each turn goes through the sides and back, and begins with a different side. */
const TURNS = 10;
/** Each round starts new processes, because no two starts are alike. */
const ROUNDS = 3;

/** The sides to compare with no telemetry: a share of the calls traced, or metrics only. */
const SIDES = [
  { what: 'metrics alone', share: undefined, goal: undefined },
  { what: '0 % traced', share: 0, goal: 0.98 },
  { what: '1 % traced', share: 0.01, goal: 0.95 },
  { what: '100 % traced', share: 1, goal: 0.85 },
] as const;

const { Search } = v1.QueryService.service;

/** Compares searches through the query service, a share of them traced, with searches without telemetry. */
export const bench: Bench = {
  run: async (progress) => {
    const folder = mkdtempSync(join(tmpdir(), 'scalingnote-bench-'));
    const sink = await startProcess(new URL('./sink.js', import.meta.url), [], {});
    try {
      progress(`storing ${SEARCHES.documents} documents`);
      const searches = await prepare(folder, SEARCHES);
      const frames = searches.map((search) => frame(Search.requestSerialize(search)));
      const turns: Part[][] = [];
      let droppedSpans = 0;
      for (let round = 1; round <= ROUNDS; round++) {
        progress(`round ${round} of ${ROUNDS}`);
        const found = await runRound(folder, sink.address, frames);
        turns.push(...found.turns);
        droppedSpans += found.droppedSpans;
      }
      return {
        parameters: {
          ...searchParameters({ warmUpCalls: WARM_UP_CALLS, calls: CALLS, turns: TURNS }),
          rounds: ROUNDS,
          peer: 'OTEL_SDK_DISABLED=true: no spans, no metrics',
          ours: 'metrics, and spans of so many searches sent over OTLP/HTTP to a receiver on this machine',
          ratio: 'the median of the ratios of turns; ours and peer are medians by themselves',
          droppedSpans,
        },
        comparisons: SIDES.flatMap(({ what, goal }, index) => {
          const mine = turns.map((sides) => ({ peer: sides[0]!, ours: sides[index + 1]! }));
          const found = [
            compare(`searches/s, ${what}`, '/s', mine, ({ perSecond }) => perSecond, goal),
            compare(`p99, ${what}`, 'ms', mine, ({ samples }) => percentile(samples, 0.99)),
          ];
          if (mine[0]?.ours.cpuMicros === undefined) return found;
          return [
            ...found,
            compare(`CPU of the service a search, ${what}`, 'µs', mine, ({ cpuMicros }) => cpuMicros!),
          ];
        }),
      };
    } finally {
      await sink.stop();
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

/** The measurements of one side. */
interface Part extends Load {
  /** The service's processor time for each search, if the system reports it. */
  cpuMicros: number | undefined;
}

/** Runs the turns, each with all sides: no telemetry, then {@link SIDES}. */
async function runRound(
  folder: string,
  sink: string,
  frames: readonly Buffer[],
): Promise<{ turns: Part[][]; droppedSpans: number }> {
  const environments = [
    { OTEL_SDK_DISABLED: 'true' },
    ...SIDES.map(({ share }) => ({
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://${sink}`,
      ...(share === undefined
        ? { OTEL_TRACES_EXPORTER: 'none' }
        : { OTEL_TRACES_SAMPLER: 'parentbased_traceidratio', OTEL_TRACES_SAMPLER_ARG: String(share) }),
    })),
  ];
  const services: Process[] = [];
  try {
    for (const environment of environments) services.push(await startQueryService(folder, environment));
    const sides = services.map((service) => ({ service, client: new LeanGrpc(service.address) }));
    for (const side of sides) await load(side, frames, 0, WARM_UP_CALLS);
    const turns: Part[][] = [];
    for (let turn = 0; turn < TURNS; turn++) {
      const first = turn % sides.length;
      const there = [...sides.keys()].map((index) => (index + first) % sides.length);
      const parts: Part[][] = sides.map(() => []);
      for (const index of [...there, ...there.toReversed()]) {
        await load(sides[index]!, frames, turn * CALLS, LEAD_IN_CALLS);
        parts[index]!.push(await load(sides[index]!, frames, turn * CALLS, CALLS));
      }
      turns.push(parts.map(([a, b]) => together(a!, b!)));
    }
    for (const { client } of sides) client.close();
    const dropped = await Promise.all(services.map(({ metrics }) => droppedSpansOf(metrics)));
    return { turns, droppedSpans: dropped.reduce((sum, each) => sum + each, 0) };
  } finally {
    await Promise.all(services.map((service) => service.stop()));
  }
}

/** Sends searches to a service. */
async function load(
  { service, client }: { service: Process; client: LeanGrpc },
  frames: readonly Buffer[],
  first: number,
  calls: number,
): Promise<Part> {
  const call = async (index: number): Promise<void> => {
    await client.call(Search.path, [frames[index % SEARCHES.queries]!]);
  };
  const before = cpuMicros(service.child.pid!);
  const done = await drive(call, first, calls, SEARCHES.inFlight);
  const after = cpuMicros(service.child.pid!);
  const isKnown = before !== undefined && after !== undefined;
  return { ...done, cpuMicros: isKnown ? (after - before) / calls : undefined };
}

/** Joins two loads of equally many calls. */
function together(a: Part, b: Part): Part {
  return {
    samples: [...a.samples, ...b.samples],
    perSecond: 2 / (1 / a.perSecond + 1 / b.perSecond),
    cpuMicros:
      a.cpuMicros === undefined || b.cpuMicros === undefined ? undefined : (a.cpuMicros + b.cpuMicros) / 2,
  };
}

/** How many spans a service dropped; 0 for a service without metrics. */
async function droppedSpansOf(metrics: string): Promise<number> {
  if (metrics === '') return 0;
  const answer = await fetch(`http://${metrics}/metrics.json`);
  const series = (await answer.json()) as { name: string; points: { value: number }[] }[];
  return series.find(({ name }) => name === 'scalingnote.telemetry.dropped')?.points[0]?.value ?? 0;
}

/** Compares one of {@link SIDES} with no telemetry, turn by turn. */
function compare(
  what: string,
  unit: string,
  turns: readonly { ours: Part; peer: Part }[],
  value: (part: Part) => number,
  goal?: number,
): Comparison {
  const ratio = median(turns.map(({ ours, peer }) => value(ours) / value(peer)));
  const ours = median(turns.map((turn) => value(turn.ours)));
  const peer = median(turns.map((turn) => value(turn.peer)));
  const found = { what, unit, ours, peer, ratio };
  return goal === undefined ? found : { ...found, goal: { text: `at least ${goal}`, met: ratio >= goal } };
}
