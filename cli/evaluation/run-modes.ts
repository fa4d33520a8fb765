import { resolve } from 'node:path';
import { DEFAULT_FUSION, type Fusion } from '../../store/fusion.ts';
import { openTower } from '../../towers/open.ts';
import { openReranker } from '../../towers/reranker/reranker.ts';
import type { Tower } from '../../towers/tower.ts';
import { note, printJson, table, UsageError } from '../output/print.ts';
import { Progress } from '../output/progress.ts';
import {
  type EvaluatedMode,
  evaluateModes,
  type HybridGain,
  hybridGain,
  type ModesEvaluation,
} from './modes.ts';
import type { TunedBy } from './tune.ts';

/** Documents of a ranking that a reranker reads where nobody says how many. */
const DEFAULT_RERANKED = 20;

/** What `eval --mode` is given. */
export interface ModesFlags {
  dataset: readonly string[];
  documentTower: string;
  queryTower: readonly string[];
  mode: readonly EvaluatedMode[];
  tune?: TunedBy;
  fusion?: Fusion['method'];
  denseWeight?: number;
  reranker?: string;
  rerank?: number;
  keepIdenticalIds?: boolean;
  json?: boolean;
}

/** `scalingnote eval --mode`: what each mode of search finds. */
export async function runModes(flags: ModesFlags): Promise<void> {
  const { queryTower: queryTowers, denseWeight, fusion: method } = flags;
  if (queryTowers.length > 1) {
    throw new UsageError('--query-tower is given more than once; --mode compares the modes of one tower');
  }
  if (denseWeight !== undefined && !(denseWeight >= 0 && denseWeight <= 1)) {
    throw new UsageError(`--dense-weight is ${denseWeight}; give 0 to 1`);
  }
  if (flags.tune !== undefined && !flags.mode.includes('hybrid')) {
    throw new UsageError('--tune looks for the best fusion of a hybrid search; add hybrid to --mode');
  }
  if (flags.mode.includes('rerank') !== (flags.reranker !== undefined)) {
    throw new UsageError('the mode rerank and --reranker belong together; give both, or neither');
  }
  if (flags.rerank !== undefined && flags.reranker === undefined) {
    throw new UsageError('--rerank says how many documents a reranker reads; give --reranker, too');
  }
  const fusion = {
    ...DEFAULT_FUSION,
    ...(method !== undefined && { method }),
    ...(denseWeight !== undefined && { denseWeight }),
  };
  const opened: Pick<Tower, 'close'>[] = [];
  try {
    const open = async (reference: string): Promise<Tower> => {
      const tower = await openTower(reference, { log: note });
      opened.push(tower);
      return tower;
    };
    const documentTower = await open(flags.documentTower);
    const queryTower = queryTowers[0] === undefined ? documentTower : await open(queryTowers[0]);
    const reranker =
      flags.reranker === undefined ? undefined : await openReranker(flags.reranker, { log: note });
    if (reranker) opened.push(reranker);
    const found: Awaited<ReturnType<typeof evaluateModes>>[] = [];
    for (const dataset of flags.dataset) {
      const progress = new Progress('encoding documents', 'passages');
      found.push(
        await evaluateModes({
          dataset: resolve(dataset),
          documentTower,
          queryTower,
          modes: flags.mode,
          fusion,
          tune: flags.tune,
          rerank: reranker && { reranker, documents: flags.rerank ?? DEFAULT_RERANKED },
          keepIdenticalIds: flags.keepIdenticalIds === true,
          onProgress: (done, total) => progress.update(done, total),
        }),
      );
    }
    const evaluations = found.map(({ evaluation }) => evaluation);
    const gain = hybridGain(found);
    if (flags.json === true) printJson({ evaluations, ...(gain && { hybridGain: gain }) });
    else process.stdout.write(`${[...evaluations.map(render), ...renderGain(gain)].join('\n\n')}\n`);
  } finally {
    await Promise.all(opened.map((tower) => tower.close()));
  }
}

function render({
  dataset,
  documents,
  queries,
  queryTower,
  modes,
  differences,
  lexical,
  tuned,
}: ModesEvaluation): string {
  const measures = modes.map(({ mode, ndcg10, mrr10, recall100 }) => [
    mode,
    ndcg10.toFixed(4),
    mrr10.toFixed(4),
    recall100.toFixed(4),
  ]);
  const pairs = differences.map(({ of, over, ndcg10, interval: [low, high], wins, losses, ties }) => [
    `${of} over ${over}`,
    signed(ndcg10),
    `${signed(low)} to ${signed(high)}`,
    `${wins} / ${losses} / ${ties}`,
  ]);
  const parts = [
    `${dataset}: ${documents} documents, ${queries} queries, ${queryTower}`,
    table(['mode', 'nDCG@10', 'MRR@10', 'Recall@100'], measures),
    table(['difference', 'nDCG@10', '95 %', 'wins / losses / ties'], pairs),
  ];
  if (lexical) {
    const { bm25, ndcg10, interval } = lexical;
    parts.push(
      `BM25 of the same terms in whole documents: ${bm25.toFixed(4)}; sparse over it: ${signed(ndcg10)} ` +
        `(${signed(interval[0])} to ${signed(interval[1])})`,
    );
  }
  if (tuned) {
    const { by, fusion, development, test } = tuned;
    const queries = by === 'titles' ? 'titles' : 'queries';
    const others = by === 'titles' ? 'labelled queries' : 'others';
    parts.push(
      `tuned on ${development.queries} ${queries}: --fusion COLLECTION=${fusion.method}:${fusion.denseWeight}` +
        `${fusion.method === 'ranks' ? `:${fusion.k}` : ''} of the query service; on the ${test.queries} ${others} it has nDCG@10 ` +
        `${test.ndcg10.toFixed(4)}, where the given fusion has ${test.before.toFixed(4)}`,
    );
  }
  return parts.join('\n');
}

function renderGain(gain: HybridGain | undefined): string[] {
  if (!gain) return [];
  const [low, high] = gain.interval;
  return [
    `hybrid over the better of dense and BM25, mean of ${Object.keys(gain.each).length}: ${signed(gain.mean)} ` +
      `(${signed(low)} to ${signed(high)})`,
  ];
}

function signed(value: number): string {
  return `${value < 0 ? '' : '+'}${value.toFixed(4)}`;
}
