import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exactSearch, Index, MetricKind, ScalarKind } from 'usearch';
import type { Vectors } from './search.ts';

/** How widely to search a graph index for the queries of one tower. */
export interface Calibration {
  /** Candidates to look at (`hnsw_ef` in Qdrant). */
  hnswEf: number;
  /** Share of the ten nearest passages that are found with it. */
  recall: number;
  /** How many passages there were. */
  passages: number;
}

/** How many of the nearest count. */
const NEAREST = 10;

/** What is enough. */
const RECALL = 0.99;

/** What is tried, until it is enough. The last is what is recommended where nothing is. */
const CANDIDATES = [16, 32, 64, 96, 128, 192, 256, 384, 512];

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
      let found: Calibration = { hnswEf: CANDIDATES[0]!, recall: 0, passages: count };
      for (const hnswEf of CANDIDATES) {
        const index = open(hnswEf);
        index.load(file);
        found = {
          hnswEf,
          recall: overlap(index.search(data, nearest, 1).keys, exact, nearest),
          passages: count,
        };
        if (found.recall >= RECALL) break;
      }
      return found;
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
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
