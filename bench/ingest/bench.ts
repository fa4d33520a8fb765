import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readWordNet } from '../../cli/sample/wordnet.ts';
import { startProcess, stopServices } from '../../services/runtime/testing/processes.ts';
import { openTower } from '../../towers/open.ts';
import { Pairs } from '../calls/compare.ts';
import { seeded } from '../load/arrivals.ts';
import { cpuMicros } from '../query-service.ts';
import type { Bench } from '../report.ts';
import { ingestTexts } from './send.ts';

const TOWER = 'all-MiniLM-L6-v2';
const STREAMS = 4;
/** Short ones. Half of them make a long one. */
const DOCUMENTS = 800;
const TURNS = 5;
const QUICK_DOCUMENTS = 200;
const QUICK_TURNS = 3;
/** What is loaded. */
const LOADS = ['short documents', 'one long document beside short ones'] as const;
/** Padding that the goal allows, in percent. */
const MOST_PADDING = 5;
const RATE = `tokens of ${LOADS[0]}`;

/** Documents through the document service, beside the bare model with all texts at hand, sorted by length. */
export const bench: Bench = {
  hasQuick: true,
  run: async (progress, _, { quick }) => {
    const [documents, turns] = quick ? [QUICK_DOCUMENTS, QUICK_TURNS] : [DOCUMENTS, TURNS];
    const folder = mkdtempSync(join(tmpdir(), 'scalingnote-bench-'));
    const pairs = new Pairs();
    // As the service opens it: as many runs at once as are fastest here.
    const tower = await openTower(TOWER, { sessions: 'measured' });
    const runs = { runs: 0, sum: 0 };
    tower.onBatch(({ paddingRatio }) => {
      runs.runs++;
      runs.sum += paddingRatio;
    });
    try {
      const service = await startProcess(new URL('../../services/document/main.js', import.meta.url), [], {
        SCALINGNOTE_DATA: join(folder, 'data'),
        SCALINGNOTE_DOCUMENT_TOWER: TOWER,
        SCALINGNOTE_PORT_DOCUMENT: '0',
        SCALINGNOTE_METRICS_PORT_DOCUMENT: '0',
        OTEL_TRACES_EXPORTER: 'none',
      });
      const glosses = (await readWordNet()).map(({ text }) => text);
      const random = seeded(1);
      const some = (count: number): string[] =>
        Array.from({ length: count }, () => glosses[Math.floor(random() * glosses.length)]!);
      for (let turn = -1; turn < turns; turn++) {
        progress(turn < 0 ? 'warming up' : `turn ${turn + 1} of ${turns}`);
        for (const load of LOADS) {
          const isLong = load !== LOADS[0];
          const texts = isLong ? [some(documents / 2).join(' '), ...some(documents / 2)] : some(documents);
          const passages = (
            await Promise.all(texts.map((text) => tower.passages({ title: '', text })))
          ).flat();
          const tokens = passages.map((passage) => passage.tokens);
          const count = tokens.reduce((sum, { ids }) => sum + ids.length, 0);
          const measure = {
            ours: async () => {
              const paddingBefore = await paddingOf(service.metrics);
              const before = cpuMicros(service.child.pid!) ?? Number.NaN;
              const seconds = await timed(() =>
                ingestTexts(service.address, `c${turn + 1}-${Number(isLong)}`, texts, STREAMS),
              );
              const cpu = (cpuMicros(service.child.pid!) ?? Number.NaN) - before;
              const { runs, sum } = await paddingOf(service.metrics);
              return { seconds, cpu, padding: (sum - paddingBefore.sum) / (runs - paddingBefore.runs) };
            },
            peer: async () => {
              Object.assign(runs, { runs: 0, sum: 0 });
              const before = process.cpuUsage();
              const seconds = await timed(() => tower.encodeAll(tokens));
              const { user, system } = process.cpuUsage(before);
              return { seconds, cpu: user + system, padding: runs.sum / runs.runs };
            },
          };
          // Each side goes first in every other turn.
          const first = turn % 2 === 0 ? await measure.ours() : undefined;
          const peer = await measure.peer();
          const ours = first ?? (await measure.ours());
          if (turn < 0) continue;
          pairs.add(`tokens of ${load}`, '/s', count / ours.seconds, count / peer.seconds);
          pairs.add(`CPU of a token of ${load}`, 'µs', ours.cpu / count, peer.cpu / count);
          pairs.add(`padding of a run of ${load}, against the goal`, '%', 100 * ours.padding, MOST_PADDING);
          pairs.add(
            `padding of a run of ${load}, packed, against the goal`,
            '%',
            100 * peer.padding,
            MOST_PADDING,
          );
        }
      }
    } finally {
      await tower.close();
      await stopServices();
      rmSync(folder, { recursive: true, force: true });
    }
    return {
      parameters: { tower: TOWER, documents, turns, streams: STREAMS },
      comparisons: pairs.comparisons({
        [RATE]: { atLeast: 0.95 },
        ...Object.fromEntries(
          LOADS.map((load) => [`padding of a run of ${load}, against the goal`, { atMost: 1 }]),
        ),
      }),
      notes: [
        'peer: the same model, in as many sessions as the service has, with all passages at hand before it begins, tokenised and sorted by length',
        ...pairs.notes(),
      ],
    };
  },
};

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return (performance.now() - began) / 1000;
}

/** Runs of the model so far, and the sum of the shares of padding in them. */
async function paddingOf(metrics: string): Promise<{ runs: number; sum: number }> {
  const text = await (await fetch(`http://${metrics}/metrics`)).text();
  const line = (suffix: string): number =>
    Number(
      new RegExp(`^scalingnote_batch_padding\\w*_${suffix}(?:\\{[^}]*\\})? (\\S+)`, 'm').exec(text)?.[1] ?? 0,
    );
  return { runs: line('count'), sum: line('sum') };
}
