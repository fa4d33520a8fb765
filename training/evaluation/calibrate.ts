import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exactSearch, Index, MetricKind, ScalarKind } from 'usearch';
import type { Vectors } from './exact-search.ts';

/** How widely to search a graph index for the queries of one tower. */
export interface Calibration {
  /** Candidates to look at (`hnsw_ef` in Qdrant). */
  hnswEf: number;
  /** Share of the ten nearest passages that are found with it. */
  recall: number;
  /** How many passages there were. */
  passages: number;
  /**
   * How many times as many candidates as are wanted have to be compared in full where a store keeps one bit of each
   * number (binary quantisation).
   */
  oversampling: number;
}

/** How many of the nearest count. */
const NEAREST = 10;

/** What is enough. */
const RECALL = 0.99;

/** What is tried, until it is enough. The last is what is recommended where nothing is. */
const CANDIDATES = [16, 32, 64, 96, 128, 192, 256, 384, 512];

/** Likewise of oversampling. */
const FACTORS = [1, 1.5, 2, 3, 4, 6, 8, 12, 16];

/** As Qdrant builds a graph when nobody says otherwise. */
const GRAPH = { connectivity: 16, expansion_add: 100 };

/**
 * Finds how many candidates a search in a graph of passages (HNSW, arXiv:1603.09320) has to look at to find what an exact
 * search does. Queries of a small student lie further from the passages than its teacher's do, and need more.
 *
 * @param queries - of one tower each, unit vectors
 * @returns in the order of the towers
 */
export async function calibrateSearch(
  passages: Vectors,
  queries: readonly Vectors[],
): Promise<Calibration[]> {
  const { dimensions } = passages;
  const count = passages.data.length / dimensions;
  const nearest = Math.min(NEAREST, count);
  const open = (hnswEf: number): Index =>
    new Index({
      ...GRAPH,
      dimensions,
      metric: MetricKind.IP,
      quantization: ScalarKind.F32,
      expansion_search: hnswEf,
      multi: false,
    });
  const folder = await mkdtemp(join(tmpdir(), 'scalingnote-'));
  try {
    const file = join(folder, 'graph');
    const graph = open(CANDIDATES[0]!);
    graph.add(
      BigUint64Array.from({ length: count }, (_, passage) => BigInt(passage)),
      passages.data,
      1,
    );
    graph.save(file);
    return queries.map(({ data }) => {
      const exact = exactSearch(passages.data, data, dimensions, nearest, MetricKind.IP, 1).keys;
      const oversampling = oversamplingFor(passages, data, exact, nearest);
      const found: Calibration = { hnswEf: CANDIDATES[0]!, recall: 0, passages: count, oversampling };
      for (const hnswEf of CANDIDATES) {
        const index = open(hnswEf);
        index.load(file);
        found.hnswEf = hnswEf;
        found.recall = overlap(index.search(data, nearest, 1).keys, exact, nearest);
        if (found.recall >= RECALL) break;
      }
      return found;
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * How many candidates by their bits alone, for each passage that is wanted, have enough of the nearest among them.
 *
 * @param exact - the nearest passages of each query, `nearest` of them
 */
function oversamplingFor(
  { data, dimensions }: Vectors,
  queries: Float32Array,
  exact: BigUint64Array,
  nearest: number,
): number {
  const stored = signs(data, dimensions);
  const asked = signs(queries, dimensions);
  const words = Math.ceil(dimensions / WORD_BITS);
  const distances = new Uint32Array(stored.length / words);
  const ranks: number[] = [];
  for (let query = 0; query < asked.length / words; query++) {
    // How many passages are at each distance or nearer: as many are candidates before the last of them is.
    const upTo = new Uint32Array(dimensions + 1);
    for (let passage = 0; passage < distances.length; passage++) {
      let distance = 0;
      for (let word = 0; word < words; word++) {
        distance += bitCount(asked[query * words + word]! ^ stored[passage * words + word]!);
      }
      distances[passage] = distance;
      upTo[distance]!++;
    }
    for (let distance = 1; distance <= dimensions; distance++) upTo[distance]! += upTo[distance - 1]!;
    for (const passage of exact.subarray(query * nearest, (query + 1) * nearest)) {
      ranks.push(upTo[distances[Number(passage)]!]!);
    }
  }
  const enough = FACTORS.find(
    (factor) => ranks.filter((rank) => rank <= factor * nearest).length >= RECALL * ranks.length,
  );
  return enough ?? FACTORS.at(-1)!;
}

const WORD_BITS = 32;

/** One bit for each number, whether it is above zero; each row begins a new word. */
function signs(rows: Float32Array, dimensions: number): Int32Array {
  const words = Math.ceil(dimensions / WORD_BITS);
  const bits = new Int32Array((rows.length / dimensions) * words);
  for (const [index, value] of rows.entries()) {
    if (value <= 0) continue;
    const column = index % dimensions;
    const word = ((index - column) / dimensions) * words + Math.floor(column / WORD_BITS);
    bits[word]! |= 1 << (column % WORD_BITS);
  }
  return bits;
}

/** Ones among 32 bits: pairs, fours and bytes are summed side by side. */
function bitCount(bits: number): number {
  const pairs = bits - ((bits >>> 1) & 0x55555555);
  const fours = (pairs & 0x33333333) + ((pairs >>> 2) & 0x33333333);
  return Math.imul((fours + (fours >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

/** Mean share of the rows' keys that are in the same row of the other. */
function overlap(found: BigUint64Array, wanted: BigUint64Array, width: number): number {
  let hits = 0;
  for (let start = 0; start < wanted.length; start += width) {
    const row = new Set(found.subarray(start, start + width));
    for (const key of wanted.subarray(start, start + width)) if (row.has(key)) hits++;
  }
  return hits / wanted.length;
}
