import * as z from 'zod';
import type { Tower } from '../../../towers/tower.ts';
import { searchBatched } from '../../stage1/batched-search.ts';
import { type HeldOutTask, heldOutTask, withTowers } from '../../stage1/held-out.ts';
import { keyOf, type Pair } from '../../stage1/pairs.ts';

/** A rank beyond it counts as none: it would add less than 0.001. */
const DEPTH = 1_000;

/** Queries of a group, whose documents are each other's negatives: 255 each, as in the paper's law. */
const GROUP = 256;

/** What cosines are divided by in the entropy, as in training. */
const TEMPERATURE = 0.05;

/** Of each query, in order. */
export const Measured = z.object({ reciprocalRanks: z.array(z.number()), entropies: z.array(z.number()) });
export type Measured = z.infer<typeof Measured>;

/** Held-out pairs as a task: each query has to find its document among those of all. */
export interface ClaimTask {
  pairs: readonly Pair[];
  search: HeldOutTask;
}

export function claimTask(pairs: readonly Pair[]): ClaimTask {
  return { pairs, search: heldOutTask(pairs, [], 0) };
}

/** Measures two towers, given by their folders, as they serve. Nothing is kept but the numbers. */
export function measure(
  towers: { document: string; query: string },
  task: ClaimTask,
  options: { cacheDir?: string | undefined; signal?: AbortSignal | undefined },
): Promise<Measured> {
  const { cacheDir, signal } = options;
  return withTowers(async (open) => {
    const document = await open(towers.document, { cacheDir });
    const query = await open(towers.query, { cacheDir });
    const read = async (tower: Tower, texts: readonly string[]): Promise<Float32Array> =>
      tower.encodeAll(await tower.tokenizeAll(texts), { signal });
    const documents = await read(document, task.search.documents);
    const queries = await read(query, task.search.queries);
    const { dimensions } = document.manifest;
    return {
      reciprocalRanks: await reciprocalRanks(queries, documents, dimensions, task.search),
      entropies: entropies(queries, documents, dimensions, task),
    };
  });
}

async function reciprocalRanks(
  queries: Float32Array,
  documents: Float32Array,
  dimensions: number,
  task: HeldOutTask,
): Promise<number[]> {
  const keys = task.documents.map(keyOf);
  const ranks: number[] = [];
  for await (const { indices } of searchBatched(queries, documents, { dimensions, depth: DEPTH })) {
    const answers = task.answers[ranks.length]!;
    const place = indices.findIndex((index) => answers.has(keys[index]!));
    ranks.push(place < 0 ? 0 : 1 / (place + 1));
  }
  return ranks;
}

/** −log of the softmax that each query's own document gets among those of its group. Other answers to it are no negatives. */
export function entropies(
  queries: Float32Array,
  documents: Float32Array,
  dimensions: number,
  { pairs, search }: ClaimTask,
): number[] {
  const rows = new Map(search.documents.map((text, row) => [keyOf(text), row]));
  const own = pairs.map(({ document }) => rows.get(keyOf(document))!);
  return pairs.map((_, query) => {
    // The last group reaches back, so that every query has as many negatives.
    const start = Math.max(0, Math.min(Math.floor(query / GROUP) * GROUP, pairs.length - GROUP));
    const vector = queries.subarray(query * dimensions, (query + 1) * dimensions);
    const score = (row: number): number => {
      let sum = 0;
      for (let i = 0; i < dimensions; i++) sum += vector[i]! * documents[row * dimensions + i]!;
      return sum / TEMPERATURE;
    };
    const mine = score(own[query]!);
    let rest = 1;
    for (const row of new Set(own.slice(start, start + GROUP))) {
      if (row === own[query] || search.answers[query]!.has(keyOf(search.documents[row]!))) continue;
      rest += Math.exp(score(row) - mine);
    }
    return Math.log(rest);
  });
}
