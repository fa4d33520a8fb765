import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { DatabaseSync } from '@photostructure/sqlite';
import { ids, OTHER_SPACE, put, rejects, search, SPACE, TENANT, update } from '../contract/stores.ts';
import type { SearchHit } from '../queries.ts';
import type { CollectionInfo, Store } from '../store.ts';
import { type FullDocument, passageTexts } from '../document.ts';
import { openEmbeddedStore } from './embedded-store.ts';
import { Engine } from './engine.ts';
import { watchStatements } from './testing/watch-statements.ts';

/** The layout that this program writes; not imported, so that a wrong number is seen. */
const NEWEST = 4;

/** Statements of an upgrade before which a process dies: in the middle and at the end of each transaction. */
const MOMENTS = [
  /ALTER TABLE collections ADD COLUMN identity/,
  /PRAGMA user_version =/,
  /COMMIT/,
  /ADD COLUMN expires_at/,
  /COMMIT/,
  /ADD COLUMN ingest_trace/,
  /COMMIT/,
  /CREATE TABLE words_1/,
  /COMMIT/,
  /CREATE TABLE texts_2/,
  /UPDATE collections SET layout/,
  /COMMIT/,
  /CREATE INDEX expiring_3/,
];

const CHILD = fileURLToPath(new URL('./layouts.child.js', import.meta.url));

/** Stores as released versions wrote them, in the source tree. */
const LAYOUTS = fileURLToPath(new URL('../../../store/embedded/testing/layouts/', import.meta.url));

/** What the version that wrote a store read from it. */
interface Expected {
  aliases: Record<string, string>;
  collections: (Omit<CollectionInfo, 'identity'> & {
    tenants: {
      tenant: string;
      counts: { documents: number; passages: number };
      documents: (Omit<FullDocument, 'passages' | 'textOmitted'> & { texts: string[] })[];
      dense: SearchHit[];
      sparse: SearchHit[];
      deletes: { documentId: string; version: number }[];
    }[];
  })[];
}

let root: string;
let copies = 0;

before(() => {
  root = mkdtempSync(join(tmpdir(), 'scalingnote-layouts-'));
});

after(() => rmSync(root, { recursive: true }));

/** A new folder with the store of a version. */
function copyOf(version: string): string {
  const directory = join(root, String(copies++));
  mkdirSync(directory);
  const file = gunzipSync(readFileSync(join(LAYOUTS, version, 'store.db.gz')));
  writeFileSync(join(directory, 'store.db'), file);
  return directory;
}

function expectedOf(version: string): Expected {
  return JSON.parse(readFileSync(join(LAYOUTS, version, 'expected.json'), 'utf8')) as Expected;
}

/** Asks SQLite itself. */
function query<Row>(directory: string, sql: string): Row[] {
  const database = new DatabaseSync(join(directory, 'store.db'));
  try {
    return database.prepare(sql).all() as Row[];
  } finally {
    database.close();
  }
}

function change(directory: string, sql: string): void {
  const database = new DatabaseSync(join(directory, 'store.db'));
  database.exec(sql);
  database.close();
}

async function withStore<Result>(
  directory: string,
  use: (store: Store) => Promise<Result>,
  warnings: string[] = [],
): Promise<Result> {
  const log = { warn: (line: string) => void warnings.push(line) };
  const store = await openEmbeddedStore({ directory, log });
  try {
    return await use(store);
  } finally {
    await store.close();
  }
}

