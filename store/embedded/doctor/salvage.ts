import { randomBytes } from 'node:crypto';
import { existsSync, linkSync, mkdirSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { DatabaseSync, type DatabaseSyncInstance } from '@photostructure/sqlite';
import { StoreError } from '../../errors.ts';
import { newIdentity } from '../../names.ts';
import { DATABASE_FILE, newStoreId } from '../presence.ts';
import { damagedDocuments, deleteAlone } from './collections.ts';
import { openToRead } from './files.ts';

/** What was saved, and what was not. */
export interface Salvaged {
  /** The new file. */
  file: string;
  documents: number;
  /** What could not be saved, a line for each document or part. */
  lost: string[];
  /** What to do with the new file. */
  next: string;
}

/** A value that SQLite stores. */
type Value = null | number | bigint | string | Uint8Array;

/** Rows to read at a time. */
const ROWS = 256;

/**
 * Copies every row that can be read into a new database, which holds whole documents alone. The old file stays as it is.
 *
 * The new database is another store, and a collection that has lost something is another collection: what clients know
 * of their progress does not apply to it, and they send everything again.
 *
 * @param directory of the damaged store
 * @param file must not be there
 * @throws {StoreError} if the file is there, or not even the schema can be read
 */
export function salvage(directory: string, file: string): Salvaged {
  if (existsSync(file)) {
    throw new StoreError('STORE_INVALID_ARGUMENT', `${file} is there already; name a new file for --salvage`);
  }
  mkdirSync(dirname(resolve(file)), { recursive: true });
  const from = openToRead(join(directory, DATABASE_FILE));
  const draft = `${file}.${process.pid}-${randomBytes(4).toString('hex')}`;
  try {
    const lost: string[] = [];
    /** Tables that can't be read as a whole, and why. */
    const damaged = new Map<string, string>();
    const to = new DatabaseSync(draft);
    let documents: number;
    try {
      // The draft is thrown away if the process ends, so nothing needs to be safe before the end.
      to.exec('PRAGMA page_size = 8192; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN');
      copySchema(from, to);
      for (const table of tablesOf(to)) copyRows(from, to, table, damaged);
      for (const [table, error] of damaged) lost.push(`rows of table ${table} can't be read: ${error}`);
      documents = mend(from, to, damaged, lost);
      to.exec('COMMIT');
      // Without a log of its own the file can be moved; a store gives it one when it opens it.
      to.exec('PRAGMA synchronous = FULL; PRAGMA journal_mode = DELETE; VACUUM');
    } finally {
      to.close();
    }
    // Unlike a rename, this never replaces a file that came meanwhile.
    linkSync(draft, file);
    const next = `put it into an empty folder as ${DATABASE_FILE}, start the services with that folder, and send what was lost again`;
    return { file, documents, lost, next };
  } finally {
    from.close();
    for (const suffix of ['', '-journal']) rmSync(draft + suffix, { force: true });
  }
}

function copySchema(from: DatabaseSyncInstance, to: DatabaseSyncInstance): void {
  let rows: { sql: string }[];
  let pragmas: string[];
  try {
    rows = from
      .prepare(
        `SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%' ORDER BY rowid`,
      )
      .all() as { sql: string }[];
    pragmas = ['application_id', 'user_version'].map((name) => {
      const value = Object.values(from.prepare(`PRAGMA ${name}`).get() as object)[0] as number;
      return `PRAGMA ${name} = ${value}`;
    });
  } catch (error) {
    throw new StoreError(
      'STORE_LOST',
      `nothing can be salvaged, because the list of tables can't be read (${String(error)}); bring the folder back from a ` +
        'backup',
      { cause: error },
    );
  }
  for (const sql of [...rows.map((row) => row.sql), ...pragmas]) to.exec(sql);
}

function tablesOf(database: DatabaseSyncInstance): string[] {
  const rows = database
    .prepare(`SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'`)
    .all() as { name: string }[];
  return rows.map(({ name }) => name);
}

/** Copies what can be read of a table: from its beginning, from its end, and row by row between them. */
function copyRows(
  from: DatabaseSyncInstance,
  to: DatabaseSyncInstance,
  table: string,
  damaged: Map<string, string>,
): void {
  const columns = (to.prepare(`PRAGMA table_info(${table})`).all() as { name: string; pk: number }[]).sort(
    (a, b) => a.pk - b.pk,
  );
  const names = columns.map(({ name }) => name);
  const insert = to.prepare(
    `INSERT OR IGNORE INTO ${table} (${names.join(', ')}) VALUES (${names.map(() => '?').join(', ')})`,
  );
  const put = (row: object): void => void insert.run(...(names.map((name) => row[name as never]) as Value[]));
  const keys = columns.filter(({ pk }) => pk > 0).map(({ name }) => name);
  const key = keys.length > 0 ? keys : ['rowid'];
  const up = readFrom(from, table, key, true, put);
  if (up.error === undefined) return;
  damaged.set(table, String(up.error));
  const down = readFrom(from, table, key, false, put);
  const [low, high] = [up.last, down.last];
  if (key.length > 1 || (low !== undefined && typeof low !== 'number')) return;
  const one = from.prepare(`SELECT * FROM ${table} WHERE ${key[0]} = ?`);
  const end = typeof high === 'number' ? high : lastKey(from, table);
  for (let id = (low ?? 0) + 1; id < end; id++) {
    try {
      const row = one.get(id);
      if (row !== undefined) put(row as object);
    } catch {
      // Its page is damaged; the next one may not be.
    }
  }
}

/** The highest key that a table ever had, as far as SQLite keeps it, or that its names still tell. */
function lastKey(from: DatabaseSyncInstance, table: string): number {
  try {
    const row = from.prepare('SELECT seq FROM sqlite_sequence WHERE name = ?').get(table) as
      | { seq: number }
      | undefined;
    if (row) return row.seq + 1;
    return (
      Number(
        (from.prepare(`SELECT max(rowid) AS last FROM ${table}`).get() as { last: number | null }).last,
      ) + 1
    );
  } catch {
    return 0;
  }
}

/** Reads a table in the order of its key until that fails. @returns the last key that was read, if it is one column */
function readFrom(
  from: DatabaseSyncInstance,
  table: string,
  key: readonly string[],
  ascending: boolean,
  put: (row: object) => void,
): { last: Value | undefined; error: Error | undefined } {
  const order = key.map((name) => `${name} ${ascending ? 'ASC' : 'DESC'}`).join(', ');
  const tuple = `(${key.join(', ')})`;
  const marks = `(${key.map(() => '?').join(', ')})`;
  const first = `SELECT ${key[0] === 'rowid' ? 'rowid, ' : ''}* FROM ${table} ORDER BY ${order} LIMIT ${ROWS}`;
  const more = first.replace(' ORDER', ` WHERE ${tuple} ${ascending ? '>' : '<'} ${marks} ORDER`);
  let last: Value[] | undefined;
  let rows = ROWS;
  try {
    // One after another at the end, so that the last rows before the damage are not lost with it.
    while (rows > 0) {
      const statement = from.prepare(last === undefined ? first : more);
      rows = 0;
      for (const row of statement.iterate(...(last ?? [])) as Iterable<Record<string, Value>>) {
        put(row);
        last = key.map((name) => row[name]!);
        rows++;
      }
      if (rows < ROWS) break;
    }
    return { last: last?.[0], error: undefined };
  } catch (error) {
    return { last: last?.[0], error: error instanceof Error ? error : new Error(String(error)) };
  }
}

/** Makes whole what was copied: documents have all their passages, counts are right. @returns documents that were saved */
function mend(
  from: DatabaseSyncInstance,
  to: DatabaseSyncInstance,
  damaged: ReadonlyMap<string, string>,
  lost: string[],
): number {
  to.exec('CREATE TABLE IF NOT EXISTS store (id TEXT NOT NULL)');
  to.prepare('DELETE FROM store').run();
  to.prepare('INSERT INTO store (id) VALUES (?)').run(newStoreId());
  const collections = to.prepare('SELECT id, physical FROM collections').all() as {
    id: number;
    physical: string;
  }[];
  const columns = to.prepare('PRAGMA table_info(collections)').all() as { name: string }[];
  const hasIdentity = columns.some(({ name }) => name === 'identity');
  let documents = 0;
  for (const { id, physical } of collections) {
    const before = lost.length;
    // What is not what was written is as good as lost.
    const damagedRows = damagedDocuments(to, id);
    const remove = to.prepare(`DELETE FROM documents_${id} WHERE id = ?`);
    for (const row of damagedRows) remove.run(row.id);
    // Names stand in an index too, so they are known even where the rows are not.
    const names = [...namesIn(from, to, id), ...damagedRows.map(({ name }) => Buffer.from(name).toString())];
    for (const name of [...new Set(names)].sort()) {
      lost.push(`document ${JSON.stringify(name)} of "${physical}"`);
    }
    to.exec(`
      DELETE FROM documents_${id} WHERE passages != (SELECT count(*) FROM passages_${id} p
        WHERE p.id >= first_passage AND p.id < first_passage + documents_${id}.passages)
        OR NOT json_valid(metadata);
      DELETE FROM changes_${id} WHERE seq < (SELECT max(seq) FROM changes_${id});
      INSERT OR IGNORE INTO tenants_${id} (id, tenant)
        SELECT DISTINCT tenant, CAST('unknown tenant ' || tenant AS BLOB) FROM documents_${id};
      UPDATE tenants_${id} SET (documents, passages) =
        (SELECT count(*), coalesce(sum(passages), 0) FROM documents_${id} WHERE tenant = tenants_${id}.id)`);
    deleteAlone(to, id);
    if (tablesOf(to).includes(`texts_${id}`)) {
      to.exec(`DELETE FROM texts_${id} WHERE document NOT IN (SELECT id FROM documents_${id})`);
    }
    documents += (to.prepare(`SELECT count(*) AS count FROM documents_${id}`).get() as { count: number })
      .count;
    const isWhole = lost.length === before && ![...damaged.keys()].some((table) => table.endsWith(`_${id}`));
    // A collection that is the same goes on with its positions; where it is another one, the changes may name what is lost.
    if (!isWhole) to.exec(`DELETE FROM changes_${id}`);
    if (hasIdentity && !isWhole) {
      to.prepare('UPDATE collections SET identity = ? WHERE id = ?').run(newIdentity(), id);
    }
  }
  return documents;
}

/** Documents of a collection that were there, and that are not whole in the copy. */
function namesIn(from: DatabaseSyncInstance, to: DatabaseSyncInstance, collection: number): string[] {
  const saved = to
    .prepare(
      `SELECT tenant, document_id AS name FROM documents_${collection} d WHERE json_valid(metadata) AND d.passages =
         (SELECT count(*) FROM passages_${collection} p
          WHERE p.id >= d.first_passage AND p.id < d.first_passage + d.passages)`,
    )
    .all() as { tenant: number; name: Uint8Array }[];
  const keyOf = ({ tenant, name }: { tenant: number; name: Uint8Array }): string =>
    `${tenant} ${Buffer.from(name).toString()}`;
  const known = new Set(saved.map(keyOf));
  const missing = new Map<string, string>();
  const note = (row: { tenant: number; name: Uint8Array }): void => {
    const key = keyOf(row);
    if (!known.has(key)) missing.set(key, Buffer.from(row.name).toString());
  };
  const copied = to.prepare(`SELECT tenant, document_id AS name FROM documents_${collection}`).iterate();
  for (const row of copied as Iterable<{ tenant: number; name: Uint8Array }>) note(row);
  try {
    const index = from
      .prepare(
        `SELECT tenant, document_id AS name FROM documents_${collection} INDEXED BY sqlite_autoindex_documents_${collection}_1`,
      )
      .iterate();
    for (const row of index as Iterable<{ tenant: number; name: Uint8Array }>) note(row);
  } catch {
    // The index is damaged as well; what it gave before it failed is noted.
  }
  return [...missing.values()];
}
