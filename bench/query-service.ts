import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { type Process, startProcess } from '../services/runtime/testing/processes.ts';
import { openStore } from '../store/open.ts';
import { seeded } from './load/arrivals.ts';
import { makeCorpus, TOWER, writeOf } from './qdrant/corpus.ts';

/** The collection that {@link prepare} fills. */
export const COLLECTION = 'bench';

/** Documents of one write. */
const WRITE = 1000;

/**
 * What the comparisons of a search's cost have in common. So few documents that the store answers at once, which leaves
 * the service's own cost of each call.
 */
export const SEARCHES = { documents: 1000, queries: 1000, limit: 10, inFlight: 8 } as const;

/** Their parameters, as reports have them. @param calls on one way of a turn, which goes there and back */
export function searchParameters({
  warmUpCalls,
  calls,
  turns,
}: {
  warmUpCalls: number;
  calls: number;
  turns: number;
}) {
  const { documents, limit, inFlight } = SEARCHES;
  return { documents, limit, tower: TOWER, inFlight, warmUpCalls, callsPerTurn: 2 * calls, turns };
}

/** A search as the wire has it. */
export interface BenchSearch {
  collection: string;
  query: string;
  limit: number;
}

/** Stores documents in an embedded store. Returns searches of them. */
export async function prepare(
  folder: string,
  { documents, queries, limit }: { documents: number; queries: number; limit: number },
): Promise<BenchSearch[]> {
  const corpus = await makeCorpus(documents, queries);
  const store = await openStore({ kind: 'embedded', directory: folder });
  const { fingerprint, dimensions } = corpus.manifest.space;
  const { physicalName } = await store.ensureCollection(COLLECTION, { fingerprint, dimensions });
  for (let row = 0; row < documents; row += WRITE) {
    const rows = Array.from({ length: Math.min(WRITE, documents - row) }, (_, index) => row + index);
    await store.writeDocuments(
      physicalName,
      rows.map((each) => writeOf(corpus, each)),
    );
  }
  await store.close();
  return corpus.queries.map((query) => ({ collection: COLLECTION, query, limit }));
}

/** A query service of its own process over that store, which encodes every query. */
export function startQueryService(
  folder: string,
  environment: Readonly<Record<string, string>>,
): Promise<Process> {
  return startProcess(new URL('../services/query/main.js', import.meta.url), [], {
    SCALINGNOTE_DATA: folder,
    SCALINGNOTE_QUERY_TOWER: TOWER,
    SCALINGNOTE_PORT_QUERY: '0',
    SCALINGNOTE_METRICS_PORT_QUERY: '0',
    SCALINGNOTE_LOG_LEVEL: 'warn',
    // No cache, so that every query is encoded.
    SCALINGNOTE_QUERY_CACHE: '0',
    ...environment,
  });
}

const WORDS =
  `harbour lantern physicist meadow ledger orchard violin glacier compass printer saddle thunder pepper marble candle
  anchor biscuit canyon drummer engine feather gravel hammock iron jacket kettle ladder mirror needle oyster`.split(
    /\s+/,
  );

/** Texts as long as queries are, five words and a number, none of them twice. @param seed others for another seed */
export function distinctTexts(count: number, seed: number): string[] {
  const random = seeded(seed);
  return Array.from({ length: count }, (_, index) => {
    const words = Array.from({ length: 5 }, () => WORDS[Math.floor(random() * WORDS.length)]!);
    return `${words.join(' ')} ${index}`;
  });
}

/** Processor time of all threads of a process, and of the processes that it started, so far; `undefined` if the system is not Linux. */
export function cpuMicros(pid: number): number | undefined {
  const tasks = `/proc/${pid}/task`;
  if (!existsSync(tasks)) return undefined;
  const micros = readdirSync(tasks).map(
    (task) => Number(readFileSync(`${tasks}/${task}/schedstat`, 'utf8').split(' ', 1)[0]) / 1000,
  );
  const children = childrenOf(pid).map((child) => cpuMicros(child) ?? 0);
  return [...micros, ...children].reduce((sum, each) => sum + each, 0);
}

/** Processes that a process has started, and that run. None where the kernel does not say. */
export function childrenOf(pid: number): number[] {
  const tasks = `/proc/${pid}/task`;
  return readdirSync(tasks).flatMap((task) => {
    const file = `${tasks}/${task}/children`;
    return existsSync(file) ? readFileSync(file, 'utf8').split(' ').filter(Boolean).map(Number) : [];
  });
}
