import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Worker } from 'node:worker_threads';
import { DatabaseSync } from '@photostructure/sqlite';
import { put, rejects, search, SPACE, TENANT } from '../contract/stores.ts';
import { StoreError } from '../errors.ts';
import { Database } from './database.ts';
import { type EmbeddedStore, openEmbeddedStore } from './embedded-store.ts';
import type { Report } from './presence.child.ts';

const CHILD = fileURLToPath(new URL('./presence.child.js', import.meta.url));

let root: string;
let directory: string;
let count = 0;

before(() => {
  root = mkdtempSync(join(tmpdir(), 'scalingnote-presence-'));
});

beforeEach(() => {
  directory = join(root, String(count++));
});

after(() => rmSync(root, { recursive: true }));

/** A store with one document, closed. */
async function fill(): Promise<void> {
  const store = await openEmbeddedStore({ directory });
  await store.ensureCollection('docs', SPACE);
  await store.writeDocuments('docs', [put('a', [[1, 0, 0, 0]])]);
  await store.close();
}

function at(file: string): string {
  return join(directory, file);
}

describe('the marker', () => {
  it('holds the id of the store, and stays the same', async () => {
    await fill();
    const marker = readFileSync(at('store.id'), 'utf8');
    assert.match(marker, /^store_[0-9a-f]{32}\n$/);
    await fill();
    assert.equal(readFileSync(at('store.id'), 'utf8'), marker);
    assert.deepEqual(readdirSync(directory).sort(), ['store.db', 'store.id']);
  });

  it('is made again where it alone is missing', async () => {
    await fill();
    const marker = readFileSync(at('store.id'), 'utf8');
    rmSync(at('store.id'));
    await fill();
    assert.equal(readFileSync(at('store.id'), 'utf8'), marker);
  });

  it('without a database stops the start, and no database is made', async () => {
    await fill();
    rmSync(at('store.db'));
    await rejects(openEmbeddedStore({ directory }), 'STORE_LOST', /store\.db is missing.*remove .*store\.id/);
    assert.deepEqual(readdirSync(directory), ['store.id']);
    rmSync(at('store.id'));
    await fill();
  });

  it('beside an empty database stops the start', async () => {
    await fill();
    truncateSync(at('store.db'));
    await rejects(openEmbeddedStore({ directory }), 'STORE_LOST', /store\.db is empty/);
  });

  it('beside the database of another store stops the start', async () => {
    await fill();
    const first = directory;
    directory = join(root, String(count++));
    await fill();
    copyFileSync(join(first, 'store.db'), at('store.db'));
    await rejects(openEmbeddedStore({ directory }), 'STORE_LOST', /is another store \(store_\w+\) than/);
    rmSync(at('store.id'));
    await fill();
  });

  it('beside a file that is no database says that the store is damaged', async () => {
    await fill();
    writeFileSync(at('store.db'), 'not a database '.repeat(100));
    await rejects(openEmbeddedStore({ directory }), 'STORE_LOST', /store\.db is damaged/);
  });

  it('that holds something else is refused', async () => {
    await fill();
    writeFileSync(at('store.id'), 'anything');
    await rejects(
      openEmbeddedStore({ directory }),
      'STORE_LOST',
      /store\.id does not hold the id of a store/,
    );
  });

  it('is written for a store from before there were markers', async () => {
    await fill();
    rmSync(at('store.id'));
    const old = new DatabaseSync(at('store.db'));
    old.exec('DROP TABLE store');
    old.close();
    const store = await openEmbeddedStore({ directory });
    assert.equal((await search(store, 'docs', [1, 0, 0, 0])).length, 1);
    await store.close();
    assert.match(readFileSync(at('store.id'), 'utf8'), /^store_/);
  });
});

