import { normalizeRows } from '../../towers/session/pooling.ts';
import { keyOf } from './pairs.ts';
import type { Replica } from './replica.ts';
import { searchBatched } from './batched-search.ts';

/** How many of the nearest documents of a query are looked at. */
const DEPTH = 64;

/** Texts that are encoded at a time: between them a run can be interrupted. */
const CHUNK = 4_096;

/** What negatives are mined from. */
export interface MiningRequest {
  replica: Replica;
  /** Token ids and text of each pair's sides. */
  queries: readonly (readonly number[])[];
  documents: readonly (readonly number[])[];
  texts: readonly { query: string; document: string }[];
  dimensions: number;
  normalize: boolean;
  /** Negatives of each query. */
  count: number;
  /** A document that scores above the query's own less this is taken for an answer, not for a negative. */
  margin: number;
  threads?: number | undefined;
  signal?: AbortSignal | undefined;
  onProgress?: ((done: number, total: number) => void) | undefined;
}

/** In the place of a negative where there are too few. */
export const NONE = -1;

/**
 * Hard negatives of every pair: the documents of other pairs that the weights as they are now find nearest to its query,
 * by exact search, without those that are too near to be wrong (Moreira et al., 2024: https://arxiv.org/abs/2407.15831).
 *
 * @returns for each pair `count` indices of pairs whose documents are its negatives, {@link NONE} where there are too few
 * @throws what the signal says
 */
export async function mineNegatives(request: MiningRequest): Promise<Int32Array> {
  const { dimensions, count, margin, texts, threads } = request;
  const queries = await encodeAll(request, 'query', 0);
  const documents = await encodeAll(request, 'document', request.queries.length);
  const queryKeys = texts.map(({ query }) => keyOf(query));
  const documentKeys = texts.map(({ document }) => keyOf(document));
  const answers = new Map<string, Set<string>>();
  for (const [pair, query] of queryKeys.entries()) {
    const known = answers.get(query);
    if (known === undefined) answers.set(query, new Set([documentKeys[pair]!]));
    else known.add(documentKeys[pair]!);
  }
  const mined = new Int32Array(texts.length * count).fill(NONE);
  let pair = 0;
  for await (const { indices, scores } of searchBatched(queries, documents, {
    dimensions,
    depth: DEPTH + count,
    threads,
  })) {
    request.signal?.throwIfAborted();
    const limit = ownScore(queries, documents, pair, dimensions) - margin;
    const taken = new Set(answers.get(queryKeys[pair]!));
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
  request: MiningRequest,
  side: 'query' | 'document',
  before: number,
): Promise<Float32Array> {
  const { replica, dimensions, normalize, signal, onProgress } = request;
  const texts = side === 'query' ? request.queries : request.documents;
  const vectors = new Float32Array(texts.length * dimensions);
  for (let start = 0; start < texts.length; start += CHUNK) {
    signal?.throwIfAborted();
    const part = texts.slice(start, start + CHUNK);
    vectors.set(await replica.encode(side, part), start * dimensions);
    onProgress?.(before + start + part.length, 2 * texts.length);
  }
  if (normalize) normalizeRows(vectors, dimensions);
  return vectors;
}
