/** A process that ends while its store works, for tests: `node exit.child.js DIRECTORY HOW MS`. */
import { setTimeout as sleep } from 'node:timers/promises';
import { direction, put, SPACE, TENANT } from '../contract/stores.ts';
import { openStore } from '../open.ts';

/** Exit code of a process that ends on purpose. */
const EXIT_CODE = 3;

const [directory, how, ms] = process.argv.slice(2) as [
  string,
  'exit' | 'throw' | 'close' | 'closing',
  string,
];
const store = await openStore({ kind: 'embedded', directory });
await store.ensureCollection('docs', SPACE);

/** Keeps the thread of the store busy for as long as the store is open. */
async function load(loader: number): Promise<void> {
  for (let round = 0; ; round++) {
    const documents = Array.from({ length: 100 }, (_, index) =>
      put(`${loader}-${round % 20}-${index}`, [direction(index)], { title: 'x'.repeat(500) }),
    );
    await store.writeDocuments('docs', documents);
    await store.scroll('docs', TENANT, { limit: 500 });
    await store.count('docs', TENANT, { must: [{ field: 'metadata.none', exists: true }] });
  }
}

// They end with the store.
for (const loader of [1, 2, 3]) load(loader).catch(() => {});
await sleep(Number(ms));
process.exitCode = EXIT_CODE;
if (how === 'exit') process.exit();
if (how === 'throw') {
  process.on('uncaughtException', () => process.exit(EXIT_CODE));
  setImmediate(() => {
    throw new Error('on purpose');
  });
}
if (how === 'closing') {
  void store.close();
  setTimeout(() => process.exit(), 1);
}
if (how === 'close') await store.close();
