import { checkRoom, type FieldType } from '../indexed-fields.ts';
import type { Database } from './database.ts';

/*
 * What a collection was made with, and says of itself.
 *
 * Golden vectors have a table of their own, which only collections with golden vectors have: it needs no step of the layout, older programs
 * pass it by, and it goes with the collection's other tables when these are dropped, copied or salvaged. Indexed fields have one in
 * the same way.
 */

/** Keeps the golden vectors of a new collection. The caller runs this in a transaction. */
export function keepGolden(database: Database, collection: number, golden: string): void {
  database.exec(`CREATE TABLE golden_${collection} (record TEXT NOT NULL)`);
  database.prepare(`INSERT INTO golden_${collection} (record) VALUES (?)`).run(golden);
}

/** Keeps how texts become the terms of a collection, in place of what was said before. The caller runs this in a transaction. */
export function keepAnalysis(database: Database, collection: number, analysis: string): void {
  database.exec(`DELETE FROM analysis_${collection}`);
  database.prepare(`INSERT INTO analysis_${collection} (record) VALUES (?)`).run(analysis);
}

/** The caller runs this in a transaction. */
export function readAnalysis(database: Database, collection: number): string | undefined {
  const row = database.prepare(`SELECT record FROM analysis_${collection}`).get() as
    | { record: string }
    | undefined;
  return row?.record;
}

/** The caller runs this in a transaction. */
export function readGolden(database: Database, collection: number): string | undefined {
  const table = `golden_${collection}`;
  if (!hasTable(database, table)) return undefined;
  const row = database.prepare(`SELECT record FROM ${table}`).get() as { record: string } | undefined;
  return row?.record;
}

/**
 * Writes down that a field is indexed. The caller runs this in a transaction.
 *
 * @throws {StoreError} `STORE_INVALID_ARGUMENT`
 */
export function keepIndexed(database: Database, collection: number, field: string, type: FieldType): void {
  const indexed = readIndexed(database, collection);
  checkRoom(indexed ?? {}, field, type);
  if (indexed?.[field] !== undefined) return;
  const table = `indexed_${collection}`;
  if (!hasTable(database, table)) {
    database.exec(`CREATE TABLE ${table} (field TEXT PRIMARY KEY, type TEXT NOT NULL)`);
  }
  database.prepare(`INSERT INTO ${table} (field, type) VALUES (?, ?)`).run(field, type);
}

/** Indexed fields with their types, by name; `undefined` for none. The caller runs this in a transaction. */
export function readIndexed(database: Database, collection: number): Record<string, string> | undefined {
  const table = `indexed_${collection}`;
  if (!hasTable(database, table)) return undefined;
  const rows = database.prepare(`SELECT field, type FROM ${table} ORDER BY field`).all() as {
    field: string;
    type: string;
  }[];
  return Object.fromEntries(rows.map(({ field, type }) => [field, type]));
}

function hasTable(database: Database, table: string): boolean {
  return database.prepare('SELECT 1 FROM sqlite_schema WHERE name = ?').get(table) !== undefined;
}
