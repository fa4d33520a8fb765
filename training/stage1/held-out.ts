import { openTower } from '../../towers/open.ts';
import type { Tower } from '../../towers/tower.ts';
import { recall } from '../evaluation/metrics.ts';
import { type CacheSettings, encodeCached } from '../vectors.ts';
import { answersOf, keyOf, type Pair } from './pairs.ts';
import { searchBatched } from './batched-search.ts';

/** How deep Recall@10 looks. */
const DEPTH = 10;

/** Held-out queries, and the documents among which each has to find its own. */
export interface HeldOutTask {
  queries: readonly string[];
  documents: readonly string[];
  /** For each query, the keys of documents that answer it. */
  answers: readonly ReadonlySet<string>[];
}

/**
 * The task: held-out documents, and documents of training pairs up to a number. A text that is there twice is one
 * document, and a query that is there twice has several answers.
 *
 * @param size - documents to search; more where more are held out
 */
export function heldOutTask(heldOut: readonly Pair[], train: readonly Pair[], size: number): HeldOutTask {
  const documents = new Map<string, string>();
  const answers = answersOf(heldOut);
  for (const { document } of heldOut) {
    const key = keyOf(document);
    if (!documents.has(key)) documents.set(key, document);
  }
  const others = new Map<string, string>();
  for (const { document } of train) {
    const key = keyOf(document);
    if (!documents.has(key) && !others.has(key)) others.set(key, document);
  }
  // A stride takes them from everywhere in the file, always the same ones.
  const distinct = [...others.values()];
  const wanted = Math.min(Math.max(0, size - documents.size), distinct.length);
  const filler = Array.from(
    { length: wanted },
    (_, index) => distinct[Math.floor((index * distinct.length) / wanted)]!,
  );
  return {
    queries: heldOut.map(({ query }) => query),
    documents: [...documents.values(), ...filler],
    answers: heldOut.map(({ query }) => answers.get(keyOf(query))!),
  };
}

/** The tower of each side. A symmetric model has one for both. */
export interface TowerPair {
  document: Tower;
  query: Tower;
  /** Prefix of queries. @default the query tower's own prompt */
  queryPrompt?: string | undefined;
}

/** Recall@10 of each query, by exact search with the towers as they serve. */
export async function measureRecall(
  towers: TowerPair,
  task: HeldOutTask,
  options: CacheSettings = {},
): Promise<number[]> {
  const { document, query, queryPrompt } = towers;
  const { dimensions } = document.manifest;
  const prompt = queryPrompt === undefined ? {} : { prompt: queryPrompt };
  const documents = await encodeCached(document, await document.tokenizeAll(task.documents), options);
  const queries = await encodeCached(query, await query.tokenizeAll(task.queries, prompt), options);
  const keys = task.documents.map(keyOf);
  const recalls: number[] = [];
  for await (const { indices } of searchBatched(queries, documents, { dimensions, depth: DEPTH })) {
    const relevant = new Map([...task.answers[recalls.length]!].map((key) => [key, 1]));
    recalls.push(
      recall(
        indices.map((index) => keys[index]!),
        relevant,
        DEPTH,
      ),
    );
  }
  return recalls;
}

/** Recall@10 of each query with two towers, given by their references. */
export function recallOf(
  towers: { document: string; query: string },
  task: HeldOutTask,
  options: CacheSettings,
): Promise<number[]> {
  const { cacheDir } = options;
  return withTowers(async (open) => {
    const document = await open(towers.document, { cacheDir });
    const query = await open(towers.query, { cacheDir });
    return measureRecall({ document, query }, task, options);
  });
}

/** Opens towers by reference, and closes all that were opened. */
export async function withTowers<T>(use: (open: typeof openTower) => Promise<T>): Promise<T> {
  const opened: Tower[] = [];
  try {
    return await use(async (...what) => {
      const tower = await openTower(...what);
      opened.push(tower);
      return tower;
    });
  } finally {
    for (const tower of opened) await tower.close();
  }
}