/** What may happen to the folder of a store, and how the store calls it. */
const LOSSES: { name: string; loss: string; message: RegExp; happen: () => void }[] = [
  {
    name: 'the folder is removed',
    loss: 'gone',
    message: /store\.db is gone/,
    happen: () => rmSync(directory, { recursive: true }),
  },
  {
    name: 'the folder is moved',
    loss: 'gone',
    message: /store\.db is gone/,
    happen: () => renameSync(directory, `${directory}-moved`),
  },
  {
    name: 'the folder is replaced by a copy of itself',
    loss: 'replaced',
    message: /store\.db was replaced/,
    happen: () => {
      cpSync(directory, `${directory}-copy`, { recursive: true });
      renameSync(directory, `${directory}-moved`);
      renameSync(`${directory}-copy`, directory);
    },
  },
  {
    name: 'the database is replaced',
    loss: 'replaced',
    message: /store\.db was replaced/,
    happen: () => {
      copyFileSync(at('store.db'), at('copy'));
      renameSync(at('copy'), at('store.db'));
    },
  },
  {
    name: 'the log is removed',
    loss: 'gone',
    message: /store\.db-wal is gone/,
    happen: () => rmSync(at('store.db-wal')),
  },
  {
    name: 'the index of the log is replaced',
    loss: 'replaced',
    message: /store\.db-shm was replaced/,
    happen: () => {
      copyFileSync(at('store.db-shm'), at('copy'));
      renameSync(at('copy'), at('store.db-shm'));
    },
  },
  {
    name: 'the database is cut to nothing',
    loss: 'truncated',
    message: /store\.db was cut to nothing/,
    happen: () => truncateSync(at('store.db')),
  },
];

describe('a store that is in use', () => {
  for (const { name, loss, message, happen } of LOSSES) {
    it(`acknowledges nothing once ${name}`, async () => {
      const store = await openEmbeddedStore({ directory });
      await store.ensureCollection('docs', SPACE);
      await store.writeDocuments('docs', [put('a', [[1, 0, 0, 0]])]);
      happen();
      const lost = await rejectionOf(store.writeDocuments('docs', [put('b', [[1, 0, 0, 0]])]));
      assert.equal(lost.reason, 'STORE_LOST');
      assert.equal(lost.retryable, false);
      assert.equal(lost.metadata['loss'], loss);
      assert.match(lost.message, message);
      assert.match(lost.message, /scalingnote doctor --data /);
      for (const call of [
        () => store.probe(),
        () => store.listCollections(),
        () => search(store, 'docs', [1, 0, 0, 0]),
        () => store.ensureCollection('other', SPACE),
        () => store.count('docs', TENANT),
      ]) {
        await rejects(call(), 'STORE_LOST', message);
      }
      await store.close();
    });
  }

  it('does not acknowledge what was committed to a file that was removed meanwhile', () => {
    const database = new Database(directory, 100);
    database.write(() => database.exec('CREATE TABLE t (a)'));
    assert.throws(
      () =>
        database.write(() => {
          database.exec('INSERT INTO t VALUES (1)');
          rmSync(directory, { recursive: true });
        }),
      (error) => error instanceof StoreError && error.reason === 'STORE_LOST',
    );
    database.close();
  });

  it('is lost once it reads a row that is not what was written', async () => {
    await fill();
    const other = new DatabaseSync(at('store.db'));
    other.exec(`UPDATE passages_1 SET vector = zeroblob(16)`);
    other.close();
    const store = await openEmbeddedStore({ directory });
    await store.probe();
    await rejects(search(store, 'docs', [1, 0, 0, 0]), 'STORE_LOST', /the vector of passage 1 is not what/);
    await rejects(store.probe(), 'STORE_LOST', /the vector of passage 1/);
    await rejects(store.writeDocuments('docs', [put('b', [[1, 0, 0, 0]])]), 'STORE_LOST', /passage 1/);
    await store.close();
  });

  it('notices a loss when it is probed', async () => {
    const store = await openEmbeddedStore({ directory });
    await store.probe();
    rmSync(directory, { recursive: true });
    await rejects(store.probe(), 'STORE_LOST', /is gone/);
    await store.close();
    assert.equal(existsSync(directory), false, 'it is not made again');
  });

  it('notices that it has been cut off', async () => {
    const store = await openEmbeddedStore({ directory });
    await store.ensureCollection('docs', SPACE);
    const documents = Array.from({ length: 500 }, (_, index) =>
      put(`d${index}`, [[1, index, 0, 0]], { title: 'x'.repeat(1000) }),
    );
    await store.writeDocuments('docs', documents);
    const other = new DatabaseSync(at('store.db'));
    other.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    other.close();
    await store.probe();
    truncateSync(at('store.db'), 20 * 8192);
    await rejects(store.probe(), 'STORE_LOST', /was cut off/);
    await store.close();
  });

  it('is not lost when another process compacts it', async () => {
    const store = await openEmbeddedStore({ directory });
    await store.ensureCollection('docs', SPACE);
    const documents = Array.from({ length: 500 }, (_, index) =>
      put(`d${index}`, [[1, index, 0, 0]], { title: 'x'.repeat(1000) }),
    );
    await store.writeDocuments('docs', documents);
    await store.deleteByFilter('docs', TENANT, {});
    const other = new DatabaseSync(at('store.db'));
    other.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    await store.probe();
    other.exec('VACUUM; PRAGMA wal_checkpoint(TRUNCATE)');
    other.close();
    await store.probe();
    await store.writeDocuments('docs', [put('a', [[1, 0, 0, 0]])]);
    assert.equal((await search(store, 'docs', [1, 0, 0, 0])).length, 1);
    await store.close();
  });

  it(
    'takes no write while it is read-only, and goes on once it is not',
    { skip: process.getuid?.() === 0 && 'root may write to every file' },
    async () => {
      const store = await openEmbeddedStore({ directory });
      await store.ensureCollection('docs', SPACE);
      chmodSync(at('store.db'), 0o444);
      await rejects(store.writeDocuments('docs', [put('a', [[1, 0, 0, 0]])]), 'STORE_LOST', /read-only/);
      await rejects(store.probe(), 'STORE_LOST', /read-only/);
      chmodSync(at('store.db'), 0o644);
      await store.writeDocuments('docs', [put('a', [[1, 0, 0, 0]])]);
      await store.close();
    },
  );

  it('is not made anew by a thread that takes over from one that died', async () => {
    for (const replace of [false, true]) {
      directory = join(root, String(count++));
      const workers: Worker[] = [];
      const onWorker = (worker: Worker): void => void workers.push(worker);
      process.on('worker', onWorker);
      const store = await openEmbeddedStore({ directory });
      process.off('worker', onWorker);
      await store.ensureCollection('docs', SPACE);
      await workers[0]!.terminate();
      rmSync(directory, { recursive: true });
      if (replace) await fill();
      const message = replace ? /is another store than the one that this process used/ : /is gone/;
      await rejects(store.probe(), 'STORE_LOST', message);
      await rejects(store.writeDocuments('docs', [put('a', [[1, 0, 0, 0]])]), 'STORE_LOST', message);
      await store.close();
      assert.equal(existsSync(directory), replace);
    }
  });
});

