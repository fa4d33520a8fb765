import { type Fusion, fuse } from '../../store/fusion.ts';
import type { Tower } from '../../towers/tower.ts';
import { bm25 } from '../../training/evaluation/bm25.ts';
import { differenceInterval, meanDifferenceInterval } from '../../training/evaluation/bootstrap.ts';
import { type Dataset, readDataset } from '../../training/evaluation/dataset.ts';
import { mean, ndcg, recall, reciprocalRank } from '../../training/evaluation/metrics.ts';
import { byIdDescending, type Hit, inTrecOrder } from '../../training/evaluation/ranker.ts';
import { type BothLegs, legsOf } from './legs.ts';
import { type Tuned, tune } from './tune.ts';

/** What can be compared. */
export const MODES = ['dense', 'sparse', 'hybrid'] as const;
export type EvaluatedMode = (typeof MODES)[number];

/** The yardstick: whole documents, as Lucene counts. */
const YARDSTICK = 'BM25';

/** How deep rankings are: as far as Recall@100 looks, and one more, since a document with the query's own id is left out. */
const DEPTH = 101;

/** Measures of one mode on one data set: means over the queries. */
export interface ModeMeasures {
  mode: string;
  ndcg10: number;
  mrr10: number;
  recall100: number;
}

/** How one mode stands to another over the same queries. */
export interface ModeDifference {
  of: string;
  over: string;
  /** Difference of the means of nDCG@10. */
  ndcg10: number;
  /** 95 %, by paired bootstrap over queries. */
  interval: [low: number, high: number];
  /** Queries on which the first has the higher nDCG@10, the lower, and the same. */
  wins: number;
  losses: number;
  ties: number;
}

/** The modes on one data set. */
export interface ModesEvaluation {
  dataset: string;
  documents: number;
  queries: number;
  documentTower: string;
  queryTower: string;
  fusion: Fusion;
  /** In the order asked for; BM25 of whole documents last. */
  modes: ModeMeasures[];
  differences: ModeDifference[];
  /** The best fusion for this data set, where it was looked for. */
  tuned?: Tuned;
}

/** What to compare. */
export interface ModesRequest {
  /** Folder in BEIR layout. */
  dataset: string;
  documentTower: Tower;
  queryTower: Tower;
  modes: readonly EvaluatedMode[];
  fusion: Fusion;
  /** Look for the best fusion, too. */
  tune: boolean;
  keepIdenticalIds: boolean;
  cacheDir?: string;
  onProgress?: (done: number, total: number) => void;
}

/** nDCG@10 of each query, by mode. */
export type PerQuery = ReadonlyMap<string, readonly number[]>;

/** Compares modes of search on a data set. */
export async function evaluateModes(
  request: ModesRequest,
): Promise<{ evaluation: ModesEvaluation; perQuery: PerQuery }> {
  const { documentTower, queryTower, modes, fusion, cacheDir, onProgress } = request;
  const dataset = await readDataset(request.dataset);
  const { legs } = await legsOf({ dataset, documentTower, queryTower, depth: DEPTH, cacheDir, onProgress });
  const judge = judgeOf(dataset, request.keepIdenticalIds);
  const found = new Map<string, Judged[]>();
  for (const mode of modes) {
    found.set(
      mode,
      legs.map((both, query) => judge(query, rankingOf(mode, both, fusion))),
    );
  }
  const { rank } = bm25(dataset.documents.toSorted(byIdDescending));
  const yardstick: Judged[] = [];
  for (const [query, { text }] of dataset.queries.entries()) {
    yardstick.push(judge(query, await rank(text, DEPTH)));
  }
  found.set(YARDSTICK, yardstick);
  const perQuery = new Map(Array.from(found, ([mode, all]) => [mode, all.map(({ ndcg10 }) => ndcg10)]));
  const tuned = request.tune
    ? tune(legs, fusion, (query, hits) => judge(query, hits.map(toHit)).ndcg10)
    : undefined;
  const evaluation: ModesEvaluation = {
    dataset: dataset.name,
    documents: dataset.documents.length,
    queries: dataset.queries.length,
    documentTower: documentTower.manifest.name,
    queryTower: queryTower.manifest.name,
    fusion,
    modes: Array.from(found, ([mode, all]) => ({
      mode,
      ndcg10: mean(all.map(({ ndcg10 }) => ndcg10)),
      mrr10: mean(all.map(({ mrr10 }) => mrr10)),
      recall100: mean(all.map(({ recall100 }) => recall100)),
    })),
    differences: differencesOf(perQuery),
    ...(tuned && { tuned }),
  };
  return { evaluation, perQuery };
}

