import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { QueryClient } from '../../clients/index.ts';
import { type Process, startService } from '../../services/runtime/testing/processes.ts';
import { openStore } from '../../store/open.ts';
import { openTower } from '../../towers/open.ts';
import { passageTerms } from '../../towers/terms.ts';

/** Query services over one store, and a steady load on them. */

const TOWER = 'all-MiniLM-L6-v2-lookup';
const TEXTS = [
  'a physicist who studies astronomy',
  'someone who bakes bread or cake',
  'any member of a ship’s crew',
];

/** A collection of a few documents in a store of its own. */
export class Site {
  static readonly collection = 'people';
  readonly #data = mkdtempSync(join(tmpdir(), 'scalingnote-site-'));
  readonly #services = new Set<Process>();

  /** Makes the collection. */
  async fill(): Promise<void> {
    const store = await openStore({ kind: 'embedded', directory: this.#data });
    const tower = await openTower(TOWER);
    await store.ensureCollection(Site.collection, tower.manifest.space);
    for (const text of TEXTS) {
      const { vector } = await tower.encode(await tower.tokenize(text));
      const passages = [{ vector, sparse: passageTerms(text), text }];
      const fixed = { kind: 'put', tenant: '', version: 0, title: '', metadata: {} } as const;
      await store.writeDocuments(Site.collection, [
        { ...fixed, documentId: randomUUID(), contentHash: text, encodingHash: text, passages },
      ]);
    }
    await Promise.all([tower.close(), store.close()]);
  }

  /** Starts a query service. @param address where an earlier one listened; any free port by default */
  async query(address = '127.0.0.1:0'): Promise<Process> {
    const port = address.slice(address.lastIndexOf(':') + 1);
    const quiet = ['--metrics-port', '0', '--log-level', 'error'];
    const service = await startService('query', '--port', port, '--data', this.#data, ...quiet);
    this.#services.add(service);
    return service;
  }

  /** Ends all services, also those that are stopped. */
  async stop(): Promise<void> {
    await Promise.all([...this.#services].map(({ stop }) => stop('SIGKILL')));
    this.#services.clear();
  }

  /** Ends all services and removes the store. */
  async close(): Promise<void> {
    await this.stop();
    rmSync(this.#data, { recursive: true, force: true });
  }
}

/** How one call went. */
export interface Outcome {
  /** When it began, in milliseconds after the load began. */
  at: number;
  ms: number;
  error: Error | undefined;
}

/**
 * Searches at a steady rate, whatever becomes of the calls, for as long as something else takes.
 *
 * @returns how every call went, when all have ended
 */
export async function searchWhile(
  client: QueryClient,
  perSecond: number,
  during: (elapsed: () => number) => Promise<void>,
): Promise<Outcome[]> {
  const began = performance.now();
  const elapsed = (): number => performance.now() - began;
  const calls: Promise<Outcome>[] = [];
  const ask = async (index: number): Promise<Outcome> => {
    const at = elapsed();
    // Each query is another one: no cache answers it.
    const request = { collection: Site.collection, query: `who knows the number ${index}` };
    const error = await client.search(request).then(
      () => undefined,
      (reason: Error) => reason,
    );
    return { at, ms: elapsed() - at, error };
  };
  const state = { isOver: false };
  const work = during(elapsed).finally(() => (state.isOver = true));
  while (!state.isOver) {
    while (calls.length < (elapsed() / 1000) * perSecond) calls.push(ask(calls.length));
    await sleep(2);
  }
  await work;
  return await Promise.all(calls);
}
