import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { FakeStore } from '../../services/query/testing/fakes.ts';
import { MAX_RECEIVE_BYTES, queryService } from '../../services/query/service.ts';
import { towerFiles } from '../../services/query/tower-files.ts';
import { serveService, type Harness } from '../../services/runtime/testing/harness.ts';
import { physicalName } from '../../store/store.ts';
import { openTower } from '../../towers/open.ts';
import type { Tower } from '../../towers/tower.ts';

/** The example page on one origin, and on another the query service with the shipped lookup, which it serves. */
export interface WebSystem {
  /** Address of the page, with a slash at its end. */
  page: string;
  /** Address of the service. */
  service: string;
  space: string;
  tower: Tower;
  /** Searches are answered from its collection "docs". */
  store: FakeStore;
  stop(): Promise<void>;
}

/** Titles and texts of the collection. */
export const DOCUMENTS: readonly [title: string, text: string][] = [
  ['astronomer', 'A person who studies stars, planets and galaxies.'],
  ['baker', 'A person who bakes bread.'],
  [
    '<img src=x onerror="window.hacked = true">',
    'Stars <script>window.hacked = true</script> & <b>bread</b>.',
  ],
  ['café', 'A place where CAFÉ is drunk under the stars.'],
  ['observatory', 'A building from which stars are watched.'],
];

export async function startWebSystem(): Promise<WebSystem> {
  const started: (() => Promise<unknown>)[] = [];
  const stop = async (): Promise<void> => {
    for (const each of started.reverse()) await each();
  };
  try {
    const script = fileURLToPath(new URL('../../../examples/web/serve.js', import.meta.url));
    const example: ChildProcess = spawn(process.execPath, [script, '0'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    started.push(async () => {
      example.kill();
      if (example.exitCode === null && example.signalCode === null) await once(example, 'exit');
    });
    const [line] = (await once(example.stdout!, 'data')) as [Buffer];
    const page = line.toString().trim();
    const tower = await openTower('all-MiniLM-L6-v2-lookup');
    started.push(() => tower.close());
    const { fingerprint } = tower.manifest.space;
    const store = new FakeStore();
    const collection = physicalName('docs', fingerprint);
    await store.ensureCollection(collection, { fingerprint, dimensions: tower.manifest.dimensions });
    await store.switchAlias('docs', collection);
    const writes = DOCUMENTS.map(async ([title, text], index) => ({
      kind: 'put' as const,
      tenant: '',
      documentId: `d${index}`,
      version: 1,
      contentHash: text,
      encodingHash: text,
      title,
      metadata: {},
      passages: [{ vector: (await tower.encode(await tower.tokenize(`${title}. ${text}`))).vector, text }],
    }));
    await store.writeDocuments(collection, await Promise.all(writes));
    const log = pino({ level: 'silent' });
    const service: Harness = await serveService(
      queryService({ tower, store, slots: 4, queue: 64, cache: 0, defaultCollection: '', log }),
      {
        log,
        maxReceiveBytes: MAX_RECEIVE_BYTES,
        corsOrigins: [new URL(page).origin],
        routes: [await towerFiles(tower)],
      },
    );
    started.push(() => service.stop());
    return { page, service: `http://${service.server.address}`, space: fingerprint, tower, store, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