/** Everything that a store says, compared with what the version that wrote it read. */
async function checkAll(store: Store, expected: Expected): Promise<void> {
  assert.deepEqual(Object.fromEntries(await store.aliases()), expected.aliases);
  const listed = await store.listCollections();
  assert.deepEqual(
    listed.map(({ identity: _identity, ...info }) => info),
    expected.collections.map(({ tenants: _tenants, ...info }) => info),
  );
  for (const { physicalName: name, space, tenants } of expected.collections) {
    assert.deepEqual((await store.tenants(name)).toSorted(), tenants.map(({ tenant }) => tenant).toSorted());
    for (const { tenant, counts, documents, dense, sparse, deletes } of tenants) {
      assert.deepEqual(await store.count(name, tenant), counts);
      assert.deepEqual(
        (await store.scrollDeletes(name, tenant, { limit: 100 })).deletes,
        deletes.map((one) => ({ tenant, ...one })),
      );
      const keys = documents.map(({ documentId }) => ({ tenant, documentId }));
      const read = await store.readDocuments(name, keys, { withVectors: true });
      const { documents: scrolled } = await store.scroll(name, tenant, { limit: 1000, withVectors: true });
      assert.deepEqual(scrolled, read);
      assert.deepEqual(
        read.map(({ passages, ...document }: FullDocument = assert.fail()) => ({
          ...document,
          texts: passageTexts({ passages }),
        })),
        documents.map((document) => ({ ...document, textOmitted: false })),
      );
      for (const { passages } of read as FullDocument[]) {
        for (const { vector } of passages) {
          assert.equal(vector?.length, space.dimensions);
          assert.ok(Math.abs(Math.hypot(...vector) - 1) < 1e-6);
        }
      }
      const vector = Float32Array.from({ length: space.dimensions }, (_, index) => index + 1);
      assert.deepEqual(await store.search(name, { tenant, vector, limit: 10 }), dense);
      const terms = { indices: [7], values: [1] };
      assert.deepEqual(await store.search(name, { tenant, sparse: terms, limit: 10 }), sparse);
      assert.deepEqual(
        await store.lookupDocuments(name, keys),
        documents.map(({ version, contentHash, texts }) => ({
          version,
          contentHash,
          textOmitted: false,
          passages: texts.length,
        })),
      );
    }
  }
}

for (const version of readdirSync(LAYOUTS).filter((entry) => /^\d/.test(entry))) {
  describe(`a store of version ${version}`, () => {
    it('is brought up to date when it is opened, and nothing is lost', async () => {
      const directory = copyOf(version);
      const expected = expectedOf(version);
      const warnings: string[] = [];
      const identities = await withStore(
        directory,
        async (store) => {
          await checkAll(store, expected);
          return (await store.listCollections()).map(({ identity }) => identity);
        },
        warnings,
      );
      assert.equal(warnings.length, expected.collections.length, warnings.join('\n'));
      assert.match(warnings[0]!, /"docs--sp1_01234567" was brought from layout 1 to layout 4/);
      assert.equal(new Set(identities).size, expected.collections.length);
      for (const identity of identities) assert.match(identity, /^col_[0-9a-f]{32}$/);
      await withStore(
        directory,
        async (store) => {
          await checkAll(store, expected);
          const again = (await store.listCollections()).map(({ identity }) => identity);
          assert.deepEqual(again, identities, 'identities stay');
        },
        warnings,
      );
      assert.equal(warnings.length, expected.collections.length, 'the second opening has nothing to do');
      assert.deepEqual(
        query<{ integrity_check: string }>(directory, 'PRAGMA integrity_check').map((row) => ({ ...row })),
        [{ integrity_check: 'ok' }],
      );
    });

    it('then has the tables that a new store has', async () => {
      const directory = copyOf(version);
      await withStore(directory, (store) => store.probe());
      const fresh = join(root, String(copies++));
      await withStore(fresh, async (store) => {
        await store.ensureCollection('docs', SPACE);
        await store.ensureCollection('docs--sp1_fedcba98', { ...OTHER_SPACE, dimensions: 3 });
        await store.ensureCollection('empty', SPACE);
      });
      const schema = (of: string) =>
        query<{ name: string; sql: string | null }>(
          of,
          'SELECT name, sql FROM sqlite_schema ORDER BY name',
        ).map(({ name, sql }) => ({ name, sql: sql?.replaceAll(/\s+/g, ' ') }));
      assert.deepEqual(schema(directory), schema(fresh));
    });

    it('takes writes of today', async () => {
      const directory = copyOf(version);
      await withStore(directory, async (store) => {
        const write = async (...writes: Parameters<Store['writeDocuments']>[1]) =>
          (await store.writeDocuments('docs', writes)).map(({ outcome }) => outcome);
        const vectors = [[1, 0, 0, 0]];
        assert.deepEqual(
          await write(
            put('gone', vectors, { tenant: '', version: 4 }),
            // Nothing is known of the title and text of a document from before.
            update('a', { tenant: '', version: 3, expected: { encodingHash: 'encoding hash of a' } }),
            update('a', {
              tenant: '',
              version: 4,
              expected: { contentHash: 'hash of a' },
              metadata: { price: 99 },
            }),
            put('b', vectors, { tenant: '', version: 7, text: 'whole' }),
            put('soon', vectors, { tenant: '', expiresAt: 1 }),
          ),
          ['stale', 'changed', 'updated', 'indexed', 'indexed'],
        );
        const filter = { must: [{ field: 'metadata.price', equals: 99 }] };
        assert.deepEqual(ids(await search(store, 'docs', [1, 0, 0, 0], { tenant: '', filter })), ['a']);
        const keys = ['a', 'b', 'soon'].map((documentId) => ({ tenant: '', documentId }));
        const [a, b, soon] = await store.readDocuments('docs', keys);
        assert.deepEqual(
          [a?.version, a?.encodingHash, a?.textOmitted, a?.passages.length],
          [4, undefined, false, 3],
        );
        assert.deepEqual([b?.text, b?.encodingHash], ['whole', 'encoding hash of b']);
        assert.equal(soon, undefined);
      });
    });

    it('is brought up to date once when several open it', async () => {
      const directory = copyOf(version);
      const warnings: string[] = [];
      const log = { warn: (line: string) => void warnings.push(line) };
      const stores = await Promise.all([1, 2, 3].map(() => openEmbeddedStore({ directory, log })));
      const listed = await Promise.all(stores.map((store) => store.listCollections()));
      await Promise.all(stores.map((store) => store.close()));
      for (const list of listed) assert.deepEqual(list, listed[0]);
      await withStore(directory, (store) => checkAll(store, expectedOf(version)));
    });

    it('is whole after a process was killed at any moment of it', async () => {
      const expected = expectedOf(version);
      const seen = new Set<string>();
      for (const statement of momentsOf(version)) {
        const directory = copyOf(version);
        const child = spawnSync(process.execPath, [CHILD, directory, String(statement)], {
          encoding: 'utf8',
        });
        assert.equal(child.signal, 'SIGKILL', child.stderr);
        seen.add(layoutsOf(directory));
        const warnings: string[] = [];
        await withStore(directory, (store) => checkAll(store, expected), warnings);
        for (const warning of warnings) assert.match(warning, /was brought from layout [123]/);
        assert.equal(layoutsOf(directory), expected.collections.map(() => NEWEST).join());
      }
      assert.deepEqual([...seen], ['no layout', '1,1,1', '2,1,1', '3,1,1', '4,1,1', '4,4,1']);
    });
  });
}

