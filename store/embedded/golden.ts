import type { Database } from './database.ts';

/*
 * A table of its own, which only collections with golden vectors have: it needs no step of the layout, older programs
 * pass it by, and it goes with the collection's other tables when these are dropped, copied or salvaged.
 */

/** Keeps the golden vectors of a new collection. The caller runs this in a transaction. */
export function keepGolden(database: Database, collection: number, golden: string): void {
  database.exec(`CREATE TABLE golden_${collection} (record TEXT NOT NULL)`);
  database.prepare(`INSERT INTO golden_${collection} (record) VALUES (?)`).run(golden);
}

/** The caller runs this in a transaction. */
export function readGolden(database: Database, collection: number): string | undefined {
  const table = `golden_${collection}`;
  if (!database.prepare('SELECT 1 FROM sqlite_schema WHERE name = ?').get(table)) return undefined;
  const row = database.prepare(`SELECT record FROM ${table}`).get() as { record: string } | undefined;
  return row?.record;
}
