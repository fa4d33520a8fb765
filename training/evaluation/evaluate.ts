import type { Tokens, Tower } from '../../towers/tower.ts';
import { TrainingError } from '../errors.ts';
import { encodeCached } from '../vectors.ts';
import { bm25 } from './bm25.ts';
import { calibrateSearch, type Calibration } from './calibrate.ts';
import { ratioInterval } from './bootstrap.ts';
import { type Dataset, readDataset } from './dataset.ts';
import { searchExactly, type Vectors } from './exact-search.ts';
import { type Grades, mean, ndcg, recall, reciprocalRank } from './metrics.ts';
import { byIdDescending, type Hit, inTrecOrder, type Ranker } from './ranker.ts';
import { measureSpeed, type Speed } from './speed.ts';

/** How deep a ranking is at the least: as far as Recall@100 looks. */
const DEPTH = 100;

/** What to measure. */
export interface EvaluationRequest {
  /** Folder in BEIR layout. */
  dataset: string;
  documentTower: Tower;
  /** Of the document tower's space. */
  queryTowers: readonly Tower[];
  /** Measured after the query towers, against the same result of the document tower. @default none */
  rankers?: readonly Ranker[];
  /** Whether to time the towers as well, on the data set's queries. @default false */
  speed?: boolean;
  /** Whether to find how widely a graph index has to be searched for each tower's queries. @default false */
  calibrate?: boolean;
  /** nDCG is measured at these ranks as well as at 10. @default none */
  cutoffs?: readonly number[];
  /**
   * Whether a document that carries the query's own id may answer it. BEIR leaves it out: there, it is the query itself.
   * @default false
   */
  keepIdenticalIds?: boolean;
  /** Receives the data set before anything is measured. */
  onDataset?: (dataset: Dataset) => Promise<void>;
  /** Receives what each system answered, as soon as it is known. */
  onAnswers?: (system: string, answers: readonly Answer[]) => Promise<void>;
  /** Where document vectors are kept between runs. @default where towers are kept */
  cacheDir?: string;
  onProgress?: (done: number, total: number) => void;
}

/** Measures of one query, or their means over the queries. */
export interface Measures {
  ndcg10: number;
  mrr10: number;
  recall50: number;
  recall100: number;
  /** nDCG at other ranks, where it was asked for: by rank. */
  ndcg?: Record<string, number>;
}

/** What a system answered to a query. */
export interface Answer {
  query: string;
  /** In trec_eval's order. */
  hits: readonly Hit[];
  measures: Measures;
}

/** Measures of one query tower, means over the queries. */
export interface QueryTowerResult extends Measures {
  queryTower: string;
  /** What it keeps of the document tower's own result. */
  retention: {
    ndcg10: number;
    recall50: number;
    /** 95 %, of `ndcg10`, by paired bootstrap over queries. */
    interval: [low: number, high: number];
    /** 95 %, of `recall50`. */
    recall50Interval: [low: number, high: number];
  };
  /** Compared with the document tower's, where it was measured. */
  speed?: Speed;
  /** Where it was asked for. */
  calibration?: Calibration;
}

/** Measures of all query towers on one data set. */
export interface Evaluation {
  dataset: string;
  documents: number;
  queries: number;
  /** How many queries have the id of a document, which was left out of their answers. */
  identicalIds: number;
  documentTower: string;
  /** The document tower itself first, reading queries with its query prompt; BM25 last. */
  results: QueryTowerResult[];
}

/**
 * Measures query towers against a document tower: documents become passages as the document service makes them, the
 * search is exact, and a document counts by its best passage. Measures follow BEIR and trec_eval: ties are broken by id,
 * queries that have only judgments of 0 count as 0, and a document with the query's own id is left out.
 *
 * @throws {TrainingError} `DATASET_INVALID`, `SPACE_MISMATCH`
 */
