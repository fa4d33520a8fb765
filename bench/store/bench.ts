import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync, type DatabaseSyncInstance, type StatementSyncInstance } from '@photostructure/sqlite';
import { exactSearch, MetricKind } from 'usearch';
import { openStore } from '../../store/open.ts';
import { Engine, engineFolder } from '../../store/qdrant/testing/engine.ts';
import type { Store } from '../../store/store.ts';
import type { DocumentWrite } from '../../store/writes.ts';
import { findTool } from '../../test/testing/optional-tool.ts';
import { Pairs } from '../calls/compare.ts';
import { readCount } from '../flags.ts';
import { type Corpus, makeCorpus, writeOf } from '../qdrant/corpus.ts';
import { COLLECTION } from '../query-service.ts';
import type { Bench } from '../report.ts';

const DOCUMENTS = 10_000;
/** Documents of one write. */
const WRITE = 500;
const QUERIES = 200;
const QUICK_QUERIES = 50;
const LIMIT = 10;
const IN_FLIGHT = 8;
const TURNS = 5;
const QUICK_TURNS = 3;

const RECALL = `recall at ${LIMIT}, embedded; peer: every score in double precision`;

/** A store beside what is below it, and beside Qdrant's engine where there is one. */
export const bench: Bench = {
  hasQuick: true,
  flags: { documents: { type: 'string' } },
  run: async (progress, { documents: given }, { quick }) => {
    const documents = readCount('documents', given, DOCUMENTS);
    const extent = { queries: quick ? QUICK_QUERIES : QUERIES, turns: quick ? QUICK_TURNS : TURNS };
    const folder = mkdtempSync(join(tmpdir(), 'scalingnote-bench-'));
    const pairs = new Pairs();
    const closing: (() => unknown)[] = [() => rmSync(folder, { recursive: true, force: true })];
    try {
      progress(`encoding ${documents} documents`);
      const corpus = await makeCorpus(documents, extent.queries);
      const store = await openStore({ kind: 'embedded', directory: join(folder, 'embedded') });
      closing.push(() => store.close());
      const server = await findQdrant(closing);
      const qdrant = server === undefined ? undefined : await openStore({ kind: 'qdrant', url: server });
      if (qdrant) closing.push(() => qdrant.close());
      progress('writing');
      const filled = await fill(corpus, { store, qdrant, bare: join(folder, 'bare.db') }, pairs);
      progress('searching');
      await search(corpus, { store, qdrant }, filled, { ...extent, pairs });
      if (qdrant) closing.push(() => qdrant.dropCollection(filled.qdrant!));
      progress('opening');
      await store.close();
      await reopen(corpus, join(folder, 'embedded'), extent.turns, pairs);
      return {
        parameters: { documents, dimensions: corpus.manifest.dimensions, ...extent, limit: LIMIT },
        comparisons: pairs.comparisons({ [RECALL]: { atLeast: 1 } }),
        notes: [
          ...(qdrant
            ? []
            : [
                'Qdrant was not measured: set QDRANT_URL, or install its engine with "npm run qdrant-engine"',
              ]),
          ...pairs.notes(),
        ],
      };
    } finally {
      for (const close of closing.reverse()) await close();
    }
  },
};

/** The address of a server, or of the engine. */
async function findQdrant(closing: (() => unknown)[]): Promise<string | undefined> {
  const url = process.env['QDRANT_URL'];
  if (url !== undefined) return url;
  const { path } = findTool('qdrant-engine');
  if (path === undefined) return undefined;
  const folder = engineFolder();
  const engine = await Engine.start(path, folder.path);
  closing.push(
    () => folder.remove(),
    () => engine.kill(),
  );
  return engine.url;
}

/** Physical names. */
interface Filled {
  store: string;
  qdrant: string | undefined;
}

