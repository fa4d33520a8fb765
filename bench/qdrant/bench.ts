import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { IngestRequest } from '../../proto/generated/scalingnote/v1/IngestRequest.ts';
import type { IngestResponse__Output } from '../../proto/generated/scalingnote/v1/IngestResponse.ts';
import type { SearchResponse__Output } from '../../proto/generated/scalingnote/v1/SearchResponse.ts';
import { v1 } from '../../proto/load.ts';
import { toStruct } from '../../proto/struct.ts';
import { openStore } from '../../store/open.ts';
import type { Store } from '../../store/store.ts';
import { type Bench, type Comparison, median, percentile } from '../report.ts';
import { type Corpus, makeCorpus, TOWER, writeOf } from './corpus.ts';
import { DirectQdrant, drive, frame, LeanGrpc, type Load, messagesIn, type RestRequest } from './load.ts';
import { type Recorder, startRecorder } from './recorder.ts';
import { type Process, startProcess } from './services.ts';

/** Documents that are searched; 384 dimensions each. */
const DOCUMENTS = Number(process.env['BENCH_DOCUMENTS'] ?? 100_000);
const QUERIES = 1000;
const LIMIT = 10;
/** Each side has its turn so often; the turns alternate, so that both see the same machine. */
const ROUNDS = 5;
const ALONE_CALLS = 500;
const BUSY_CALLS = 5000;
const IN_FLIGHT = 8;

/** Documents of one turn of writing. */
const WRITES = Math.min(10_000, DOCUMENTS);
/** How the direct side writes: so many points a request, so many requests at a time. */
const POINTS = 500;
const WRITERS = 4;
/** Streams of the ingest side. */
const STREAMS = 4;

const { Search } = v1.QueryService.service;
const { Ingest } = v1.DocumentService.service;

/** Searches and writes through the services, against the same requests sent to Qdrant directly. */
export const bench: Bench = {
  run: async (progress) => {
    const url = process.env['QDRANT_URL'];
    if (!url)
      throw new Error(
        'needs a Qdrant server: set QDRANT_URL (and QDRANT_API_KEY), for example http://127.0.0.1:6333',
      );
    const apiKey = process.env['QDRANT_API_KEY'];
    const run = new Run(url, apiKey, progress);
    try {
      return await run.run();
    } finally {
      await run.close();
    }
  },
};

class Run {
  readonly #url: string;
  readonly #apiKey: string | undefined;
  readonly #progress: (line: string) => void;
  readonly #folder = mkdtempSync(join(tmpdir(), 'scalingnote-bench-'));
  readonly #name = `bench-${randomBytes(4).toString('hex')}`;
  readonly #made = new Set<string>();
  readonly #closing: (() => Promise<void> | void)[] = [];
  #corpus!: Corpus;
  #recorder!: Recorder;
  #store!: Store;
  #direct!: DirectQdrant;

  constructor(url: string, apiKey: string | undefined, progress: (line: string) => void) {
    this.#url = url;
    this.#apiKey = apiKey;
    this.#progress = progress;
  }

  async run() {
    this.#progress(`reading and encoding ${DOCUMENTS} documents`);
    this.#corpus = await makeCorpus(DOCUMENTS, QUERIES);
    this.#recorder = await startRecorder(this.#url);
    this.#store = await openStore({ kind: 'qdrant', url: this.#recorder.url, ...this.#key() });
    this.#direct = new DirectQdrant(this.#url, this.#apiKey, Math.max(IN_FLIGHT, WRITERS));
    const writes = await this.#compareWrites();
    const searches = await this.#compareSearches();
    return {
      parameters: {
        documents: DOCUMENTS,
        dimensions: this.#corpus.manifest.dimensions,
        queries: QUERIES,
        limit: LIMIT,
        rounds: ROUNDS,
        inFlight: IN_FLIGHT,
        writes: WRITES,
        pointsPerDirectUpsert: POINTS,
        directWriters: WRITERS,
        ingestStreams: STREAMS,
        tower: TOWER,
      },
      comparisons: [...searches, ...writes],
    };
  }

