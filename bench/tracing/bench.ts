import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { v1 } from '../../proto/load.ts';
import { openStore } from '../../store/open.ts';
import { makeCorpus, TOWER, writeOf } from '../qdrant/corpus.ts';
import { drive, frame, LeanGrpc, type Load } from '../qdrant/load.ts';
import { type Process, startProcess } from '../qdrant/services.ts';
import { type Bench, type Comparison, median, percentile } from '../report.ts';

/** So few that the store answers at once, and what is left is what each call costs the service. */
const DOCUMENTS = 1000;
const QUERIES = 1000;
const LIMIT = 10;
const IN_FLIGHT = 8;
const WARM_UP_CALLS = 3000;
const CALLS = 3000;
/** Turns of each side in a round; they alternate, so that all see the same machine. */
const TURNS = 3;
/** Each round has processes of its own: tail latency differs from one start to the next. */
const ROUNDS = 5;

/** What is compared with none. */
const SHARES = [
  { share: 0, goal: 0.98 },
  { share: 0.01, goal: 0.95 },
  { share: 1, goal: 0.85 },
] as const;

const COLLECTION = 'bench';
const { Search } = v1.QueryService.service;

/** Searches through the query service with so many of them traced, against the same without any telemetry. */
export const bench: Bench = {
  run: async (progress) => {
    const folder = mkdtempSync(join(tmpdir(), 'scalingnote-bench-'));
    const sink = await startProcess(new URL('./sink.js', import.meta.url), [], {});
    try {
      progress(`storing ${DOCUMENTS} documents`);
      const frames = await prepare(folder);
      const rounds: Load[][][] = [];
      for (let round = 1; round <= ROUNDS; round++) {
        progress(`round ${round} of ${ROUNDS}`);
        rounds.push(await runRound(folder, sink.address, frames));
      }
      return {
        parameters: {
          documents: DOCUMENTS,
          limit: LIMIT,
          tower: TOWER,
          inFlight: IN_FLIGHT,
          callsPerTurn: CALLS,
          turns: TURNS,
          rounds: ROUNDS,
          peer: 'OTEL_SDK_DISABLED=true: no spans, no metrics',
          ours: 'metrics, and spans of so many searches sent over OTLP/HTTP to a receiver on this machine',
        },
        comparisons: SHARES.flatMap(({ share, goal }, index) => [
          {
            ...compare(
              `searches/s, ${share * 100} % traced`,
              '/s',
              rounds,
              index,
              ({ perSecond }) => perSecond,
              goal,
            ),
          },
          compare(`p99, ${share * 100} % traced`, 'ms', rounds, index, ({ samples }) =>
            percentile(samples, 0.99),
          ),
        ]),
      };
    } finally {
      await sink.stop();
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

/** Stores the documents; the searches, as they go over the wire. */
async function prepare(folder: string): Promise<Buffer[]> {
  const corpus = await makeCorpus(DOCUMENTS, QUERIES);
  const store = await openStore({ kind: 'embedded', directory: folder });
  const { fingerprint, dimensions } = corpus.manifest.space;
  const { physicalName } = await store.ensureCollection(COLLECTION, { fingerprint, dimensions });
  const writes = corpus.documents.map((_, row) => writeOf(corpus, row));
  await store.writeDocuments(physicalName, writes);
  await store.close();
  return corpus.queries.map((query) =>
    frame(Search.requestSerialize({ collection: COLLECTION, query, limit: LIMIT })),
  );
}

/** The turns of each side: without telemetry, then {@link SHARES}. */
async function runRound(folder: string, sink: string, frames: readonly Buffer[]): Promise<Load[][]> {
  const environments = [
    { OTEL_SDK_DISABLED: 'true' },
    ...SHARES.map(({ share }) => ({
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://${sink}`,
      OTEL_TRACES_SAMPLER: 'parentbased_traceidratio',
      OTEL_TRACES_SAMPLER_ARG: String(share),
    })),
  ];
  const services: Process[] = [];
  try {
    for (const environment of environments) services.push(await startQueryService(folder, environment));
    const clients = services.map(({ address }) => new LeanGrpc(address));
    const loads: Load[][] = clients.map(() => []);
    for (let turn = 0; turn <= TURNS; turn++) {
      for (const [side, client] of clients.entries()) {
        const call = async (index: number): Promise<void> => {
          await client.call(Search.path, [frames[index % QUERIES]!]);
        };
        const load = await drive(call, turn * CALLS, turn === 0 ? WARM_UP_CALLS : CALLS, IN_FLIGHT);
        if (turn > 0) loads[side]!.push(load);
      }
    }
    for (const client of clients) client.close();
    return loads;
  } finally {
    await Promise.all(services.map((service) => service.stop()));
  }
}

function startQueryService(folder: string, environment: Readonly<Record<string, string>>): Promise<Process> {
  return startProcess(new URL('../../services/query/main.js', import.meta.url), [], {
    SCALINGNOTE_DATA: folder,
    SCALINGNOTE_QUERY_TOWER: TOWER,
    SCALINGNOTE_PORT_QUERY: '0',
    SCALINGNOTE_METRICS_PORT_QUERY: '0',
    SCALINGNOTE_LOG_LEVEL: 'warn',
    // Every query goes all the way.
    SCALINGNOTE_QUERY_CACHE: '0',
    ...environment,
  });
}

/** The middle one of the rounds' ratios, and the sides of that round. */
function compare(
  what: string,
  unit: string,
  rounds: readonly Load[][][],
  index: number,
  value: (load: Load) => number,
  goal?: number,
): Comparison {
  const found = rounds
    .map(([none, ...traced]) => {
      const ours = median(traced[index]!.map(value));
      const peer = median(none!.map(value));
      return { what, unit, ours, peer, ratio: ours / peer };
    })
    .sort((a, b) => a.ratio - b.ratio);
  const middle = found[Math.floor(found.length / 2)]!;
  if (goal === undefined) return middle;
  return { ...middle, goal: { text: `at least ${goal}`, met: middle.ratio >= goal } };
}
