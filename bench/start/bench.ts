import { existsSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { v1 } from '../../proto/load.ts';
import { type Process, stopServices } from '../../services/runtime/testing/processes.ts';
import { LEAST_PASSAGES, SNAPSHOTS_FOLDER } from '../../store/embedded/snapshots.ts';
import { Pairs } from '../calls/compare.ts';
import { startEcho } from '../calls/sides.ts';
import { readCount } from '../flags.ts';
import { framed } from '../load/messages.ts';
import { LeanGrpc } from '../qdrant/load.ts';
import { COLLECTION, cpuMicros, distinctTexts, prepare, startQueryService } from '../query-service.ts';
import { type Bench, median } from '../report.ts';

const DOCUMENTS = 100_000;
const QUICK_DOCUMENTS = 14_047;
const STARTS = 7;
const QUICK_STARTS = 3;
/** From the start of the process to its first answer. */
const GOAL_MS = 1000;

/** How long a service may take to write what its next start reads. */
const SNAPSHOT_MS = 120_000;
const SNAPSHOT_POLL_MS = 200;

/** Hybrid searches after a start. */
const HYBRID = 10;

const { Search } = v1.QueryService.service;
const FIRST_HYBRID = 'the first hybrid search; peer: the tenth';
const FIRST_ANSWER = 'process start to the first answer; peer: the goal';

/** How long a query service takes to its first answer, beside a bare server of grpc-js. */
export const bench: Bench = {
  hasQuick: true,
  flags: { documents: { type: 'string' } },
  run: async (progress, { documents: given }, { quick }) => {
    const documents = readCount('documents', given, quick ? QUICK_DOCUMENTS : DOCUMENTS);
    const starts = quick ? QUICK_STARTS : STARTS;
    const folder = mkdtempSync(join(tmpdir(), 'scalingnote-bench-'));
    const pairs = new Pairs();
    const phases: Process['startMs'][] = [];
    try {
      progress(`storing ${documents} documents`);
      await prepare(folder, { documents, queries: 1, limit: 1 });
      const snapshots = join(folder, SNAPSHOTS_FOLDER);
      const hasSnapshot = documents >= LEAST_PASSAGES;
      if (hasSnapshot) {
        progress('starting once, for the snapshot that the next starts read');
        await makeSnapshot(folder, snapshots);
      }
      for (let start = 1; start <= starts; start++) {
        progress(`start ${start} of ${starts}`);
        const ours = await firstAnswer(() => startQueryService(folder, {}), true);
        const peer = await firstAnswer(() => startEcho({ [Search.path]: 100 }));
        if (hasSnapshot) {
          const aside = `${snapshots}.aside`;
          renameSync(snapshots, aside);
          const rows = await firstAnswer(() => startQueryService(folder, {}));
          rmSync(snapshots, { recursive: true, force: true });
          renameSync(aside, snapshots);
          const what = 'the first answer; peer: without the snapshot';
          pairs.add(`process start to ${what}`, 'ms', ours.ms, rows.ms);
          pairs.add(`CPU until ${what}`, 'ms', ours.cpuMs, rows.cpuMs);
        }
        pairs.add(FIRST_HYBRID, 'ms', ours.hybridMs[0]!, ours.hybridMs.at(-1)!);
        phases.push(ours.startMs);
        pairs.add(FIRST_ANSWER, 'ms', ours.ms, GOAL_MS);
        pairs.add('process start to the first answer; peer: a bare server', 'ms', ours.ms, peer.ms);
        pairs.add('CPU until the first answer; peer: a bare server', 'ms', ours.cpuMs, peer.cpuMs);
      }
    } finally {
      await stopServices();
      rmSync(folder, { recursive: true, force: true });
    }
    const names = Object.keys(phases[0]!);
    const startMs = Object.fromEntries(
      names.map((name) => [name, median(phases.map((each) => each[name] ?? 0))]),
    );
    return {
      parameters: { documents, starts },
      comparisons: pairs.comparisons({ [FIRST_ANSWER]: { atMost: 1 } }),
      details: { startMs },
      table: [['phase', 'ms'], ...names.map((name) => [name, String(startMs[name])])],
      notes: [
        '"tower" and "store" are opened at the same time; their phase is "tower and store"',
        ...pairs.notes(),
      ],
    };
  },
};

/** Runs a service until it has written its snapshot. */
async function makeSnapshot(folder: string, snapshots: string): Promise<void> {
  const service = await startQueryService(folder, {});
  const giveUp = performance.now() + SNAPSHOT_MS;
  const isThere = (): boolean =>
    existsSync(snapshots) && readdirSync(snapshots).some((name) => name.endsWith('.mirror'));
  while (!isThere()) {
    if (performance.now() > giveUp) throw new Error(`no snapshot in ${snapshots} after ${SNAPSHOT_MS} ms`);
    await sleep(SNAPSHOT_POLL_MS);
  }
  await service.stop();
}

/** Starts a server, and calls it once. @param hybrid whether hybrid searches follow, which are measured one by one */
async function firstAnswer(
  begin: () => Promise<Process>,
  hybrid = false,
): Promise<{ ms: number; cpuMs: number; startMs: Process['startMs']; hybridMs: number[] }> {
  const began = performance.now();
  const server = await begin();
  const client = new LeanGrpc(server.address);
  const request = Search.requestSerialize({ query: 'a long time without any rain', collection: COLLECTION });
  await client.call(Search.path, [framed(request)]);
  const ms = performance.now() - began;
  const cpuMs = (cpuMicros(server.child.pid!) ?? Number.NaN) / 1000;
  const hybridMs: number[] = [];
  for (const query of hybrid ? distinctTexts(HYBRID, 1) : []) {
    const before = performance.now();
    await client.call(Search.path, [
      framed(Search.requestSerialize({ query, collection: COLLECTION, mode: 'SEARCH_MODE_HYBRID' })),
    ]);
    hybridMs.push(performance.now() - before);
  }
  client.close();
  await server.stop('SIGKILL');
  return { ms, cpuMs, startMs: server.startMs, hybridMs };
}
