import assert from 'node:assert/strict';
import {
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
  closeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { DatabaseSync } from '@photostructure/sqlite';
import { put, rejects, search, SPACE, TENANT } from '../contract/stores.ts';
import { StoreError, type StoreErrorReason } from '../errors.ts';
import { Database } from './database.ts';
import { openEmbeddedStore } from './embedded-store.ts';

let root: string;
let directory: string;
let count = 0;

before(() => {
  root = mkdtempSync(join(tmpdir(), 'scalingnote-database-'));
});

beforeEach(() => {
  directory = join(root, String(count++));
});

after(() => rmSync(root, { recursive: true }));

function refuses(reason: StoreErrorReason, message: RegExp): void {
  assert.throws(
    () => new Database(directory, 100),
    (error) => error instanceof StoreError && error.reason === reason && message.test(error.message),
  );
}

describe('opening a store', () => {
  it('makes its directory', async () => {
    directory = join(directory, 'deep', 'down');
    const store = await openEmbeddedStore({ directory });
    await store.close();
    assert.ok(statSync(join(directory, 'store.db')).size > 0);
  });

  it('refuses a directory that is a file', async () => {
    writeFileSync(directory, 'x');
    refuses('STORE_INVALID_ARGUMENT', /directory/);
    await rejects(openEmbeddedStore({ directory }), 'STORE_INVALID_ARGUMENT', /directory/);
  });

  it('refuses a file that is not a database, and does not change it', () => {
    mkdirSync(directory);
    writeFileSync(join(directory, 'store.db'), 'not a database '.repeat(100));
    refuses('STORE_INVALID_ARGUMENT', /store\.db is not a scalingnote store/);
    assert.equal(readFileSync(join(directory, 'store.db'), 'utf8'), 'not a database '.repeat(100));
  });

  it('refuses a database of another program, and does not change it', () => {
    mkdirSync(directory);
    const foreign = new DatabaseSync(join(directory, 'store.db'));
    foreign.exec('CREATE TABLE theirs (a)');
    foreign.close();
    const bytes = readFileSync(join(directory, 'store.db'));
    refuses('STORE_INVALID_ARGUMENT', /not a scalingnote store/);
    assert.deepEqual(readFileSync(join(directory, 'store.db')), bytes);
  });

  it('refuses a store of a newer version', () => {
    new Database(directory, 100).close();
    const newer = new DatabaseSync(join(directory, 'store.db'));
    newer.exec('PRAGMA user_version = 99');
    newer.close();
    refuses('STORE_INVALID_ARGUMENT', /newer version/);
  });

  it('waits for another that makes the same store', async (t) => {
    const stores = await Promise.all(Array.from({ length: 4 }, () => openEmbeddedStore({ directory })));
    t.after(() => Promise.all(stores.map((store) => store.close())));
    await Promise.all(stores.map((store, index) => store.ensureCollection(`c${index}`, SPACE)));
    assert.deepEqual(
      (await stores[0]!.listCollections()).map(({ name }) => name),
      ['c0', 'c1', 'c2', 'c3'],
    );
  });
});

describe('a transaction', () => {
  it('is synced to disk before it is acknowledged', () => {
    const database = new Database(directory, 100);
    assert.deepEqual({ ...(database.prepare('PRAGMA synchronous').get() as object) }, { synchronous: 2 });
    assert.deepEqual(
      { ...(database.prepare('PRAGMA journal_mode').get() as object) },
      { journal_mode: 'wal' },
    );
    assert.deepEqual({ ...(database.prepare('PRAGMA page_size').get() as object) }, { page_size: 8192 });
    database.close();
  });

  it('writes nothing when it fails, and the next transaction works', () => {
    const database = new Database(directory, 100);
    database.write(() => database.exec('CREATE TABLE t (a)'));
    const failure = new Error('half way');
    assert.throws(
      () =>
        database.write(() => {
          database.exec('INSERT INTO t VALUES (1)');
          throw failure;
        }),
      failure,
    );
    assert.deepEqual(
      database.read(() => database.prepare('SELECT * FROM t').all()),
      [],
    );
    database.close();
  });

  it('that finds the disk full fails as a whole and can be tried again', () => {
    const database = new Database(directory, 100);
    database.write(() => database.exec('CREATE TABLE t (a BLOB)'));
    const { page_count: pages } = database.prepare('PRAGMA page_count').get() as { page_count: number };
    const fill = (): void =>
      database.write(() => {
        for (let row = 0; row < 100; row++) database.exec('INSERT INTO t VALUES (zeroblob(8192))');
      });
    database.exec(`PRAGMA max_page_count = ${pages + 10}`);
    assert.throws(
      fill,
      (error) => error instanceof StoreError && error.reason === 'STORE_FULL' && !error.retryable,
    );
    assert.deepEqual(
      { ...(database.prepare('SELECT count(*) AS rows FROM t').get() as object) },
      { rows: 0 },
    );
    database.exec('PRAGMA max_page_count = 100000');
    fill();
    assert.deepEqual(
      { ...(database.prepare('SELECT count(*) AS rows FROM t').get() as object) },
      { rows: 100 },
    );
    database.close();
  });

  it('waits for the lock of another process until the busy timeout; reads go on', async (t) => {
    const store = await openEmbeddedStore({ directory, busyTimeoutMs: 50 });
    t.after(() => store.close());
    await store.ensureCollection('docs', SPACE);
    await store.writeDocuments('docs', [put('a', [[1, 0, 0, 0]])]);
    const other = new DatabaseSync(join(directory, 'store.db'));
    other.exec('BEGIN IMMEDIATE');
    await rejects(store.writeDocuments('docs', [put('b', [[1, 0, 0, 0]])]), 'STORE_UNAVAILABLE', /locked/);
    assert.equal((await search(store, 'docs', [1, 0, 0, 0])).length, 1);
    other.exec('COMMIT');
    other.close();
    await store.writeDocuments('docs', [put('b', [[1, 0, 0, 0]])]);
    assert.equal((await search(store, 'docs', [1, 0, 0, 0])).length, 2);
  });
});

describe('a damaged store', () => {
  it('says so', async (t) => {
    const store = await openEmbeddedStore({ directory });
    await store.ensureCollection('docs', SPACE);
    const documents = Array.from({ length: 500 }, (_, index) =>
      put(`d${index}`, [[1, index, 0, 0]], { title: 'x'.repeat(1000) }),
    );
    await store.writeDocuments('docs', documents);
    await store.close();

    const path = join(directory, 'store.db');
    const file = openSync(path, 'r+');
    // Damage all pages but the first, which hold the catalog.
    const from = 20 * 8192;
    writeSync(file, Buffer.alloc(statSync(path).size - from, 0x5a), 0, undefined, from);
    closeSync(file);

    const damaged = await openEmbeddedStore({ directory });
    t.after(() => damaged.close());
    await rejects(damaged.scroll('docs', TENANT, { limit: 1000 }), 'STORE_LOST', /damaged/);
  });
});
