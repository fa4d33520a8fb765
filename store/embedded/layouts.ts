import { StoreError } from '../errors.ts';
import { newIdentity } from '../names.ts';
import type { Database } from './database.ts';

/** Version of the catalog, and `user_version` of the file: a program reads no file whose version is higher than its own. */
export const CATALOG_VERSION = 2;

/** The layout of a collection's tables that this program reads and writes. */
export const LAYOUT = 4;

/** What brings the catalog from the version before to each version; it runs in the transaction that sets the version. */
const CATALOG_STEPS: readonly ((database: Database) => void)[] = [
  (database) =>
    database.exec(`
      CREATE TABLE collections (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        physical TEXT NOT NULL UNIQUE,
        fingerprint TEXT NOT NULL,
        dimensions INTEGER NOT NULL
      );
      CREATE TABLE aliases (
        alias TEXT PRIMARY KEY,
        collection INTEGER NOT NULL REFERENCES collections (id) ON DELETE CASCADE
      );
    `),
  (database) => {
    database.exec(`
      ALTER TABLE collections ADD COLUMN layout INTEGER NOT NULL DEFAULT 1;
      ALTER TABLE collections ADD COLUMN identity TEXT;
    `);
    const rows = database.prepare('SELECT id FROM collections').all() as { id: number }[];
    const name = database.prepare('UPDATE collections SET identity = ? WHERE id = ?');
    for (const { id } of rows) name.run(newIdentity(), id);
  },
];

/**
 * What brings a collection's tables from the layout before to each layout. A step never changes once a version with it
 * has been released: a new collection is made by the same steps, so it is like one that was brought up to date.
 *
 * Each collection has its own tables, so that a drop does not delete row by row.
 *
 * - A row of `documents` is one put. A later put of the same document is a new row with a new, higher id; an update
 *   changes the row. Its passages are the `passages` rows from `first_passage` on.
 * - `changes` is the log that mirrors follow.
 * - `deletions` remembers the versions of deletes.
 * - `tenants` holds each tenant's counts.
 * - `words` holds the words of each tenant, with counts; `analysis` at most one row, what `CollectionKey.analysis` says.
 * - `texts` holds whole texts, apart from `documents` so that scans do not read them; see `TextKept`.
 */
const STEPS: readonly ((database: Database, collection: number) => void)[] = [
  (database, collection) =>
    database.exec(`
      CREATE TABLE tenants_${collection} (
        id INTEGER PRIMARY KEY,
        tenant BLOB NOT NULL UNIQUE,
        documents INTEGER NOT NULL DEFAULT 0,
        passages INTEGER NOT NULL DEFAULT 0
      );
      CREATE TABLE documents_${collection} (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        tenant INTEGER NOT NULL,
        document_id BLOB NOT NULL,
        version INTEGER NOT NULL,
        content_hash BLOB NOT NULL,
        first_passage INTEGER NOT NULL,
        passages INTEGER NOT NULL,
        title BLOB NOT NULL,
        metadata TEXT NOT NULL,
        UNIQUE (tenant, document_id)
      );
      CREATE TABLE passages_${collection} (
        id INTEGER PRIMARY KEY,
        vector BLOB NOT NULL,
        sparse BLOB,
        text BLOB
      );
      CREATE TABLE deletions_${collection} (
        tenant INTEGER NOT NULL,
        document_id BLOB NOT NULL,
        version INTEGER NOT NULL,
        PRIMARY KEY (tenant, document_id)
      ) WITHOUT ROWID;
      CREATE TABLE changes_${collection} (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        tenant INTEGER NOT NULL,
        removed INTEGER,
        added INTEGER
      );
    `),
  // Documents from before have no encoding hash and no checksums, do not expire, and nothing is known of their whole text.
  (database, collection) =>
    database.exec(`
      ALTER TABLE documents_${collection} ADD COLUMN encoding_hash BLOB;
      ALTER TABLE documents_${collection} ADD COLUMN expires_at INTEGER;
      ALTER TABLE documents_${collection} ADD COLUMN text_kept INTEGER NOT NULL DEFAULT 0;
      ALTER TABLE passages_${collection} ADD COLUMN span_start INTEGER;
      ALTER TABLE passages_${collection} ADD COLUMN span_end INTEGER;
      ALTER TABLE passages_${collection} ADD COLUMN vector_sum INTEGER;
      ALTER TABLE passages_${collection} ADD COLUMN sparse_sum INTEGER;
      ALTER TABLE passages_${collection} ADD COLUMN text_sum INTEGER;
      ALTER TABLE documents_${collection} ADD COLUMN title_sum INTEGER;
      ALTER TABLE documents_${collection} ADD COLUMN metadata_sum INTEGER;
      CREATE TABLE texts_${collection} (
        document INTEGER PRIMARY KEY,
        text BLOB NOT NULL,
        sum INTEGER NOT NULL
      );
      CREATE INDEX expiring_${collection} ON documents_${collection} (expires_at, tenant, passages)
        WHERE expires_at IS NOT NULL;
    `),
  // How a document came in, and the position of its tenant from which on it is there; NULL for documents from before.
  (database, collection) =>
    database.exec(`
      ALTER TABLE documents_${collection} ADD COLUMN ingested_at INTEGER;
      ALTER TABLE documents_${collection} ADD COLUMN ingest_sequence INTEGER;
      ALTER TABLE documents_${collection} ADD COLUMN ingest_trace TEXT;
      ALTER TABLE documents_${collection} ADD COLUMN position INTEGER;
    `),
  // The words of passages, and in how many passages of its tenant each is; see `words.ts`.
  (database, collection) =>
    database.exec(`
      ALTER TABLE passages_${collection} ADD COLUMN words TEXT;
      CREATE TABLE words_${collection} (
        tenant INTEGER NOT NULL,
        word TEXT NOT NULL,
        passages INTEGER NOT NULL,
        PRIMARY KEY (tenant, word)
      ) WITHOUT ROWID;
      CREATE TABLE analysis_${collection} (record TEXT NOT NULL);
    `),
];

