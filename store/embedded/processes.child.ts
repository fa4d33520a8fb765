/**
 * Another process that uses a store, for tests: `node processes.child.js DIRECTORY`. It answers each command,
 * and after `write` it keeps writing.
 */
import { openStore } from '../open.ts';
import { direction, put, SPACE, TENANT } from '../contract/stores.ts';
import type { StoreError } from '../errors.ts';
import type { SpaceKey, Store } from '../store.ts';

export type Command =
  | { kind: 'ensure'; name: string; space: SpaceKey }
  /** Puts versions of one document, each in a write of its own. */
  | { kind: 'versions'; name: string; documentId: string; versions: readonly number[] }
  /** Puts documents `PREFIX-0`, `PREFIX-1`, ..., three in a write, without end. */
  | { kind: 'write'; name: string; prefix: string }
  | { kind: 'search'; name: string; vector: readonly number[] };

export type Report =
  | { kind: 'ready' }
  | { kind: 'ensured'; outcome: string }
  | { kind: 'written' }
  /** The store has acknowledged every document up to this number. */
  | { kind: 'acknowledged'; last: number }
  | { kind: 'found'; ids: string[] };

/** Documents in each write of the command `write`. */
const DOCUMENTS = 3;

function report(message: Report): void {
  process.send!(message);
}

async function obey(store: Store, command: Command): Promise<void> {
  switch (command.kind) {
    case 'ensure':
      await store.ensureCollection(command.name, command.space).then(
        ({ space }) => report({ kind: 'ensured', outcome: space.fingerprint }),
        (error: unknown) => report({ kind: 'ensured', outcome: (error as StoreError).reason }),
      );
      break;
    case 'versions':
      for (const version of command.versions) {
        const vectors = Array.from({ length: (version % 3) + 1 }, () => [1, version, 0, 0]);
        await store.writeDocuments(command.name, [put(command.documentId, vectors, { version })]);
      }
      report({ kind: 'written' });
      break;
    case 'write':
      for (let last = DOCUMENTS - 1; process.connected; last += DOCUMENTS) {
        const numbers = Array.from({ length: DOCUMENTS }, (_, index) => last - index);
        await store.writeDocuments(
          command.name,
          numbers.map((number) => put(`${command.prefix}-${number}`, [direction(number), [0, 0, 1, 0]])),
        );
        report({ kind: 'acknowledged', last });
      }
      break;
    case 'search': {
      const vector = Float32Array.from(command.vector);
      const hits = await store.search(command.name, { tenant: TENANT, vector, limit: 10 });
      report({ kind: 'found', ids: hits.map(({ documentId }) => documentId) });
      break;
    }
    default:
      throw new Error(`unknown command ${JSON.stringify(command satisfies never)}`);
  }
}

const store = await openStore({ kind: 'embedded', directory: process.argv[2]! });
await store.ensureCollection('shared', SPACE);
process.on('message', (command: Command) => void obey(store, command));
process.on('disconnect', () => void store.close());
report({ kind: 'ready' });