interface Judged {
  ndcg10: number;
  mrr10: number;
  recall100: number;
}

function judgeOf({ queries, judgments }: Dataset, keepIdenticalIds: boolean) {
  return (query: number, hits: readonly Hit[]): Judged => {
    const { id } = queries[query]!;
    const grades = judgments.get(id)!;
    const ranking = inTrecOrder(hits)
      .map((hit) => hit.id)
      .filter((document) => keepIdenticalIds || document !== id);
    return {
      ndcg10: ndcg(ranking, grades, 10),
      mrr10: reciprocalRank(ranking, grades, 10),
      recall100: recall(ranking, grades, 100),
    };
  };
}

function rankingOf(mode: EvaluatedMode, { dense, sparse }: BothLegs, fusion: Fusion): Hit[] {
  const hits = mode === 'hybrid' ? fuse(dense, sparse, fusion) : mode === 'dense' ? dense : sparse;
  return hits.map(toHit);
}

function toHit({ documentId: id, score }: { documentId: string; score: number }): Hit {
  return { id, score };
}

/** Every pair of systems, the later one over the earlier one: hybrid over what it is made of. */
function differencesOf(perQuery: PerQuery): ModeDifference[] {
  const systems = [...perQuery.keys()].sort((a, b) => placeOf(b) - placeOf(a));
  return systems.flatMap((of, index) =>
    systems.slice(index + 1).map((over) => differenceOf(of, over, perQuery)),
  );
}

/** Hybrid first, and the yardstick last. */
function placeOf(system: string): number {
  return MODES.findIndex((mode) => mode === system);
}

function differenceOf(of: string, over: string, perQuery: PerQuery): ModeDifference {
  const [values, baseline] = [perQuery.get(of)!, perQuery.get(over)!];
  const differences = values.map((value, query) => value - baseline[query]!);
  return {
    of,
    over,
    ndcg10: mean(differences),
    interval: differenceInterval(values, baseline),
    wins: differences.filter((one) => one > 0).length,
    losses: differences.filter((one) => one < 0).length,
    ties: differences.filter((one) => one === 0).length,
  };
}

/** Hybrid over the better of dense and BM25, over several data sets. */
export interface HybridGain {
  /** By data set: hybrid minus the better of the two. */
  each: Record<string, number>;
  /** Their mean, each set counting the same. */
  mean: number;
  /** 95 %: queries are drawn within each set. */
  interval: [low: number, high: number];
}

/** `undefined` where no set has all three. */
export function hybridGain(
  evaluations: readonly { evaluation: ModesEvaluation; perQuery: PerQuery }[],
): HybridGain | undefined {
  const sets = evaluations.flatMap(({ evaluation, perQuery }) => {
    const values = perQuery.get('hybrid');
    const dense = perQuery.get('dense');
    const wording = perQuery.get(YARDSTICK);
    if (!values || !dense || !wording) return [];
    const baseline = mean(dense) >= mean(wording) ? dense : wording;
    return [{ name: evaluation.dataset, values, baseline }];
  });
  if (sets.length === 0) return undefined;
  const each = sets.map(({ values, baseline }) => mean(values) - mean(baseline));
  return {
    each: Object.fromEntries(sets.map(({ name }, index) => [name, each[index]!])),
    mean: mean(each),
    interval: meanDifferenceInterval(sets),
  };
}
