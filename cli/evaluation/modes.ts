import { type Fusion, fuse, fusionOf } from '../../store/fusion.ts';
import type { SearchHit } from '../../store/queries.ts';
import { rerankedText, type Reranker } from '../../towers/reranker/reranker.ts';
import type { Tower } from '../../towers/tower.ts';
import { bm25, type Terms } from '../../training/evaluation/bm25.ts';
import { differenceInterval, meanDifferenceInterval } from '../../training/evaluation/bootstrap.ts';
import { type Dataset, readDataset } from '../../training/evaluation/dataset.ts';
import { mean, ndcg, recall, reciprocalRank } from '../../training/evaluation/metrics.ts';
import { byIdDescending, type Hit, inTrecOrder } from '../../training/evaluation/ranker.ts';
import { type BothLegs, type DatasetLegs, legsOf } from './legs.ts';
import { type Tuned, tune, type TunedBy, tuneByTitles } from './tune.ts';

/** What can be compared. */
export const MODES = ['dense', 'sparse', 'hybrid', 'rerank'] as const;
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
  /** The lexical leg over BM25 of the same terms in whole documents, as Lucene counts; where sparse was asked for. */
  lexical?: { bm25: number } & Pick<ModeDifference, 'ndcg10' | 'interval'>;
  /** What read the best documents again, and how many, where something did. */
  rerank?: { reranker: string; documents: number };
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
  tune?: TunedBy | undefined;
  /** Reads the best documents of hybrid again; for the mode `rerank`. */
  rerank?: { reranker: Reranker; documents: number } | undefined;
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
  const { legs, terms, passageOf, titles } = await legsOf({
    dataset,
    documentTower,
    queryTower,
    depth: DEPTH,
    titles: request.tune === 'titles',
    cacheDir,
    onProgress,
  });
  const judge = judgeOf(dataset, request.keepIdenticalIds);
  const found = new Map<string, Judged[]>();
  for (const mode of modes) {
    if (mode === 'rerank') continue;
    found.set(
      mode,
      legs.map((both, query) => judge(query, rankingOf(mode, both, fusion))),
    );
  }
  const { rerank } = request;
  if (rerank && modes.includes('rerank')) {
    const judged: Judged[] = [];
    for (const [query, both] of legs.entries()) {
      const hits = fuse(both.dense, both.sparse, fusionOf(fusion, both.words));
      judged.push(judge(query, await reranked(dataset, query, hits, { ...rerank, passageOf })));
    }
    found.set('rerank', judged);
  }
  const ranked = async (by: Terms | undefined): Promise<Judged[]> => {
    const { rank } = bm25(dataset.documents.toSorted(byIdDescending), by);
    const judged: Judged[] = [];
    for (const [query, { text }] of dataset.queries.entries()) {
      judged.push(judge(query, await rank(text, DEPTH)));
    }
    return judged;
  };
  const ndcgOf = (judged: readonly Judged[]): number[] => judged.map(({ ndcg10 }) => ndcg10);
  found.set(YARDSTICK, await ranked(undefined));
  const sparse = found.get('sparse');
  const lexical = sparse && lexicalOf(ndcgOf(sparse), ndcgOf(await ranked(terms)));
  const perQuery = new Map(Array.from(found, ([mode, all]) => [mode, ndcgOf(all)]));
  const measure = (query: number, hits: ReturnType<typeof fuse>): number =>
    judge(query, hits.map(toHit)).ndcg10;
  const byTitles = titles && tuneByTitles(titles, legs, fusion, measure);
  const tuned = request.tune === 'labels' ? tune(legs, fusion, measure) : byTitles;
  const evaluation: ModesEvaluation = {
    dataset: dataset.name,
    documents: dataset.documents.length,
    queries: dataset.queries.length,
    documentTower: documentTower.manifest.name,
    queryTower: queryTower.manifest.name,
    fusion,
    ...(lexical && { lexical }),
    ...(rerank && { rerank: { reranker: rerank.reranker.name, documents: rerank.documents } }),
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

/** The best documents of a ranking in the reranker's order, and the others after them: as the query service does it. */
async function reranked(
  { queries, documents }: Dataset,
  query: number,
  hits: ReturnType<typeof fuse<SearchHit>>,
  {
    reranker,
    documents: most,
    passageOf,
  }: NonNullable<ModesRequest['rerank']> & Pick<DatasetLegs, 'passageOf'>,
): Promise<Hit[]> {
  const best = hits.slice(0, most);
  const titles = new Map(documents.map(({ id, title }) => [id, title]));
  const texts = best.map(({ documentId, passage }) =>
    rerankedText(titles.get(documentId)!, passageOf(documentId, passage)),
  );
  const scores = await reranker.score(queries[query]!.text, texts, new AbortController().signal);
  const order = [...best.keys()].sort((a, b) => scores[b]! - scores[a]! || a - b);
  const ranking = [...order.map((place) => best[place]!), ...hits.slice(most)];
  // Scores of two scales do not go together: what counts is the order.
  return ranking.map(({ documentId: id }, place) => ({ id, score: -place }));
}

function rankingOf(
  mode: Exclude<EvaluatedMode, 'rerank'>,
  { dense, sparse, words }: BothLegs,
  fusion: Fusion,
): Hit[] {
  const hits =
    mode === 'hybrid' ? fuse(dense, sparse, fusionOf(fusion, words)) : mode === 'dense' ? dense : sparse;
  return hits.map(toHit);
}

function toHit({ documentId: id, score }: { documentId: string; score: number }): Hit {
  return { id, score };
}

function lexicalOf(
  values: readonly number[],
  baseline: readonly number[],
): ModesEvaluation['lexical'] & object {
  return {
    bm25: mean(baseline),
    ndcg10: mean(values) - mean(baseline),
    interval: differenceInterval(values, baseline),
  };
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