/** The numbers of the statements that {@link MOMENTS} names, one after the other. */
function momentsOf(version: string): number[] {
  const statements: string[] = [];
  const end = watchStatements((sql) => void statements.push(sql));
  try {
    new Engine(copyOf(version), 5000, () => {}).close();
  } finally {
    end();
  }
  let from = 0;
  return MOMENTS.map((moment) => {
    const index = statements.findIndex((sql, at) => at >= from && moment.test(sql));
    assert.notEqual(index, -1, `no ${String(moment)}`);
    from = index + 1;
    return index + 1;
  });
}

/** The layout of each collection as the catalog has it; each collection's tables have to be those of its layout. */
function layoutsOf(directory: string): string {
  const [check] = query<object>(directory, 'PRAGMA integrity_check');
  assert.deepEqual({ ...check }, { integrity_check: 'ok' });
  const isOld = query<{ name: string }>(directory, `SELECT name FROM pragma_table_info('collections')`).every(
    ({ name }) => name !== 'layout',
  );
  const [version] = query<{ user_version: number }>(directory, 'PRAGMA user_version');
  assert.equal(version?.user_version, isOld ? 1 : 2);
  const rows = isOld
    ? query<{ id: number; layout: number }>(directory, 'SELECT id, 1 AS layout FROM collections')
    : query<{ id: number; layout: number }>(directory, 'SELECT id, layout FROM collections ORDER BY id');
  for (const { id, layout } of rows) {
    const names = ['documents', 'passages', 'texts', 'words'].flatMap((table) =>
      query<{ name: string }>(directory, `SELECT name FROM pragma_table_info('${table}_${id}')`),
    );
    for (const [since, added] of [
      [2, ['encoding_hash', 'expires_at', 'text_kept', 'span_start', 'span_end', 'document']],
      [3, ['ingested_at', 'ingest_sequence', 'ingest_trace', 'position']],
      [4, ['words', 'word']],
    ] as const) {
      const there = added.filter((column) => names.some(({ name }) => name === column));
      assert.deepEqual(there, layout < since ? [] : added, `collection ${id} has layout ${layout}`);
    }
  }
  return isOld ? 'no layout' : rows.map(({ layout }) => layout).join();
}