describe('a process that writes', () => {
  let child: ChildProcess | undefined;

  /** Runs a process that writes, does something to its folder after some acknowledgements, and returns how it ended. */
  async function writeUntil(acknowledgements: number, happen: () => void) {
    const acknowledged: number[] = [];
    let refused: Extract<Report, { kind: 'refused' }> | undefined;
    let happened = Number.POSITIVE_INFINITY;
    child = fork(CHILD, [directory], { stdio: ['ignore', 'inherit', 'pipe', 'ipc'] });
    let stderr = '';
    child.stderr!.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    child.on('message', (report: Report) => {
      if (report.kind === 'refused') refused = report;
      else acknowledged.push(report.number);
      if (acknowledged.length < acknowledgements || Number.isFinite(happened)) return;
      happen();
      happened = acknowledged.length;
    });
    const [code] = (await once(child, 'exit')) as [number | null];
    assert.equal(stderr, '');
    assert.equal(code, 0);
    assert.ok(acknowledged.length >= happened);
    return { acknowledged, refused: refused! };
  }

  it('is refused once its folder is removed, and does not make it again', async () => {
    const { refused } = await writeUntil(20, () => rmSync(directory, { recursive: true }));
    assert.equal(refused.reason, 'STORE_LOST');
    assert.equal(refused.probe, 'STORE_LOST');
    assert.equal(refused.loss, 'gone');
    assert.equal(existsSync(directory), false);
  });

  it('is refused once its database is replaced; what it acknowledged before the loss is in the old file', async () => {
    const { acknowledged, refused } = await writeUntil(20, () => {
      renameSync(directory, `${directory}-old`);
      mkdirSync(directory);
    });
    assert.equal(refused.reason, 'STORE_LOST');
    assert.deepEqual(readdirSync(directory), []);
    rmSync(directory, { recursive: true });
    renameSync(`${directory}-old`, directory);
    const store: EmbeddedStore = await openEmbeddedStore({ directory });
    const keys = acknowledged.map((number) => ({ tenant: TENANT, documentId: `d${number}` }));
    const found = await store.lookupDocuments('docs', keys);
    assert.ok(found.every((document) => document !== undefined));
    await store.close();
  });
});

async function rejectionOf(promise: Promise<unknown>) {
  const error = await promise.then(
    () => assert.fail('it was acknowledged'),
    (failure: unknown) => failure,
  );
  assert.ok(error instanceof StoreError, String(error));
  return error;
}
