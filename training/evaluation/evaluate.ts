import type { Tokens, Tower } from '../../towers/tower.ts';
import { TrainingError } from '../errors.ts';
import { encodeCached } from '../vectors.ts';
import { bm25 } from './bm25.ts';
import { calibrateSearch, type Calibration } from './calibrate.ts';
import { ratioInterval } from './bootstrap.ts';
import { readDataset } from './dataset.ts';
import { type Grades, mean, ndcg, recall, reciprocalRank } from './metrics.ts';
import type { Ranker } from './ranker.ts';
import { searchExactly, type Vectors } from './search.ts';
import { measureSpeed, type Speed } from './speed.ts';

/** How deep a ranking is: as far as Recall@100 looks. */
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
  /** Where document vectors are kept between runs. @default where towers are kept */
  cacheDir?: string;
  onProgress?: (done: number, total: number) => void;
}

/** Measures of one query tower, means over the queries. */
export interface QueryTowerResult {
  queryTower: string;
  ndcg10: number;
  mrr10: number;
  recall50: number;
  recall100: number;
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
  documentTower: string;
  /** The document tower itself first, reading queries with its query prompt; BM25 last. */
  results: QueryTowerResult[];
}

/**
 * Measures query towers against a document tower: documents become passages as the document service makes them, the
 * search is exact, and a document counts by its best passage.
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
  const { name, documents, queries, relevant } = await readDataset(request.dataset);
  const owners: number[] = [];
  const inputs: Tokens[] = [];
  for (const [index, document] of documents.entries()) {
    if (document.title.trim() === '' && document.text.trim() === '') continue;
    for (const { tokens } of documentTower.passages(document)) {
      owners.push(index);
      inputs.push(tokens);
    }
  }
  const { dimensions } = manifest;
  const data = await encodeCached(documentTower, inputs, { cacheDir, onProgress: request.onProgress });
  const passages = { data, dimensions };

  const asked: Vectors[] = [];
  const measure = async (tower: Tower, prompt: string | undefined): Promise<Measures> => {
    const tokens = queries.map(({ text }) => tower.tokenize(text, prompt === undefined ? {} : { prompt }));
    const vectors = { data: await tower.encodeAll(tokens), dimensions };
    asked.push(vectors);
    return new Measures(
      searchExactly(vectors, passages, owners, DEPTH).map((ranking, query) => ({
        ranking: ranking.map((index) => documents[index]!.id),
        grades: relevant.get(queries[query]!.id)!,
      })),
    );
  };
  const teacher = await measure(documentTower, manifest.queryPrompt);
  const results = [teacher.against(manifest.name, teacher)];
  for (const student of queryTowers) {
    results.push((await measure(student, undefined)).against(student.manifest.name, teacher));
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
  for (const ranker of [...(request.rankers ?? []), bm25(documents)]) {
    const rankings: Judged[] = [];
    for (const { id, text } of queries) {
      rankings.push({ ranking: await ranker.rank(text, DEPTH), grades: relevant.get(id)! });
    }
    results.push(new Measures(rankings).against(ranker.name, teacher));
  }
  return {
    dataset: name,
    documents: documents.length,
    queries: queries.length,
    documentTower: manifest.name,
    results,
  };
}

/** An answer, and what the query's relevant documents are. */
interface Judged {
  ranking: readonly string[];
  grades: Grades;
}

class Measures {
  readonly ndcg10: number[];
  readonly mrr10: number[];
  readonly recall50: number[];
  readonly recall100: number[];

  constructor(rankings: readonly Judged[]) {
    this.ndcg10 = rankings.map(({ ranking, grades }) => ndcg(ranking, grades, 10));
    this.mrr10 = rankings.map(({ ranking, grades }) => reciprocalRank(ranking, grades, 10));
    this.recall50 = rankings.map(({ ranking, grades }) => recall(ranking, grades, 50));
    this.recall100 = rankings.map(({ ranking, grades }) => recall(ranking, grades, 100));
  }

  against(queryTower: string, teacher: Measures): QueryTowerResult {
    return {
      queryTower,
      ndcg10: mean(this.ndcg10),
      mrr10: mean(this.mrr10),
      recall50: mean(this.recall50),
      recall100: mean(this.recall100),
      retention: {
        ndcg10: mean(this.ndcg10) / mean(teacher.ndcg10),
        recall50: mean(this.recall50) / mean(teacher.recall50),
        interval: ratioInterval(this.ndcg10, teacher.ndcg10),
        recall50Interval: ratioInterval(this.recall50, teacher.recall50),
      },
    };
  }
}
