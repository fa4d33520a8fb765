import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, type ClientHttp2Session } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { v1 } from '../../proto/load.ts';
import { type Process, stopServices } from '../../services/runtime/testing/processes.ts';
import { Pairs } from '../calls/compare.ts';
import { answerBytes, closedLoop, type Side, startEcho } from '../calls/sides.ts';
import { readCount } from '../flags.ts';
import { framed } from '../load/messages.ts';
import { COLLECTION, distinctTexts, prepare, startQueryService } from '../query-service.ts';
import type { Bench } from '../report.ts';
import { STALLED_STREAMS, stall } from './stalled.ts';

const DOCUMENTS = 14_047;
/** Float32 and int8 of 384 dimensions, which a search scans. */
const VECTOR_BYTES = 5 * 384;
const TEXTS = 5000;
const CONNECTIONS = 200;
const STARTS = 3;
const LOAD_MS = 8000;
const QUICK_LOAD_MS = 3000;
const IN_FLIGHT = 32;
const GOAL_CONNECTION_KB = 60;
const GOAL_STALLED_MB = 20;

/** With answers of some 50 kB. */
const STALLED_SEARCH = { query: 'a place where bees live', collection: COLLECTION, limit: 100 };

const { Search } = v1.QueryService.service;
const STALLED = 'a stream whose reader stalls; peer: the goal';
const CONNECTION = 'an idle connection; peer: the goal';

/** What a query service holds in memory, beside a bare server of grpc-js. */
export const bench: Bench = {
  hasQuick: true,
  flags: { documents: { type: 'string' } },
  run: async (progress, { documents: given }, { quick }) => {
    const documents = readCount('documents', given, DOCUMENTS);
    const [loaded, empty] = [0, 1].map(() => mkdtempSync(join(tmpdir(), 'scalingnote-bench-')));
    const pairs = new Pairs();
    try {
      progress(`storing ${documents} documents`);
      await prepare(loaded!, { documents, queries: 1, limit: 10 });
      await prepare(empty!, { documents: 1, queries: 1, limit: 10 });
      for (let start = 1; start <= (quick ? 1 : STARTS); start++) {
        progress(`start ${start}`);
        const bare = await startQueryService(empty!, {});
        const service = await startQueryService(loaded!, {});
        const ours = searches(service, start);
        const echo = await startEcho({ [Search.path]: await answerBytes(ours) });
        const atRest = await restingMb(service);
        pairs.add(
          'at rest, without documents; peer: a bare server',
          'MB',
          await restingMb(bare),
          await restingMb(echo),
        );
        pairs.add(
          'what the documents add; peer: their vectors, as float32 and int8',
          'MB',
          atRest - (await restingMb(bare)),
          (documents * VECTOR_BYTES) / 1e6,
        );
        const [connection, echoConnection] = [await connectionKb(service), await connectionKb(echo)];
        pairs.add(CONNECTION, 'kB', connection, GOAL_CONNECTION_KB);
        pairs.add('an idle connection; peer: a bare server', 'kB', connection, echoConnection);
        const stalled = await stalledMb(service, quick ? QUICK_LOAD_MS : LOAD_MS);
        pairs.add(STALLED, 'MB', stalled.mb, GOAL_STALLED_MB);
        progress(`${STALLED_STREAMS} streams that nobody reads took ${stalled.queries} queries`);
        const both = [ours, { ...ours, service: echo }] as const;
        await pairs.measure(`${IN_FLIGHT} in flight`, start, both, (side) =>
          closedLoop(side, IN_FLIGHT, quick ? QUICK_LOAD_MS : LOAD_MS),
        );
        pairs.add(
          `peak of ${IN_FLIGHT} in flight; peer: a bare server`,
          'MB',
          mb(service, 'VmHWM'),
          mb(echo, 'VmHWM'),
        );
        await Promise.all([bare.stop(), service.stop(), echo.stop('SIGKILL')]);
      }
    } finally {
      await stopServices();
      for (const folder of [loaded, empty]) rmSync(folder!, { recursive: true, force: true });
    }
    return {
      parameters: {
        documents,
        connections: CONNECTIONS,
        inFlight: IN_FLIGHT,
        stalledStreams: STALLED_STREAMS,
      },
      comparisons: pairs.comparisons({ [CONNECTION]: { atMost: 1 }, [STALLED]: { atMost: 1 } }),
      notes: ['resident memory of the process, as Linux counts it', ...pairs.notes()],
    };
  },
};

function searches(service: Process, seed: number): Side {
  const bodies = distinctTexts(TEXTS, seed).map((query) =>
    framed(Search.requestSerialize({ query, collection: COLLECTION, limit: 10 })),
  );
  return { service, path: Search.path, bodies };
}

/** Once it does nothing any more. */
async function restingMb(service: Process): Promise<number> {
  await sleep(1000);
  return mb(service, 'VmRSS');
}

/** What each of many idle connections adds. */
async function connectionKb(service: Process): Promise<number> {
  const before = await restingMb(service);
  const sessions: ClientHttp2Session[] = [];
  for (let index = 0; index < CONNECTIONS; index++) {
    const session = connect(`http://${service.address}`);
    session.on('error', () => {});
    await new Promise((resolve) => session.once('remoteSettings', resolve));
    sessions.push(session);
  }
  const after = await restingMb(service);
  for (const session of sessions) session.destroy();
  return Math.max(0, (1000 * (after - before)) / CONNECTIONS);
}

/** What each stream of searches adds whose answers nobody reads, by the highest memory meanwhile. */
async function stalledMb(service: Process, ms: number): Promise<{ mb: number; queries: number }> {
  const before = await restingMb(service);
  const { queries, close } = await stall(service.address, STALLED_SEARCH, ms);
  const peak = Math.max(mb(service, 'VmHWM'), mb(service, 'VmRSS'));
  close();
  return { mb: Math.max(0, peak - before) / STALLED_STREAMS, queries };
}

/** @param field of `/proc/PID/status` */
function mb({ child }: Process, field: 'VmRSS' | 'VmHWM'): number {
  const status = readFileSync(`/proc/${child.pid!}/status`, 'utf8');
  const [, kilobytes] = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status) ?? [];
  return Number(kilobytes) / 1000;
}