export async function evaluate(request: EvaluationRequest): Promise<Evaluation> {
  const { documentTower, queryTowers, cacheDir } = request;
  const { manifest } = documentTower;
  for (const { manifest: student } of queryTowers) {
    if (student.space.fingerprint !== manifest.space.fingerprint) {
      throw new TrainingError(
        'SPACE_MISMATCH',
        `query tower ${student.name} is of space ${student.space.fingerprint}, but document tower ${manifest.name} ` +
          `makes vectors of space ${manifest.space.fingerprint}; distil a query tower from this document tower`,
      );
    }
  }
  const dataset = await readDataset(request.dataset);
  await request.onDataset?.(dataset);
  const { documents, queries } = dataset;
  // Searches that break ties by the order of documents then break them as trec_eval does.
  const ordered = documents.toSorted(byIdDescending);
  const places = new Map(ordered.map(({ id }, place) => [id, place]));
  const owners: number[] = [];
  const inputs: Tokens[] = [];
  for (const document of documents) {
    if (document.title.trim() === '' && document.text.trim() === '') continue;
    for await (const { tokens } of documentTower.eachPassage(document)) {
      owners.push(places.get(document.id)!);
      inputs.push(tokens);
    }
  }
  const { dimensions } = manifest;
  const data = await encodeCached(documentTower, inputs, { cacheDir, onProgress: request.onProgress });
  const passages = { data, dimensions };

  const { cutoffs = [], keepIdenticalIds = false } = request;
  const depth = Math.max(DEPTH, ...cutoffs);
  const isOwn = (query: string, document: string): boolean => !keepIdenticalIds && query === document;
  /** @param find - finds a query's documents by its index. It is asked for one more, since one may be left out. */
  const judge = async (
    system: string,
    find: (query: number, limit: number) => readonly Hit[] | Promise<readonly Hit[]>,
  ): Promise<Measures[]> => {
    const answers: Answer[] = [];
    for (const [index, { id }] of queries.entries()) {
      const found = inTrecOrder(await find(index, depth + 1)).filter((hit) => !isOwn(id, hit.id));
      const hits = found.slice(0, depth);
      answers.push({ query: id, hits, measures: measure(hits, dataset.judgments.get(id)!, cutoffs) });
    }
    await request.onAnswers?.(system, answers);
    return answers.map(({ measures }) => measures);
  };
  const asked: Vectors[] = [];
  const judgeTower = async (tower: Tower, prompt: string | undefined): Promise<Measures[]> => {
    const texts = queries.map(({ text }) => text);
    const tokens = await tower.tokenizeAll(texts, prompt === undefined ? {} : { prompt });
    const vectors = { data: await tower.encodeAll(tokens), dimensions };
    asked.push(vectors);
    const nearest = searchExactly(vectors, passages, owners, depth + 1);
    return judge(tower.manifest.name, (query) =>
      nearest[query]!.map(({ document, score }) => ({ id: ordered[document]!.id, score })),
    );
  };
  const teacher = await judgeTower(documentTower, manifest.queryPrompt);
  const results = [compare(manifest.name, teacher, teacher)];
  for (const student of queryTowers) {
    results.push(compare(student.manifest.name, await judgeTower(student, undefined), teacher));
  }
  if (request.calibrate === true) {
    const calibrations = await calibrateSearch(passages, asked);
    for (const [index, calibration] of calibrations.entries()) results[index]!.calibration = calibration;
  }
  if (request.speed === true) {
    const timed = [
      { tower: documentTower, prompt: manifest.queryPrompt },
      ...queryTowers.map((tower) => ({ tower })),
    ];
    const speeds = await measureSpeed(
      timed,
      queries.map(({ text }) => text),
    );
    for (const [index, speed] of speeds.entries()) results[index]!.speed = speed;
  }
  for (const { name, rank } of [...(request.rankers ?? []), bm25(ordered)]) {
    const measures = await judge(name, (query, limit) => rank(queries[query]!.text, limit));
    results.push(compare(name, measures, teacher));
  }
  return {
    dataset: dataset.name,
    documents: documents.length,
    queries: queries.length,
    identicalIds: queries.filter(({ id }) => places.has(id) && isOwn(id, id)).length,
    documentTower: manifest.name,
    results,
  };
}

/** Measures of one query. */
function measure(hits: readonly Hit[], grades: Grades, cutoffs: readonly number[]): Measures {
  const ranking = hits.map(({ id }) => id);
  return {
    ndcg10: ndcg(ranking, grades, 10),
    mrr10: reciprocalRank(ranking, grades, 10),
    recall50: recall(ranking, grades, 50),
    recall100: recall(ranking, grades, 100),
    ...(cutoffs.length > 0 && {
      ndcg: Object.fromEntries(cutoffs.map((cutoff) => [cutoff, ndcg(ranking, grades, cutoff)])),
    }),
  };
}

/** A system's means over the queries, and what it keeps of the teacher's. */
function compare(
  queryTower: string,
  measures: readonly Measures[],
  teacher: readonly Measures[],
): QueryTowerResult {
  const over = (value: (measures: Measures) => number): number => mean(measures.map(value));
  const kept = (key: 'ndcg10' | 'recall50'): { share: number; interval: [low: number, high: number] } => {
    const [own, whole] = [measures, teacher].map((each) => each.map((one) => one[key]));
    return {
      share: mean(whole!) === 0 ? 0 : mean(own!) / mean(whole!),
      interval: ratioInterval(own!, whole!),
    };
  };
  const [ndcg10, recall50] = [kept('ndcg10'), kept('recall50')];
  const cutoffs = Object.keys(teacher[0]!.ndcg ?? {});
  return {
    queryTower,
    ndcg10: over((one) => one.ndcg10),
    mrr10: over((one) => one.mrr10),
    recall50: over((one) => one.recall50),
    recall100: over((one) => one.recall100),
    ...(cutoffs.length > 0 && {
      ndcg: Object.fromEntries(cutoffs.map((cutoff) => [cutoff, over((one) => one.ndcg![cutoff]!)])),
    }),
    retention: {
      ndcg10: ndcg10.share,
      recall50: recall50.share,
      interval: ndcg10.interval,
      recall50Interval: recall50.interval,
    },
  };
}
