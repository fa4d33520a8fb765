import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { v1 } from '../../proto/load.ts';
import { type Process, startService } from '../../services/runtime/testing/processes.ts';
import { openStore } from '../../store/open.ts';
import { openTower } from '../../towers/open.ts';
import { passageTerms } from '../../towers/terms.ts';
import { framed } from '../load/messages.ts';

const COLLECTION = 'overload';
const QUERY_TOWER = 'all-MiniLM-L6-v2-lookup';
/** What searches go through. */
const DOCUMENTS = 2_000;
/** Calls that differ: more than the query service has vectors in its cache, so that none comes from there. */
const DISTINCT = 20_000;

/** What is called: all that does work. */
export const RPCS = [
  'encode',
  'search',
  'search-by-vector',
  'search-stream',
  'familiarity',
  'ingest',
  'count',
  'get',
  'list',
  'delete',
] as const;
export type Rpc = (typeof RPCS)[number];
/** Those of the document service. */
export const OF_DOCUMENTS: ReadonlySet<Rpc> = new Set(['ingest', 'count', 'get', 'list', 'delete']);

/** A method with its calls. */
export interface Target {
  path: string;
  bodies: Buffer[];
  service: Process;
}

const WORDS =
  `harbour lantern physicist meadow ledger orchard violin glacier compass printer saddle thunder pepper marble candle
  anchor biscuit canyon drummer engine feather gravel hammock iron jacket kettle ladder mirror needle oyster`.split(
    /\s+/,
  );

/** A text of eight words that no other number has. */
function sentence(number: number): string {
  const words = Array.from({ length: 7 }, (_, index) => WORDS[(number * 7 + index * (number % 13)) % 30]!);
  return `${words.join(' ')} ${number}`;
}

/** A store with documents, and the services over it. */
export class Ground {
  readonly #data = mkdtempSync(join(tmpdir(), 'scalingnote-overload-'));
  readonly #services: Process[] = [];
  #space = { fingerprint: '', dimensions: 0 };

  async fill(): Promise<void> {
    const store = await openStore({ kind: 'embedded', directory: this.#data });
    const tower = await openTower(QUERY_TOWER);
    const { space } = tower.manifest;
    this.#space = space;
    await store.ensureCollection(COLLECTION, space);
    for (let start = 0; start < DOCUMENTS; start += 250) {
      const documents = await Promise.all(
        Array.from({ length: 250 }, async (_, index) => {
          const text = sentence(start + index);
          const { vector } = await tower.encode(await tower.tokenize(text));
          return {
            kind: 'put',
            tenant: '',
            version: 0,
            title: '',
            metadata: {},
            documentId: `d${start + index}`,
            contentHash: text,
            encodingHash: text,
            passages: [{ vector, sparse: passageTerms(text), text }],
          } as const;
        }),
      );
      await store.writeDocuments(COLLECTION, documents);
    }
    await Promise.all([tower.close(), store.close()]);
  }

  async target(rpc: Rpc, flags: readonly string[]): Promise<Target> {
    const quiet = ['--port', '0', '--metrics-port', '0', '--log-level', 'error', '--data', this.#data];
    const service = await startService(OF_DOCUMENTS.has(rpc) ? 'document' : 'query', ...quiet, ...flags);
    this.#services.push(service);
    const { method, requests } = callsOf(rpc, this.#space);
    const bodies = Array.from({ length: DISTINCT }, (_, number) =>
      Buffer.concat(requests(number).map((request) => framed(method.requestSerialize(request as never)))),
    );
    return { path: method.path, bodies, service };
  }

  async close(): Promise<void> {
    await Promise.all(this.#services.map(({ stop }) => stop('SIGKILL')));
    rmSync(this.#data, { recursive: true, force: true });
  }
}

type Space = { fingerprint: string; dimensions: number };

/** A method, and the messages of each call of it. */
interface Calls {
  method: { path: string; requestSerialize(request: never): Buffer };
  requests(number: number): object[];
}

function callsOf(rpc: Rpc, { fingerprint, dimensions }: Space): Calls {
  const query = v1.QueryService.service;
  const document = v1.DocumentService.service;
  const collection = COLLECTION;
  const id = (number: number): string => `d${number % DOCUMENTS}`;
  switch (rpc) {
    case 'encode':
      return { method: query.Encode, requests: (number) => [{ texts: [sentence(number)] }] };
    case 'search':
      return { method: query.Search, requests: (number) => [{ collection, query: sentence(number) }] };
    case 'search-by-vector':
      return {
        method: query.SearchByVector,
        requests: (number) => [
          { search: { collection }, space: fingerprint, vector: vectorOf(number, dimensions) },
        ],
      };
    case 'search-stream':
      // A stream of one query.
      return {
        method: query.SearchStream,
        requests: (number) => [{ sequence: 1, search: { collection, query: sentence(number) } }],
      };
    case 'familiarity':
      return { method: query.MeasureFamiliarity, requests: () => [{ collection }] };
    case 'ingest':
      // A stream of one document.
      return {
        method: document.Ingest,
        requests: (number) => [
          { begin: { collection: 'written' } },
          {
            sequence: 1,
            document: { id: `d${number}-${process.pid}`, text: `${sentence(number)} ${Date.now()}` },
          },
        ],
      };
    case 'count':
      return { method: document.Count, requests: () => [{ collection }] };
    case 'get':
      return {
        method: document.GetDocuments,
        requests: (number) => [{ collection, documentIds: [id(number)] }],
      };
    case 'list':
      return { method: document.ListDocuments, requests: () => [{ collection, pageSize: 20 }] };
    case 'delete':
      // Documents that are not there: each call does the same work.
      return {
        method: document.Delete,
        requests: (number) => [{ collection, documentIds: [`absent-${number}`] }],
      };
  }
}

/** A vector of length 1, another for each number. */
function vectorOf(number: number, dimensions: number): number[] {
  const values = Array.from({ length: dimensions }, (_, index) => Math.sin(number + index * 1.7));
  const length = Math.hypot(...values);
  return values.map((value) => value / length);
}

/** What the kernel knows of a process. */
export interface Usage {
  /** Processor time, in milliseconds. */
  cpuMs: number;
  rssBytes: number;
}

/** Ticks a second of the kernel's clock, the same on every Linux that Node runs on. */
const CLOCK_TICKS = 100;
const PAGE_BYTES = 4096;

/** Of a process of this machine. @throws where there is no /proc */
export function usageOf(pid: number): Usage {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = Number(fields[11]) + Number(fields[12]);
  return { cpuMs: (ticks * 1000) / CLOCK_TICKS, rssBytes: Number(fields[21]) * PAGE_BYTES };
}