describe('a collection of a layout that this program does not know', () => {
  /** A store with two collections, "docs" and "other". */
  const twoCollections = async () => {
    const directory = join(root, String(copies++));
    await withStore(directory, async (store) => {
      for (const name of ['docs', 'other']) {
        await store.ensureCollection(name, SPACE);
        await store.writeDocuments(name, [put('a', [[1, 0, 0, 0]])]);
      }
    });
    return directory;
  };

  it('is refused by name where it is newer, and the others work', async () => {
    const directory = await twoCollections();
    change(directory, `UPDATE collections SET layout = 5 WHERE physical LIKE 'docs--%'`);
    await withStore(directory, async (store) => {
      const message = /"docs--sp1_01234567" has layout 5, but this program knows layouts up to 4/;
      for (const call of [
        store.findCollection('docs'),
        store.ensureCollection('docs', SPACE),
        store.writeDocuments('docs', [put('b', [[1, 0, 0, 0]])]),
        store.count('docs', TENANT),
        search(store, 'docs', [1, 0, 0, 0]),
        store.listCollections(),
      ]) {
        await rejects(call, 'COLLECTION_LAYOUT', message);
      }
      await store.prepare(SPACE.fingerprint);
      await store.probe();
      assert.equal((await search(store, 'other', [1, 0, 0, 0])).length, 1);
    });
    assert.equal(
      query<{ documents: number }>(directory, 'SELECT count(*) AS documents FROM documents_1')[0]?.documents,
      1,
      'it is left as it is',
    );
  });

  it('is brought up to date from layout 2, where no document said how it came in', async () => {
    const directory = await twoCollections();
    for (const column of ['ingested_at', 'ingest_sequence', 'ingest_trace', 'position']) {
      for (const id of [1, 2]) change(directory, `ALTER TABLE documents_${id} DROP COLUMN ${column}`);
    }
    for (const id of [1, 2]) {
      change(directory, `ALTER TABLE passages_${id} DROP COLUMN words`);
      for (const table of ['words', 'analysis']) change(directory, `DROP TABLE ${table}_${id}`);
    }
    change(directory, 'UPDATE collections SET layout = 2');
    const warnings: string[] = [];
    const key = { tenant: TENANT, documentId: 'a' };
    const ingested = { at: 1_700_000_000_000, sequence: 3, trace: 'ab'.repeat(16) };
    await withStore(
      directory,
      async (store) => {
        assert.deepEqual(await store.findOrigins('docs', [key]), [{}]);
        assert.equal((await store.readDocuments('docs', [key]))[0]!.ingested, undefined);
        await store.writeDocuments('docs', [update('a', { ingested })]);
        const [origin] = await store.findOrigins('docs', [key]);
        const { position } = await store.freshness('docs', { tenant: TENANT });
        assert.deepEqual(origin, { ingested, position });
        assert.deepEqual(await store.findOrigins('other', [key]), [{}]);
      },
      warnings,
    );
    assert.equal(warnings.filter((line) => /was brought from layout 2 to layout 4/.test(line)).length, 2);
    await withStore(directory, async (store) => {
      assert.deepEqual((await store.findOrigins('docs', [key]))[0]?.ingested, ingested);
    });
  });

  it('is refused with what rebuilds it where it can not be brought up to date', async () => {
    const directory = copyOf('0.1.0');
    change(directory, 'DROP TABLE passages_2');
    const warnings: string[] = [];
    await withStore(
      directory,
      async (store) => {
        const name = 'docs--sp1_fedcba98';
        await rejects(
          store.findCollection(name),
          'COLLECTION_LAYOUT',
          /"scalingnote drop docs--sp1_fedcba98"/,
        );
        assert.equal((await store.findCollection('docs')).name, 'docs');
        await store.dropCollection(name);
        await store.ensureCollection(name, { ...OTHER_SPACE, dimensions: 3 });
        assert.deepEqual(await store.count(name, ''), { documents: 0, passages: 0 });
      },
      warnings,
    );
    assert.equal(
      warnings.filter((line) => /can't be brought to layout 4: .*passages_2/.test(line)).length,
      1,
    );
    assert.deepEqual(
      query(directory, `SELECT name FROM sqlite_schema WHERE name LIKE '%\\_2' ESCAPE '\\'`),
      [],
    );
  });
});
