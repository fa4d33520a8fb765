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

/** What is called. */
export const RPCS = ['encode', 'search', 'ingest'] as const;
export type Rpc = (typeof RPCS)[number];

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

  async fill(): Promise<void> {
    const store = await openStore({ kind: 'embedded', directory: this.#data });
    const tower = await openTower(QUERY_TOWER);
    await store.ensureCollection(COLLECTION, tower.manifest.space);
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
    const { Encode, Search } = v1.QueryService.service;
    const { Ingest } = v1.DocumentService.service;
    const numbers = Array.from({ length: DISTINCT }, (_, number) => number);
    const quiet = ['--port', '0', '--metrics-port', '0', '--log-level', 'error', '--data', this.#data];
    const service = await startService(rpc === 'ingest' ? 'document' : 'query', ...quiet, ...flags);
    this.#services.push(service);
    switch (rpc) {
      case 'encode':
        return {
          path: Encode.path,
          bodies: numbers.map((number) => framed(Encode.requestSerialize({ texts: [sentence(number)] }))),
          service,
        };
      case 'search':
        return {
          path: Search.path,
          bodies: numbers.map((number) =>
            framed(Search.requestSerialize({ collection: COLLECTION, query: sentence(number) })),
          ),
          service,
        };
      case 'ingest': {
        // A call is a stream of one document.
        const begin = framed(Ingest.requestSerialize({ begin: { collection: 'written' } }));
        return {
          path: Ingest.path,
          bodies: numbers.map((number) =>
            Buffer.concat([
              begin,
              framed(
                Ingest.requestSerialize({
                  sequence: 1,
                  document: { id: `d${number}-${process.pid}`, text: `${sentence(number)} ${Date.now()}` },
                }),
              ),
            ]),
          ),
          service,
        };
      }
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#services.map(({ stop }) => stop('SIGKILL')));
    rmSync(this.#data, { recursive: true, force: true });
  }
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