/** Makes the catalog, or brings it up to date. The caller runs this in a transaction, and sets the version in it. */
export function upgradeCatalog(database: Database, version: number): void {
  for (const step of CATALOG_STEPS.slice(version)) step(database);
}

/** Makes the tables of one collection. The caller runs this in a transaction. */
export function createTables(database: Database, collection: number): void {
  for (const step of STEPS) step(database, collection);
}

/** Drops the tables of one collection, of whatever layout. The caller runs this in a transaction. */
export function dropTables(database: Database, collection: number): void {
  const tables = database
    .prepare(`SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB ?`)
    .all(`*_${collection}`) as { name: string }[];
  for (const { name } of tables) database.exec(`DROP TABLE ${name}`);
}

/**
 * Brings every collection to {@link LAYOUT}, each step of each in a transaction of its own: after a crash, a collection
 * has the layout before the step or after it, and the next call goes on from there. A collection whose tables are not
 * those of its layout stays as it is; see {@link checkLayout}.
 *
 * @param notify receives a line for each collection
 * @throws {StoreError} if the file can't be written
 */
export function upgradeCollections(database: Database, notify: (line: string) => void): void {
  const find = database.prepare('SELECT layout FROM collections WHERE id = ?');
  const set = database.prepare(
    'UPDATE collections SET layout = ?, identity = coalesce(identity, ?) WHERE id = ?',
  );
  const old = database.read(
    () =>
      database.prepare('SELECT id, physical, layout FROM collections WHERE layout < ?').all(LAYOUT) as {
        id: number;
        physical: string;
        layout: number;
      }[],
  );
  for (const { id, physical, layout } of old) {
    /** One step, unless another process was faster. */
    const step = (): boolean => {
      const row = find.get(id) as { layout: number } | undefined;
      if (!row || row.layout >= LAYOUT) return false;
      STEPS[row.layout]!(database, id);
      set.run(row.layout + 1, newIdentity(), id);
      return true;
    };
    try {
      while (database.write(step));
      notify(`collection "${physical}" was brought from layout ${layout} to layout ${LAYOUT}`);
    } catch (error) {
      if (error instanceof StoreError) throw error;
      notify(`collection "${physical}" can't be brought to layout ${LAYOUT}: ${String(error)}`);
    }
  }
}

/** @throws {StoreError} `COLLECTION_LAYOUT` if this program can't read a collection */
export function checkLayout(physical: string, layout: number): void {
  if (layout === LAYOUT) return;
  throw new StoreError(
    'COLLECTION_LAYOUT',
    layout > LAYOUT
      ? `collection "${physical}" has layout ${layout}, but this program knows layouts up to ${LAYOUT} only; use the ` +
          'version of scalingnote that wrote it, or a later one'
      : `collection "${physical}" has layout ${layout}, and could not be brought to layout ${LAYOUT} when the store was ` +
          `opened; open the store again, or rebuild the collection: "scalingnote drop ${physical}", then ingest again`,
    { metadata: { collection: physical, layout: String(layout), supported_layout: String(LAYOUT) } },
  );
}