  async close(): Promise<void> {
    for (const close of this.#closing.reverse()) await close();
    for (const physical of this.#made) await this.#store.dropCollection(physical);
    await this.#store?.close();
    await this.#direct?.close();
    await this.#recorder?.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #key(): { apiKey?: string } {
    return this.#apiKey === undefined ? {} : { apiKey: this.#apiKey };
  }

  /** A new collection; its physical name. */
  async #collection(name: string): Promise<string> {
    const { fingerprint, dimensions } = this.#corpus.manifest.space;
    const { physicalName } = await this.#store.ensureCollection(name, { fingerprint, dimensions });
    this.#made.add(physicalName);
    return physicalName;
  }

  async #drop(physical: string): Promise<void> {
    await this.#store.dropCollection(physical);
    this.#made.delete(physical);
  }

  async #compareSearches(): Promise<Comparison[]> {
    this.#progress(`storing ${DOCUMENTS} documents`);
    const physical = await this.#collection(this.#name);
    let next = 0;
    await Promise.all(
      Array.from({ length: WRITERS }, async () => {
        while (next < DOCUMENTS) {
          const first = next;
          next = Math.min(DOCUMENTS, next + POINTS);
          const writes = Array.from({ length: next - first }, (_, row) => writeOf(this.#corpus, first + row));
          await this.#store.writeDocuments(physical, writes);
        }
      }),
    );
    this.#progress('waiting for the index');
    await this.#indexed(physical);

    const service = await this.#start(
      new URL('../../services/query/main.js', import.meta.url),
      // Every query is another: a cache would hide the encoder from queries that come twice.
      {
        SCALINGNOTE_QUERY_CACHE: '0',
        SCALINGNOTE_QUERY_TOWER: TOWER,
        SCALINGNOTE_PORT_QUERY: '0',
        SCALINGNOTE_METRICS_PORT_QUERY: '0',
      },
    );
    const requests = await this.#recordSearches(physical);
    const frames = this.#corpus.queries.map((query) =>
      frame(Search.requestSerialize({ collection: this.#name, query, limit: LIMIT })),
    );
    const grpc = new LeanGrpc(service.address);
    this.#closing.push(() => grpc.close());
    const sides = {
      ours: (index: number) => grpc.call(Search.path, [frames[index % QUERIES]!]),
      peer: (index: number) => this.#direct.send(requests[index % QUERIES]!),
    };
    for (let index = 0; index < QUERIES; index += 50) await this.#sameHits(sides, index);

    this.#progress('searching');
    // Many at a time first: a program that has made few calls is still being compiled, which no service is for long.
    const busy = await alternate(sides, { calls: BUSY_CALLS, inFlight: IN_FLIGHT });
    const alone = await alternate(sides, { calls: ALONE_CALLS, inFlight: 1 });
    const p50 = compare('search, one at a time, p50', 'ms', alone, (load) => percentile(load.samples, 0.5));
    const perSecond = compare(`searches/s, ${IN_FLIGHT} in flight`, '/s', busy, (load) => load.perSecond);
    return [
      { ...p50, goal: { text: 'at most 0.6 ms more', met: p50.ours <= p50.peer + 0.6 } },
      compare('search, one at a time, p99', 'ms', alone, (load) => percentile(load.samples, 0.99)),
      compare('searches/s, one at a time', '/s', alone, (load) => load.perSecond),
      { ...perSecond, goal: { text: 'at least 0.7', met: perSecond.ratio >= 0.7 } },
      compare(`search, ${IN_FLIGHT} in flight, p50`, 'ms', busy, (load) => percentile(load.samples, 0.5)),
      compare(`search, ${IN_FLIGHT} in flight, p99`, 'ms', busy, (load) => percentile(load.samples, 0.99)),
    ];
  }

  /** What the store asks of Qdrant for each query. */
  async #recordSearches(physical: string): Promise<RestRequest[]> {
    const requests: RestRequest[] = [];
    await this.#store.search(physical, { tenant: '', vector: this.#corpus.queryVectors[0]!, limit: LIMIT });
    this.#recorder.take();
    for (const vector of this.#corpus.queryVectors) {
      await this.#store.search(physical, { tenant: '', vector, limit: LIMIT });
      // Now and then a second request follows, to learn more about ties; the direct side gets away with the first.
      requests.push(this.#recorder.take().find(({ path }) => path.includes('/query'))!);
    }
    return requests;
  }

  /** Both sides find as much: documents of equal score may stand in another order. */
  async #sameHits(
    sides: Record<'ours' | 'peer', (index: number) => Promise<Buffer>>,
    index: number,
  ): Promise<void> {
    const [message] = messagesIn(await sides.ours(index));
    const { hits } = Search.responseDeserialize(message!) as SearchResponse__Output;
    const { result } = JSON.parse((await sides.peer(index)).toString()) as {
      result: { points: { score: number }[] };
    };
    const same = hits.every(({ score }, rank) => Math.abs(score - result.points[rank]!.score) < 1e-5);
    if (hits.length !== LIMIT || !same)
      throw new Error(`the two sides find other documents for query ${index}`);
  }

  async #compareWrites(): Promise<Comparison[]> {
    this.#progress(`preparing ${WRITES} writes`);
    const vectors = join(this.#folder, 'vectors.f32');
    const { dimensions } = this.#corpus.manifest;
    writeFileSync(vectors, new Uint8Array(this.#corpus.vectors.buffer, 0, WRITES * dimensions * 4));
    const prepared = JSON.stringify({ vectors, manifest: this.#corpus.manifest });
    const module = new URL('./document-service.js', import.meta.url);
    const service = await this.#start(module, { BENCH_PREPARED: prepared });
    const points = await this.#recordPoints();
    const streams = this.#streams();

    const turns: Record<'ours' | 'peer', Load[]> = { ours: [], peer: [] };
    for (let round = 0; round <= ROUNDS; round++) {
      this.#progress(`writing, round ${round} of ${ROUNDS}`);
      const peer = await this.#fresh(`${this.#name}-direct`, (physical) =>
        this.#upsertDirectly(physical, points),
      );
      const ours = await this.#fresh(`${this.#name}-service`, () => this.#ingest(service, streams));
      // The first round warms both sides up.
      if (round > 0) turns.peer.push(peer);
      if (round > 0) turns.ours.push(ours);
    }
    const written = compare('documents written/s', '/s', turns, (load) => load.perSecond);
    return [{ ...written, goal: { text: 'at least 0.8', met: written.ratio >= 0.8 } }];
  }

  /** Measures writing into a collection of its own, which is dropped before the other side has its turn. */
  async #fresh(name: string, write: (physical: string) => Promise<void>): Promise<Load> {
    const physical = await this.#collection(name);
    const started = performance.now();
    await write(physical);
    const seconds = (performance.now() - started) / 1000;
    const { documents } = await this.#store.count(physical, '');
    if (documents !== WRITES) throw new Error(`${name} has ${documents} documents instead of ${WRITES}`);
    await this.#drop(physical);
    return { samples: [], perSecond: WRITES / seconds };
  }

  /** What the store sends to Qdrant for each document, as JSON. */
  async #recordPoints(): Promise<string[]> {
    const physical = await this.#collection(`${this.#name}-recorded`);
    this.#recorder.take();
    const points: string[] = [];
    for (let first = 0; first < WRITES; first += POINTS) {
      const writes = Array.from({ length: POINTS }, (_, row) => writeOf(this.#corpus, first + row));
      await this.#store.writeDocuments(physical, writes);
      for (const { body } of this.#recorder.take()) {
        const parsed = JSON.parse(body || '{}') as { points?: unknown[] };
        for (const point of parsed.points ?? []) points.push(JSON.stringify(point));
      }
    }
    await this.#drop(physical);
    return points;
  }

  async #upsertDirectly(physical: string, points: readonly string[]): Promise<void> {
    const path = `/collections/${physical}/points?wait=true`;
    const requests: RestRequest[] = [];
    for (let first = 0; first < points.length; first += POINTS) {
      const body = `{"points":[${points.slice(first, first + POINTS).join(',')}]}`;
      requests.push({ method: 'PUT', path, body });
    }
    await drive(
      async (index) => void (await this.#direct.send(requests[index]!)),
      0,
      requests.length,
      WRITERS,
    );
  }

  /** The frames of each stream. */
  #streams(): Buffer[][] {
    return Array.from({ length: STREAMS }, (_, stream) => {
      const begin: IngestRequest = { begin: { collection: `${this.#name}-service` } };
      const frames = [frame(Ingest.requestSerialize(begin))];
      for (let row = stream; row < WRITES; row += STREAMS) {
        const { id, title, text, metadata } = this.#corpus.documents[row]!;
        const document = { id, title, text, metadata: toStruct({ ...metadata }) };
        frames.push(frame(Ingest.requestSerialize({ sequence: row + 1, document })));
      }
      return frames;
    });
  }

  async #ingest(service: Process, streams: readonly Buffer[][]): Promise<void> {
    const grpc = new LeanGrpc(service.address);
    const answers = await Promise.all(streams.map((frames) => grpc.call(Ingest.path, frames)));
    grpc.close();
    for (const answer of answers) {
      const events = [...messagesIn(answer)].map(
        (message) => Ingest.responseDeserialize(message) as IngestResponse__Output,
      );
      const other = events.find(({ outcome }) => outcome && outcome.kind !== 'OUTCOME_KIND_INDEXED');
      if (other) throw new Error(`a document was not indexed: ${JSON.stringify(other.outcome)}`);
    }
  }

  async #start(module: URL, environment: Readonly<Record<string, string>>): Promise<Process> {
    const service = await startProcess(module, [], {
      ...environment,
      SCALINGNOTE_STORE: 'qdrant',
      QDRANT_URL: this.#url,
      SCALINGNOTE_LOG_LEVEL: 'error',
    });
    this.#closing.push(() => service.stop());
    return service;
  }

  /** Waits until Qdrant has nothing left to index. */
  async #indexed(physical: string): Promise<void> {
    for (let quiet = 0; quiet < 4; await sleep(500)) {
      const answer = await fetch(new URL(`/collections/${physical}`, this.#url), {
        headers: this.#apiKey === undefined ? {} : { 'api-key': this.#apiKey },
      });
      const { result } = (await answer.json()) as { result: { status: string } };
      quiet = result.status === 'green' ? quiet + 1 : 0;
    }
  }
}

/** Lets both sides have their turns one after the other. The first turn of each warms it up. */
async function alternate(
  sides: Record<'ours' | 'peer', (index: number) => Promise<unknown>>,
  { calls, inFlight }: { calls: number; inFlight: number },
): Promise<Record<'ours' | 'peer', Load[]>> {
  const turns: Record<'ours' | 'peer', Load[]> = { ours: [], peer: [] };
  for (let round = 0; round <= ROUNDS; round++) {
    for (const side of ['peer', 'ours'] as const) {
      const call = async (index: number): Promise<void> => void (await sides[side](index));
      const load = await drive(call, round * calls, calls, inFlight);
      if (round > 0) turns[side].push(load);
    }
  }
  return turns;
}

/** The middle one of each side's turns. */
function compare(
  what: string,
  unit: string,
  turns: Record<'ours' | 'peer', readonly Load[]>,
  value: (load: Load) => number,
): Comparison {
  const ours = median(turns.ours.map(value));
  const peer = median(turns.peer.map(value));
  return { what, unit, ours, peer, ratio: ours / peer };
}
