import type { Database } from './database.ts';

/*
 * What a collection was made with, and says of itself.
 *
 * Golden vectors have a table of their own, which only collections with golden vectors have: it needs no step of the layout, older programs
 * pass it by, and it goes with the collection's other tables when these are dropped, copied or salvaged.
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
  if (!database.prepare('SELECT 1 FROM sqlite_schema WHERE name = ?').get(table)) return undefined;
  const row = database.prepare(`SELECT record FROM ${table}`).get() as { record: string } | undefined;
  return row?.record;
}
