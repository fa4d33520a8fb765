import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { measure, textsOf } from '../../cli/plan/measure.ts';
import { planOf } from '../../cli/plan/plan.ts';
import { readWordNet } from '../../cli/sample/wordnet.ts';
import { startProcess, stopServices, type Process } from '../../services/runtime/testing/processes.ts';
import { openStore } from '../../store/open.ts';
import { openTower } from '../../towers/open.ts';
import type { Tower } from '../../towers/tower.ts';
import { Pairs } from '../calls/compare.ts';
import { ingestTexts } from '../ingest/send.ts';
import { COLLECTION, distinctTexts, prepare, startQueryService } from '../query-service.ts';
import type { Bench } from '../report.ts';

const DOCUMENT_TOWER = 'all-MiniLM-L6-v2';
const QUERY_TOWER = 'all-MiniLM-L6-v2-lookup';
/** Of a document that is ingested. */
const TOKENS = 200;
const STREAMS = 4;
const SEARCHES = 500;
const LIMIT = 10;
/** Documents of the store beside which a larger one is weighed. */
const FEW = 1000;
const NODE = { memoryGb: 64 };

/** What `scalingnote plan` predicts by rates of this machine, beside small runs of the same. */
export const bench: Bench = {
  hasQuick: true,
  run: async (progress, _, { quick }) => {
    const [ingested, stored, turns, starts] = quick ? [24, 14_047, 3, 1] : [300, 100_000, 6, 3];
    const [few, many] = [0, 1].map(() => mkdtempSync(join(tmpdir(), 'scalingnote-bench-')));
    const pairs = new Pairs();
    const { signal } = new AbortController();
    let vectorMb = 0;
    const documentTower = await openTower(DOCUMENT_TOWER);
    const queryTower = await openTower(QUERY_TOWER);
    try {
      progress(`storing ${stored} documents`);
      await prepare(few!, { documents: FEW, queries: 1, limit: LIMIT });
      await prepare(many!, { documents: stored, queries: 1, limit: LIMIT });
      const glosses = (await readWordNet()).map(({ text }) => text);
      const service = await startProcess(new URL('../../services/document/main.js', import.meta.url), [], {
        SCALINGNOTE_DATA: join(few!, 'ingested'),
        SCALINGNOTE_DOCUMENT_TOWER: DOCUMENT_TOWER,
        SCALINGNOTE_PORT_DOCUMENT: '0',
        SCALINGNOTE_METRICS_PORT_DOCUMENT: '0',
        OTEL_SDK_DISABLED: 'true',
      });
      const texts = await textsOf(documentTower, glosses, TOKENS, ingested * TOKENS);
      for (let turn = 0; turn < turns; turn++) {
        progress(`turn ${turn + 1} of ${turns}`);
        const measured = await measure(documentTower, queryTower, TOKENS, signal);
        const predicted = (documents: number) =>
          planOf({ documents, tokens: TOKENS, qps: 1000 }, measured, NODE);
        const began = performance.now();
        await ingestTexts(service.address, `turn-${turn}`, texts, STREAMS);
        const seconds = (performance.now() - began) / 1000;
        const { encodeHours } = predicted(texts.length);
        pairs.add(`ingest of ${texts.length} documents`, 's', 3600 * encodeHours.middle, seconds);
        // A thousand searches a second take as many cores as one takes milliseconds.
        const { queryCores, embedded } = predicted(stored);
        const millis = await searchMillis(many!, queryTower, turn);
        const what = `CPU of a search of ${stored} documents, without the call`;
        pairs.add(what, 'ms', queryCores.middle + embedded!.scanCores.middle, millis);
        vectorMb = 1000 * (embedded!.memoryGb - predicted(FEW).embedded!.memoryGb);
      }
      await service.stop();
      for (let start = 0; start < starts; start++) {
        progress(`memory, start ${start + 1} of ${starts}`);
        const [without, whole] = [await restingMb(few!), await restingMb(many!)];
        pairs.add(`memory of ${stored - FEW} documents more`, 'MB', vectorMb, whole - without);
      }
    } finally {
      await Promise.all([documentTower.close(), queryTower.close()]);
      await stopServices();
      for (const folder of [few, many]) rmSync(folder!, { recursive: true, force: true });
    }
    return {
      parameters: { documentTower: DOCUMENT_TOWER, queryTower: QUERY_TOWER, tokens: TOKENS, turns, starts },
      comparisons: pairs.comparisons({}),
      notes: [
        '"ours" is what the plan says by rates that were measured right before, "peer" what then really took place',
        'memory: the plan has the vectors alone; texts, terms and metadata of glosses come on top',
        ...pairs.notes(),
      ],
    };
  },
};

/** Processor time of a query's encoding and of the search in the store, in this process. */
async function searchMillis(directory: string, tower: Tower, seed: number): Promise<number> {
  const store = await openStore({ kind: 'embedded', directory });
  const { fingerprint, dimensions } = tower.manifest.space;
  const { physicalName } = await store.ensureCollection(COLLECTION, { fingerprint, dimensions });
  const search = async (text: string): Promise<unknown> => {
    const { vector } = tower.encodeNow?.(text)?.encoding ?? (await tower.encode(await tower.tokenize(text)));
    return store.search(physicalName, { tenant: '', vector, limit: LIMIT });
  };
  const texts = distinctTexts(2 * SEARCHES, seed);
  for (const text of texts.slice(0, SEARCHES)) await search(text);
  const before = process.cpuUsage();
  for (const text of texts.slice(SEARCHES)) await search(text);
  const { user, system } = process.cpuUsage(before);
  await store.close();
  return (user + system) / 1000 / SEARCHES;
}

/** Memory of a query service that does nothing. */
async function restingMb(directory: string): Promise<number> {
  const service: Process = await startQueryService(directory, { OTEL_SDK_DISABLED: 'true' });
  await sleep(1000);
  const status = readFileSync(`/proc/${service.child.pid!}/status`, 'utf8');
  await service.stop();
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1000;
}
