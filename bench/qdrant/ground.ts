import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { WRITES_IN_FLIGHT } from '../../services/document/ingest/write-queue.ts';
import { openStore } from '../../store/open.ts';
import type { Store } from '../../store/store.ts';
import { type Corpus, makeCorpus } from './corpus.ts';
import type { Forwarded } from './forwarder.ts';
import { DirectQdrant, type RestRequest } from './load.ts';
import { type Recorder, startRecorder } from './recorder.ts';
import { type Process, startProcess } from '../../services/runtime/testing/processes.ts';

/** Documents to search, of 384 dimensions each. */
export const DOCUMENTS = Number(process.env['BENCH_DOCUMENTS'] ?? 100_000);
export const QUERIES = 1000;
/** Searches in flight at full load. */
export const IN_FLIGHT = 8;
/** The direct side's writes: points in a request, and requests at a time. */
export const POINTS = 500;
export const WRITERS = 4;

/** What all sides share: a server, documents and queries, and collections made for the run. */
export class Ground {
  readonly name = `bench-${randomBytes(4).toString('hex')}`;
  readonly folder = mkdtempSync(join(tmpdir(), 'scalingnote-bench-'));
  readonly corpus: Corpus;
  readonly recorder: Recorder;
  readonly store: Store;
  readonly direct: DirectQdrant;
  readonly progress: (line: string) => void;
  readonly #url: string;
  readonly #apiKey: string | undefined;
  readonly #made = new Set<string>();
  readonly #closing: (() => Promise<void> | void)[] = [];

  private constructor(
    server: { url: string; apiKey: string | undefined },
    parts: { corpus: Corpus; recorder: Recorder; store: Store },
    progress: (line: string) => void,
  ) {
    this.#url = server.url;
    this.#apiKey = server.apiKey;
    this.corpus = parts.corpus;
    this.recorder = parts.recorder;
    this.store = parts.store;
    this.direct = new DirectQdrant(server.url, server.apiKey, Math.max(IN_FLIGHT, WRITERS));
    this.progress = progress;
  }

  static async open(
    url: string,
    apiKey: string | undefined,
    progress: (line: string) => void,
  ): Promise<Ground> {
    progress(`reading and encoding ${DOCUMENTS} documents`);
    const corpus = await makeCorpus(DOCUMENTS, QUERIES);
    const recorder = await startRecorder(url);
    const key = apiKey === undefined ? {} : { apiKey };
    const store = await openStore({ kind: 'qdrant', url: recorder.url, ...key });
    return new Ground({ url, apiKey }, { corpus, recorder, store }, progress);
  }

  /** Registers a function to run when the benchmark ends. */
  onClose(close: () => Promise<void> | void): void {
    this.#closing.push(close);
  }

  async close(): Promise<void> {
    for (const close of this.#closing.reverse()) await close();
    for (const physical of this.#made) await this.store.dropCollection(physical);
    await this.store.close();
    await this.direct.close();
    await this.recorder.close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Makes a new collection. Returns its physical name. */
  async collection(name: string): Promise<string> {
    const { fingerprint, dimensions } = this.corpus.manifest.space;
    const { physicalName } = await this.store.ensureCollection(name, { fingerprint, dimensions });
    this.#made.add(physicalName);
    return physicalName;
  }

  async drop(physical: string): Promise<void> {
    await this.store.dropCollection(physical);
    this.#made.delete(physical);
  }

  /** Starts the bare forwarder, with the requests that it will send. */
  async startForwarder(points: readonly string[], searches: Record<string, RestRequest>): Promise<Process> {
    const forwarded: Forwarded = {
      url: this.#url,
      apiKey: this.#apiKey,
      connections: Math.max(IN_FLIGHT, WRITERS),
      searches: join(this.folder, 'searches.json'),
      points: join(this.folder, 'points.jsonl'),
      batch: POINTS,
      inFlight: WRITES_IN_FLIGHT,
    };
    writeFileSync(forwarded.searches, JSON.stringify(searches));
    writeFileSync(forwarded.points, points.join('\n'));
    const module = new URL('./forwarder.js', import.meta.url);
    return this.start(module, { BENCH_FORWARDED: JSON.stringify(forwarded) });
  }

  /** Starts a service on this server. @param nodeFlags the flags of its image */
  async start(
    module: URL,
    environment: Readonly<Record<string, string>>,
    nodeFlags: readonly string[] = [],
  ): Promise<Process> {
    const onThisServer = {
      ...environment,
      SCALINGNOTE_STORE: 'qdrant',
      QDRANT_URL: this.#url,
      SCALINGNOTE_LOG_LEVEL: 'error',
    };
    const service = await startProcess(module, [], onThisServer, nodeFlags);
    this.#closing.push(() => service.stop());
    return service;
  }

  /** Waits until Qdrant has nothing left to index. */
  async indexed(physical: string): Promise<void> {
    for (let quiet = 0; quiet < 4; await sleep(500)) {
      const answer = await fetch(new URL(`/collections/${physical}`, this.#url), {
        headers: this.#apiKey === undefined ? {} : { 'api-key': this.#apiKey },
      });
      const { result } = (await answer.json()) as { result: { status: string } };
      quiet = result.status === 'green' ? quiet + 1 : 0;
    }
  }
}