async function fill(
  corpus: Corpus,
  { store, qdrant, bare }: { store: Store; qdrant: Store | undefined; bare: string },
  pairs: Pairs,
): Promise<Filled> {
  const { fingerprint, dimensions } = corpus.manifest.space;
  const make = async (one: Store): Promise<string> =>
    (await one.ensureCollection(COLLECTION, { fingerprint, dimensions })).physicalName;
  const filled = { store: await make(store), qdrant: qdrant && (await make(qdrant)) };
  const database = new DatabaseSync(bare);
  database.exec('PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
  database.exec(
    'CREATE TABLE rows (id TEXT PRIMARY KEY, title TEXT, text TEXT, metadata TEXT, vector BLOB, terms BLOB)',
  );
  const insert = database.prepare('INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?)');
  const documents = corpus.documents.length;
  for (let row = 0; row < documents; row += WRITE) {
    const writes = Array.from({ length: Math.min(WRITE, documents - row) }, (_, index) =>
      writeOf(corpus, row + index),
    );
    const seconds = async (work: () => unknown): Promise<number> => {
      const began = performance.now();
      await work();
      return (performance.now() - began) / 1000;
    };
    const ours = writes.length / (await seconds(() => store.writeDocuments(filled.store, writes)));
    const peer = writes.length / (await seconds(() => insertAll(database, insert, writes)));
    pairs.add(`writes of ${WRITE}, embedded; peer: bare SQLite rows`, '/s', ours, peer);
    if (!qdrant) continue;
    const there = writes.length / (await seconds(() => qdrant.writeDocuments(filled.qdrant!, writes)));
    pairs.add(`writes of ${WRITE}, embedded; peer: Qdrant`, '/s', ours, there);
  }
  database.close();
  return filled;
}

function insertAll(
  database: DatabaseSyncInstance,
  insert: StatementSyncInstance,
  writes: readonly DocumentWrite[],
): void {
  database.exec('BEGIN IMMEDIATE');
  for (const write of writes) {
    if (write.kind !== 'put') continue;
    const [passage] = write.passages;
    const { vector, sparse } = passage!;
    const terms = Float64Array.from([...sparse!.indices, ...sparse!.values]);
    const bytes = (numbers: Float32Array | Float64Array): Uint8Array =>
      new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
    insert.run(
      write.documentId,
      write.title,
      write.text!,
      JSON.stringify(write.metadata),
      bytes(vector),
      bytes(terms),
    );
  }
  database.exec('COMMIT');
}

async function search(
  { vectors, queryVectors, manifest, documents }: Corpus,
  { store, qdrant }: { store: Store; qdrant: Store | undefined },
  filled: Filled,
  { queries, turns, pairs }: { queries: number; turns: number; pairs: Pairs },
): Promise<void> {
  const { dimensions } = manifest;
  const ask = (one: Store, physical: string) => (vector: Float32Array) =>
    one.search(physical, { tenant: '', vector, limit: LIMIT });
  const ours = ask(store, filled.store);
  let found = 0;
  for (const query of queryVectors) {
    const best = new Set(exactly(vectors, query).map((row) => documents[row]!.id));
    for (const { documentId } of await ours(query)) found += Number(best.has(documentId));
  }
  pairs.add(RECALL, '', found / (LIMIT * queryVectors.length), 1);
  const scan = (query: Float32Array): Promise<unknown> =>
    Promise.resolve(exactSearch(vectors, query, dimensions, LIMIT, MetricKind.IP, 1));
  const there = qdrant && ask(qdrant, filled.qdrant!);
  for (let turn = -1; turn < turns; turn++) {
    const asked = Array.from({ length: queries }, (_, index) => queryVectors[index % queryVectors.length]!);
    const embedded = await rates(ours, asked);
    const bare = await rates(scan, asked);
    const remote = there && (await rates(there, asked));
    // The first turn warms up.
    if (turn < 0) continue;
    pairs.add('a search, embedded; peer: a bare scan of float32', 'ms', embedded.one, bare.one);
    if (!remote) continue;
    pairs.add('a search, embedded; peer: Qdrant', 'ms', embedded.one, remote.one);
    pairs.add(
      `searches, ${IN_FLIGHT} in flight, embedded; peer: Qdrant`,
      '/s',
      embedded.perSecond,
      remote.perSecond,
    );
  }
}

/** Milliseconds of a search alone, and searches a second of several. */
async function rates(
  search: (vector: Float32Array) => Promise<unknown>,
  queries: readonly Float32Array[],
): Promise<{ one: number; perSecond: number }> {
  let began = performance.now();
  for (const query of queries) await search(query);
  const one = (performance.now() - began) / queries.length;
  began = performance.now();
  for (let from = 0; from < queries.length; from += IN_FLIGHT) {
    await Promise.all(queries.slice(from, from + IN_FLIGHT).map(search));
  }
  return { one, perSecond: (1000 * queries.length) / (performance.now() - began) };
}

/** The rows of the highest scores, each summed in double precision. */
function exactly(vectors: Float32Array, query: Float32Array): number[] {
  const scores = Array.from({ length: vectors.length / query.length }, (_, row) => {
    let sum = 0;
    for (let axis = 0; axis < query.length; axis++) sum += vectors[row * query.length + axis]! * query[axis]!;
    return sum;
  });
  return [...scores.keys()].sort((a, b) => scores[b]! - scores[a]!).slice(0, LIMIT);
}

async function reopen(corpus: Corpus, directory: string, turns: number, pairs: Pairs): Promise<void> {
  const { queryVectors, manifest, documents } = corpus;
  const megabytes = (documents.length * manifest.dimensions * Float32Array.BYTES_PER_ELEMENT) / 1e6;
  for (let turn = 0; turn < turns; turn++) {
    const before = process.memoryUsage.rss();
    const began = performance.now();
    const store = await openStore({ kind: 'embedded', directory });
    await store.prepare(manifest.space.fingerprint);
    await store.search(COLLECTION, { tenant: '', vector: queryVectors[0]!, limit: LIMIT });
    const ours = performance.now() - began;
    const grown = (process.memoryUsage.rss() - before) / 1e6;
    pairs.add(
      'opening until the first answer; peer: a bare reading of the rows',
      'ms',
      ours,
      readAll(directory),
    );
    pairs.add('memory of an open store; peer: its vectors as float32', 'MB', grown, megabytes);
    await store.close();
  }
}

/** Reads every vector of a store with SQLite alone. @returns milliseconds */
function readAll(directory: string): number {
  const began = performance.now();
  const database = new DatabaseSync(join(directory, 'store.db'), { readOnly: true });
  for (const row of database.prepare('SELECT vector FROM passages_1').iterate()) void row;
  database.close();
  return performance.now() - began;
}
