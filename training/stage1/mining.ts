import { normalizeRows } from '../../towers/session/pooling.ts';
import { answersOf, keyOf } from './pairs.ts';
import type { RunOptions } from './run-steps.ts';
import { searchBatched } from './batched-search.ts';

/** How many of a query's nearest documents are candidates. */
const DEPTH = 64;

/** Texts that are encoded at a time. A run can be interrupted in between. */
const CHUNK = 4_096;

/** What negatives are mined from. */
export type MiningOptions = Pick<
  RunOptions,
  | 'replica'
  | 'pairs'
  | 'texts'
  | 'mined'
  | 'margin'
  | 'normalize'
  | 'dimensions'
  | 'threads'
  | 'signal'
  | 'onProgress'
>;

/** Stands for a missing negative. */
export const NONE = -1;

/**
 * Hard negatives of every pair: the documents of other pairs that are nearest to its query under the current weights, by
 * exact search, without those that are so near that they may be answers (Moreira et al., 2024: https://arxiv.org/abs/2407.15831).
 *
 * @returns for each pair `count` indices of pairs whose documents are its negatives, {@link NONE} where there are too few
 * @throws what the signal says
 */
export async function mineNegatives(options: MiningOptions): Promise<Int32Array> {
  const { pairs, dimensions, mined: count, margin, threads } = options;
  const queries = await encodeAll(options, 'query', 0);
  const documents = await encodeAll(options, 'document', pairs.length);
  const answers = answersOf(pairs);
  const documentKeys = pairs.map(({ document }) => keyOf(document));
  const mined = new Int32Array(pairs.length * count).fill(NONE);
  let pair = 0;
  for await (const { indices, scores } of searchBatched(queries, documents, {
    dimensions,
    depth: DEPTH + count,
    threads,
  })) {
    options.signal?.throwIfAborted();
    const limit = ownScore(queries, documents, pair, dimensions) - margin;
    const taken = new Set(answers.get(keyOf(pairs[pair]!.query)));
    let found = 0;
    for (const [rank, candidate] of indices.entries()) {
      if (found === count) break;
      const key = documentKeys[candidate]!;
      if (scores[rank]! > limit || taken.has(key)) continue;
      taken.add(key);
      mined[pair * count + found++] = candidate;
    }
    pair++;
  }
  return mined;
}

function ownScore(queries: Float32Array, documents: Float32Array, pair: number, dimensions: number): number {
  let sum = 0;
  for (let i = pair * dimensions; i < (pair + 1) * dimensions; i++) sum += queries[i]! * documents[i]!;
  return sum;
}

async function encodeAll(
  options: MiningOptions,
  side: 'query' | 'document',
  before: number,
): Promise<Float32Array> {
  const { replica, dimensions, normalize, signal, onProgress } = options;
  const texts = side === 'query' ? options.texts.queries : options.texts.documents;
  const vectors = new Float32Array(texts.length * dimensions);
  for (let start = 0; start < texts.length; start += CHUNK) {
    signal?.throwIfAborted();
    const part = texts.slice(start, start + CHUNK);
    vectors.set(await replica.encode(side, part), start * dimensions);
    onProgress?.({ phase: 'mining', done: before + start + part.length, total: 2 * texts.length });
  }
  if (normalize) normalizeRows(vectors, dimensions);
  return vectors;
}
