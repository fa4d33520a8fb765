import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { v1 } from '../../proto/load.ts';
import { type Process, stopServices } from '../../services/runtime/testing/processes.ts';
import { Pairs } from '../calls/compare.ts';
import { closedLoop, type Seen, type Side, warmUp } from '../calls/sides.ts';
import { readCount } from '../flags.ts';
import { framed } from '../load/messages.ts';
import { COLLECTION, distinctTexts, prepare, startQueryService } from '../query-service.ts';
import type { Bench } from '../report.ts';

/** Documents of the smallest store, which is the peer of the others. */
const FEWEST = 1000;
const DOCUMENTS = 100_000;
const QUICK_DOCUMENTS = 14_047;
const PROCESSES = 2;
const TEXTS = 5000;
const CALLERS = [1, 8, 32];
const BESIDE = 8;
const TURNS = 5;
const MS = 2000;
const QUICK_TURNS = 3;
const QUICK_MS = 1000;

const { Search } = v1.QueryService.service;

/** How the cost of a search grows with documents and callers, and what a second process adds. */
export const bench: Bench = {
  hasQuick: true,
  flags: { documents: { type: 'string' }, processes: { type: 'string' } },
  run: async (progress, given, { quick }) => {
    const documents = readCount('documents', given['documents'], quick ? QUICK_DOCUMENTS : DOCUMENTS);
    const processes = readCount('processes', given['processes'], PROCESSES);
    const [turns, ms] = quick ? [QUICK_TURNS, QUICK_MS] : [TURNS, MS];
    const [few, many] = [0, 1].map(() => mkdtempSync(join(tmpdir(), 'scalingnote-bench-')));
    const pairs = new Pairs();
    try {
      for (const [folder, count] of [[few!, FEWEST] as const, [many!, documents] as const]) {
        progress(`storing ${count} documents`);
        await prepare(folder, { documents: count, queries: 1, limit: 10 });
      }
      progress('documents and callers');
      const small = side(await startQueryService(few!, {}), 1);
      const large = side(await startQueryService(many!, {}), 1);
      for (const each of [small, large]) await warmUp(each, BESIDE);
      for (let turn = 0; turn < turns; turn++) {
        for (const callers of CALLERS) {
          const load = `${callers} in flight`;
          const seen = await pairs.measure(load, turn, [large, small], (each) =>
            closedLoop(each, callers, ms),
          );
          if (!seen) continue;
          const [ours, peer] = seen;
          const what = `${documents} documents, ${callers} in flight; peer: ${FEWEST} documents`;
          pairs.add(`CPU of a search: ${what}`, 'µs', ours.cpuMicros, peer.cpuMicros);
          pairs.add(`searches: ${what}`, '/s', ours.perSecond, peer.perSecond);
        }
      }
      await large.service.stop();
      progress(`${processes} processes`);
      const fleet = [small];
      for (let more = 1; more < processes; more++)
        fleet.push(side(await startQueryService(few!, {}), more + 1));
      for (const each of fleet) await warmUp(each, BESIDE);
      for (let turn = 0; turn < turns; turn++) {
        const load = `${BESIDE} in flight of each process`;
        const seen = await pairs.measure(load, turn, [fleet, [small]], async (sides) =>
          together(await Promise.all(sides.map((each) => closedLoop(each, BESIDE, ms)))),
        );
        if (!seen) continue;
        const [all, one] = seen;
        pairs.add(`searches of ${processes} processes; peer: one`, '/s', all.perSecond, one.perSecond);
      }
    } finally {
      await stopServices();
      for (const folder of [few, many]) rmSync(folder!, { recursive: true, force: true });
    }
    return {
      parameters: { documents, fewest: FEWEST, processes, turns, ms },
      comparisons: pairs.comparisons({}),
      notes: [
        'each process has its own port and its own copy of the vectors; a load generator for each of them takes of the same cores',
        ...pairs.notes(),
      ],
    };
  },
};

/** What several servers answered at the same time. */
function together(seen: readonly Seen[]): Pick<Seen, 'perSecond' | 'lost'> {
  const perSecond = seen.reduce((sum, each) => sum + each.perSecond, 0);
  return { perSecond, lost: Math.max(...seen.map(({ lost }) => lost)) };
}

function side(service: Process, seed: number): Side {
  const bodies = distinctTexts(TEXTS, seed).map((query) =>
    framed(Search.requestSerialize({ query, collection: COLLECTION, limit: 10 })),
  );
  return { service, path: Search.path, bodies };
}
