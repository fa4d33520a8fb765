import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type EmbeddedStore, openEmbeddedStore } from '../../store/embedded/embedded-store.ts';
import type { SearchQuery } from '../../store/queries.ts';
import type { DocumentWrite } from '../../store/writes.ts';
import { type Bench, type Comparison, percentile } from '../report.ts';

/** Documents that are deleted by one call, or loaded by one; each has one passage. */
const DOCUMENTS = Number(process.env['BENCH_DOCUMENTS'] ?? 100_000);
/** Documents of the tenant that searches beside. */
const BESIDE = 1000;
const DIMENSIONS = 384;
const TERMS = 32;
const WORDS = 20_000;
const WRITE = 1000;
const LIMIT = 10;
const GOAL_MS = 50;

const SPACE = { fingerprint: `sp1_${'0'.repeat(32)}`, dimensions: DIMENSIONS };

/** Calls that take long, with searches of another tenant beside them. */
const OPERATIONS: { what: string; run: (store: EmbeddedStore) => Promise<unknown> }[] = [
  {
    what: 'the first search, which loads the vectors',
    run: (store) => store.search('docs', { tenant: 'large', vector: direction(1), limit: LIMIT }),
  },
  {
    what: 'the first hybrid search, which builds the sparse index',
    run: (store) =>
      store.search('docs', { tenant: 'large', vector: direction(1), sparse: terms(1), limit: LIMIT }),
  },
  {
    what: 'the first search with a filter',
    run: (store) =>
      store.search('docs', {
        tenant: 'large',
        vector: direction(1),
        filter: { must: [{ field: 'metadata.number', range: { lt: 100 } }] },
        limit: LIMIT,
      }),
  },
  {
    what: 'a count with a filter',
    run: (store) =>
      store.count('docs', 'large', { must: [{ field: 'metadata.number', range: { lt: 100 } }] }),
  },
  {
    what: 'a delete by filter',
    run: (store) => store.deleteByFilter('docs', 'large', {}),
  },
];

/**
 * Searches of a small tenant beside calls over the documents of a large one: cut into slices, and whole.
 */
export const bench: Bench = {
  run: async (progress) => {
    const comparisons: Comparison[] = [];
    const whole = await measure('whole', Infinity, progress);
    const sliced = await measure('in slices', undefined, progress);
    for (const [index, { what }] of OPERATIONS.entries()) {
      const [ours, peer] = [sliced[index]!, whole[index]!];
      const p99 = percentile(ours.searches, 0.99);
      comparisons.push(
        {
          ...compare(`search beside ${what}, p99`, p99, percentile(peer.searches, 0.99)),
          goal: { text: `below ${GOAL_MS} ms`, met: p99 < GOAL_MS },
        },
        compare(`search beside ${what}, p50`, percentile(ours.searches, 0.5), percentile(peer.searches, 0.5)),
        compare(`search beside ${what}, worst`, Math.max(...ours.searches), Math.max(...peer.searches)),
        compare(`${what}, as a whole`, ours.ms, peer.ms),
      );
    }
    return {
      parameters: { documents: DOCUMENTS, dimensions: DIMENSIONS, terms: TERMS, beside: BESIDE },
      comparisons,
    };
  },
};

function compare(what: string, ours: number, peer: number): Comparison {
  return { what, unit: 'ms', ours, peer, ratio: ours / peer };
}

/** How long each operation took, and each search beside it. */
async function measure(
  name: string,
  sliceMs: number | undefined,
  progress: (line: string) => void,
): Promise<{ ms: number; searches: number[] }[]> {
  const directory = mkdtempSync(join(tmpdir(), 'scalingnote-bench-'));
  try {
    progress(`${name}: storing ${DOCUMENTS} documents`);
    await fill(directory);
    const store = await openEmbeddedStore({ directory, ...(sliceMs !== undefined && { sliceMs }) });
    const query: SearchQuery = { tenant: 'small', vector: direction(2), limit: LIMIT };
    for (let warmUp = 0; warmUp < 200; warmUp++) await store.search('docs', query);
    const measured: { ms: number; searches: number[] }[] = [];
    for (const { what, run } of OPERATIONS) {
      progress(`${name}: ${what}`);
      const searches: number[] = [];
      const state = { running: true };
      const start = performance.now();
      const running = run(store).finally(() => {
        state.running = false;
      });
      // The one that waits behind an operation that is not cut is the one that matters.
      while (state.running) {
        const begun = performance.now();
        await store.search('docs', query);
        searches.push(performance.now() - begun);
      }
      await running;
      measured.push({ ms: performance.now() - start, searches });
    }
    await store.close();
    return measured;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function fill(directory: string): Promise<void> {
  const store = await openEmbeddedStore({ directory });
  await store.ensureCollection('docs', SPACE);
  for (const [tenant, count] of [['large', DOCUMENTS] as const, ['small', BESIDE] as const]) {
    for (let start = 0; start < count; start += WRITE) {
      const numbers = Array.from({ length: Math.min(WRITE, count - start) }, (_, index) => start + index);
      await store.writeDocuments(
        'docs',
        numbers.map((number) => write(tenant, number)),
      );
    }
  }
  await store.close();
}

function write(tenant: string, number: number): DocumentWrite {
  const text = `document ${number} of ${tenant} `.repeat(10);
  return {
    kind: 'put',
    tenant,
    documentId: `d${number}`,
    version: 1,
    contentHash: `c${number}`,
    encodingHash: `e${number}`,
    title: `Document ${number}`,
    text,
    metadata: { number, group: `g${number % 10}` },
    passages: [{ vector: direction(number), sparse: terms(number), text }],
  };
}

function direction(seed: number): Float32Array {
  const next = random(seed);
  return Float32Array.from({ length: DIMENSIONS }, () => next() - 0.5);
}

function terms(seed: number): { indices: number[]; values: number[] } {
  const next = random(seed);
  const indices = new Set(Array.from({ length: TERMS }, () => Math.floor(next() ** 2 * WORDS)));
  return { indices: [...indices], values: Array.from(indices, () => 1 + next()) };
}

/** Numbers from 0 to 1: mulberry32. */
function random(seed: number): () => number {
  let state = seed + 1;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
