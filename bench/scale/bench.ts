import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { v1 } from '../../proto/load.ts';
import { type Process, stopServices } from '../../services/runtime/testing/processes.ts';
import { Pairs } from '../calls/compare.ts';
import { closedLoop, type Side, warmUp } from '../calls/sides.ts';
import { readCount } from '../flags.ts';
import { framed } from '../load/messages.ts';
import { childrenOf, COLLECTION, distinctTexts, prepare, startQueryService } from '../query-service.ts';
import { type Bench, median } from '../report.ts';

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

/** Of the kernel on every machine that Node runs on. */
const PAGE_MIB = 4 / 1024;

const { Search, Encode } = v1.QueryService.service;

const ENCODES = {
  path: Encode.path,
  bodies: distinctTexts(TEXTS, 2).map((text) => framed(Encode.requestSerialize({ texts: [text] }))),
};

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
    const generator: number[] = [];
    const memory: [what: string, mib: number][] = [];
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
      await small.service.stop();
      progress(`${processes} processes`);
      const spread = { connections: 2 * processes };
      const one = { ...side(await startQueryService(few!, {}), 1), ...spread };
      const all = {
        ...side(await startQueryService(few!, { SCALINGNOTE_QUERY_PROCESSES: String(processes) }), 1),
        ...spread,
      };
      memory.push(['one process', rssMib(one.service)], [`${processes} processes`, rssMib(all.service)]);
      for (const what of ['Search', 'Encode'] as const) {
        const [ours, peer] = [all, one].map((each) => (what === 'Search' ? each : { ...each, ...ENCODES }));
        for (const each of [ours!, peer!]) await warmUp(each, BESIDE * processes);
        for (let turn = 0; turn < turns; turn++) {
          const load = `${what}, ${BESIDE * processes} in flight over ${spread.connections} connections`;
          const seen = await pairs.measure(load, turn, [ours!, peer!], (each) =>
            closedLoop(each, BESIDE * processes, ms),
          );
          if (!seen) continue;
          const [more, less] = seen;
          generator.push(more.generatorCores);
          pairs.add(`${load}: ${processes} processes; peer: one`, '/s', more.perSecond, less.perSecond);
          pairs.add(
            `CPU of the service a call: ${load}; peer: one process`,
            'µs',
            more.cpuMicros,
            less.cpuMicros,
          );
        }
      }
    } finally {
      await stopServices();
      for (const folder of [few, many]) rmSync(folder!, { recursive: true, force: true });
    }
    return {
      parameters: { documents, fewest: FEWEST, processes, turns, ms },
      comparisons: pairs.comparisons({}),
      notes: [
        `one load generator, which took ${median(generator).toFixed(2)} of the ${cpus().length} cores: the goal is ${goalRatio(processes, generator).toFixed(2)}`,
        ...memory.map(
          ([what, mib]) => `memory (RSS) of the service before the load, ${what}: ${mib.toFixed(0)} MiB`,
        ),
        ...pairs.notes(),
      ],
    };
  },
};

/** 0.85 of what the cores leave that the generator does not take. */
function goalRatio(processes: number, generator: readonly number[]): number {
  return 0.85 * (Math.min(processes, cpus().length) - median(generator));
}

/** Of all its processes. */
function rssMib({ child }: Process): number {
  const of = (pid: number): number => {
    const pages = Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]);
    return pages * PAGE_MIB + childrenOf(pid).reduce((sum, each) => sum + of(each), 0);
  };
  return existsSync(`/proc/${child.pid}/statm`) ? of(child.pid!) : Number.NaN;
}

function side(service: Process, seed: number): Side {
  const bodies = distinctTexts(TEXTS, seed).map((query) =>
    framed(Search.requestSerialize({ query, collection: COLLECTION, limit: 10 })),
  );
  return { service, path: Search.path, bodies };
}
