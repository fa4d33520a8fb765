import type { DatabaseSyncInstance } from '@photostructure/sqlite';
import { checksum } from '../checksums.ts';
import { type Examination, type Finding, unreadable } from './findings.ts';

/** A row of the catalog, as far as every version of it has it. */
interface Row {
  id: number;
  physical: string;
  dimensions: number;
}

/** What is examined of each collection. */
const CHECKS = [
  'counts',
  'words',
  'documents',
  'passages',
  'texts',
  'checksums',
  'changes',
  'deletions',
] as const;

/** Names to show of many. */
const SHOWN = 5;

/** A vector is of unit length; its float32 components are rounded. */
const LENGTH_ERROR = 1e-3;

/** Examines what the tables of collections say of each other, and adds to counts and findings. */
export function examineCollections(database: DatabaseSyncInstance, found: Examination): void {
  const hasCatalog = database.prepare(`SELECT 1 FROM sqlite_schema WHERE name = 'collections'`).get();
  if (hasCatalog === undefined) return;
  const rows = database.prepare('SELECT id, physical, dimensions FROM collections').all() as Row[];
  examineOrphans(database, rows, found.findings);
  for (const row of rows) {
    const tables = new Collection(database, row, found);
    for (const check of CHECKS) {
      try {
        tables[check]();
      } catch (error) {
        found.findings.push(unreadable(`collection "${row.physical}" (${check})`, error));
      }
    }
  }
}

/** Tables of collections that were dropped. */
function examineOrphans(database: DatabaseSyncInstance, rows: readonly Row[], findings: Finding[]): void {
  const ids = new Set(rows.map(({ id }) => String(id)));
  const tables = database.prepare(`SELECT name FROM sqlite_schema WHERE type = 'table'`).all() as {
    name: string;
  }[];
  const orphans = tables
    .map(({ name }) => name)
    .filter((name) => /^[a-z]+_\d+$/.test(name) && !ids.has(name.split('_')[1]!));
  if (orphans.length === 0) return;
  findings.push({
    check: 'orphans',
    level: 'fault',
    message: `${orphans.join(', ')}: tables of collections that are not there any more`,
    fix: '"scalingnote doctor --repair" drops them',
    repair: (writable) => {
      for (const name of orphans) writable.exec(`DROP TABLE ${name}`);
    },
  });
}

/** The tables of one collection. */
class Collection {
  readonly #database: DatabaseSyncInstance;
  readonly #row: Row;
  readonly #found: Examination;

  constructor(database: DatabaseSyncInstance, row: Row, found: Examination) {
    this.#database = database;
    this.#row = row;
    this.#found = found;
  }

  /** Each tenant's counted words against those of its passages. Collections from before there were words have none. */
  words(): void {
    const { id, physical } = this.#row;
    if (!this.#has(`passages_${id}`, 'words')) return;
    const said = `SELECT d.tenant AS tenant, w.value AS word, count(*) AS passages
       FROM documents_${id} d
       JOIN passages_${id} p ON p.id >= d.first_passage AND p.id < d.first_passage + d.passages, json_each(p.words) w
       WHERE p.words IS NOT NULL AND json_valid(p.words) GROUP BY 1, 2`;
    const kept = `SELECT tenant, word, passages FROM words_${id}`;
    const [{ wrong }] = this.#all<{ wrong: number }>(
      `SELECT count(DISTINCT tenant) AS wrong FROM (
         SELECT * FROM (${kept} EXCEPT ${said}) UNION ALL SELECT * FROM (${said} EXCEPT ${kept}))`,
    ) as [{ wrong: number }];
    if (wrong === 0) return;
    this.#add({
      check: 'words',
      level: 'fault',
      message: `the counted words of ${wrong} tenants of "${physical}" differ from those of their passages`,
      fix: '"scalingnote doctor --repair" counts again',
      repair: (database) => database.exec(`DELETE FROM words_${id}; INSERT INTO words_${id} ${said}`),
    });
  }

  /** Each tenant's counts against its rows. */
  counts(): void {
    const { id, physical } = this.#row;
    const rows = this.#all<{ documents: number; passages: number; found: number; foundPassages: number }>(
      `SELECT t.documents, t.passages, coalesce(d.documents, 0) AS found, coalesce(d.passages, 0) AS foundPassages
       FROM tenants_${id} t LEFT JOIN
         (SELECT tenant, count(*) AS documents, sum(passages) AS passages FROM documents_${id} GROUP BY tenant) d
         ON d.tenant = t.id`,
    );
    for (const row of rows) {
      this.#found.documents += row.found;
      this.#found.passages += row.foundPassages;
    }
    const wrong = rows.filter((row) => row.documents !== row.found || row.passages !== row.foundPassages);
    if (wrong.length === 0) return;
    this.#add({
      check: 'counts',
      level: 'fault',
      message: `the counts of ${wrong.length} tenants of "${physical}" differ from their rows`,
      fix: '"scalingnote doctor --repair" counts again',
      repair: (writable) =>
        writable.exec(
          `UPDATE tenants_${id} SET (documents, passages) =
             (SELECT count(*), coalesce(sum(passages), 0) FROM documents_${id} WHERE tenant = tenants_${id}.id)`,
        ),
    });
  }

  /** Each document's columns can be understood, and its tenant is there. */
  documents(): void {
    const { id, physical } = this.#row;
    const rows = this.#all<{ name: Uint8Array }>(
      `SELECT document_id AS name FROM documents_${id}
       WHERE NOT json_valid(metadata) OR tenant NOT IN (SELECT id FROM tenants_${id}) OR passages < 1`,
    );
    this.#damaged(
      rows,
      `documents of "${physical}" are damaged in their metadata, tenant or number of passages`,
    );
  }

  /** Each document has its passages, and each passage belongs to one document. */
  passages(): void {
    const { id, physical, dimensions } = this.#row;
    const documents = this.#all<{ name: Uint8Array; first: number; passages: number }>(
      `SELECT document_id AS name, first_passage AS first, passages FROM documents_${id} ORDER BY first_passage`,
    );
    const incomplete: { name: Uint8Array }[] = [];
    const bent: { name: Uint8Array }[] = [];
    let next = 0;
    let seen = 0;
    let alone = 0;
    const rows = this.#database.prepare(`SELECT id, vector FROM passages_${id} ORDER BY id`).iterate();
    for (const { id: passage, vector } of rows as Iterable<{ id: number; vector: Uint8Array }>) {
      while (next < documents.length && passage >= documents[next]!.first + documents[next]!.passages) {
        if (seen < documents[next]!.passages) incomplete.push(documents[next]!);
        next++;
        seen = 0;
      }
      const document = documents[next];
      if (document === undefined || passage < document.first) {
        alone++;
        continue;
      }
      seen++;
      if (!isUnit(vector, dimensions) && bent.at(-1) !== document) bent.push(document);
    }
    for (; next < documents.length; next++, seen = 0) {
      if (seen < documents[next]!.passages) incomplete.push(documents[next]!);
    }
    this.#damaged(incomplete, `documents of "${physical}" have lost passages`);
    this.#damaged(bent, `documents of "${physical}" have damaged vectors`);
    if (alone === 0) return;
    this.#add({
      check: 'passages',
      level: 'fault',
      message: `${alone} passages of "${physical}" belong to no document; no search finds them`,
      fix: '"scalingnote doctor --repair" deletes them',
      repair: (writable) => deleteAlone(writable, id),
    });
  }

  /** Each whole text belongs to a document. */
  texts(): void {
    const { id, physical } = this.#row;
    if (!this.#has(`texts_${id}`, 'text')) return;
    const [row] = this.#all<{ alone: number }>(
      `SELECT count(*) AS alone FROM texts_${id} WHERE document NOT IN (SELECT id FROM documents_${id})`,
    );
    if (row!.alone === 0) return;
    this.#add({
      check: 'texts',
      level: 'fault',
      message: `${row!.alone} texts of "${physical}" belong to no document`,
      fix: '"scalingnote doctor --repair" deletes them',
      repair: (writable) =>
        writable.exec(`DELETE FROM texts_${id} WHERE document NOT IN (SELECT id FROM documents_${id})`),
    });
  }

  /** Every value is what was written. */
  checksums(): void {
    this.#damaged(
      damagedDocuments(this.#database, this.#row.id),
      `documents of "${this.#row.physical}" are not what was written, as their checksums tell`,
    );
  }

  /** The log names documents that are there, or that a later entry removes. */
  changes(): void {
    const { id, physical } = this.#row;
    const [row] = this.#all<{ lost: number }>(
      `SELECT count(*) AS lost FROM changes_${id} c WHERE c.added IS NOT NULL
         AND NOT EXISTS (SELECT 1 FROM documents_${id} d WHERE d.id = c.added)
         AND c.added NOT IN (SELECT removed FROM changes_${id} WHERE removed IS NOT NULL)`,
    );
    if (row!.lost === 0) return;
    this.#add({
      check: 'changes',
      level: 'damage',
      message: `the change log of "${physical}" names ${row!.lost} documents that are not there, and that nobody deleted`,
      fix: 'documents were lost: bring the folder back from a backup, or send them again ("scalingnote ingest --verify")',
    });
  }

  /** No document is both there and remembered as deleted. */
  deletions(): void {
    const { id, physical } = this.#row;
    const rows = this.#all<{ name: Uint8Array }>(
      `SELECT d.document_id AS name FROM deletions_${id} x
       JOIN documents_${id} d ON d.tenant = x.tenant AND d.document_id = x.document_id`,
    );
    if (rows.length === 0) return;
    this.#add({
      check: 'deletions',
      level: 'fault',
      message: `${names(rows)}: documents of "${physical}" that are stored and remembered as deleted`,
      fix: '"scalingnote doctor --repair" forgets the deletes',
      repair: (writable) =>
        writable.exec(
          `DELETE FROM deletions_${id} WHERE EXISTS (SELECT 1 FROM documents_${id} d
             WHERE d.tenant = deletions_${id}.tenant AND d.document_id = deletions_${id}.document_id)`,
        ),
    });
  }

  #has(table: string, column: string): boolean {
    return hasColumn(this.#database, table, column);
  }

  #damaged(rows: readonly { name: Uint8Array }[], what: string): void {
    if (rows.length === 0) return;
    this.#add({
      check: 'documents',
      level: 'damage',
      message: `${rows.length} ${what}: ${names(rows)}`,
      fix: 'bring the folder back from a backup, or delete these documents and send them again',
    });
  }

  #add(finding: Finding): void {
    this.#found.findings.push(finding);
  }

  #all<Result>(sql: string): Result[] {
    return this.#database.prepare(sql).all() as Result[];
  }
}

/**
 * The documents of a collection that hold a value that differs from its checksum. Collections from before there
 * were checksums have none.
 */
export function damagedDocuments(
  database: DatabaseSyncInstance,
  collection: number,
): { id: number; name: Uint8Array }[] {
  if (!hasColumn(database, `passages_${collection}`, 'vector_sum')) return [];
  /** By first passage. */
  const documents: { id: number; first: number; end: number }[] = [];
  const names = new Map<number, Uint8Array>();
  const damaged = new Set<number>();
  const rows = <Row>(sql: string): Iterable<Row> => database.prepare(sql).iterate() as Iterable<Row>;
  for (const row of rows<DocumentSums>(
    `SELECT id, document_id AS name, first_passage AS first, passages, title, content_hash AS hash, metadata,
       title_sum AS titleSum, metadata_sum AS metadataSum FROM documents_${collection} ORDER BY first_passage`,
  )) {
    documents.push({ id: row.id, first: row.first, end: row.first + row.passages });
    names.set(row.id, row.name);
    const isRight =
      agrees(row.title, row.name, row.titleSum) && agrees(row.metadata, row.hash, row.metadataSum);
    if (!isRight) damaged.add(row.id);
  }
  let next = 0;
  for (const row of rows<PassageSums>(
    `SELECT id, vector, sparse, text, vector_sum AS vectorSum, sparse_sum AS sparseSum, text_sum AS textSum
     FROM passages_${collection} ORDER BY id`,
  )) {
    while (next < documents.length && row.id >= documents[next]!.end) next++;
    const document = documents[next];
    if (document === undefined || row.id < document.first) continue;
    const isRight =
      agrees(row.vector, row.id, row.vectorSum) &&
      agrees(row.sparse, row.id, row.sparseSum) &&
      agrees(row.text, row.id, row.textSum);
    if (!isRight) damaged.add(document.id);
  }
  for (const { id, text, sum } of rows<{ id: number; text: Uint8Array; sum: number }>(
    `SELECT document AS id, text, sum FROM texts_${collection}`,
  )) {
    if (names.has(id) && !agrees(text, id, sum)) damaged.add(id);
  }
  return [...damaged].map((id) => ({ id, name: names.get(id)! }));
}

interface DocumentSums {
  id: number;
  name: Uint8Array;
  first: number;
  passages: number;
  title: Uint8Array;
  hash: Uint8Array;
  metadata: string;
  titleSum: number | null;
  metadataSum: number | null;
}

interface PassageSums {
  id: number;
  vector: Uint8Array;
  sparse: Uint8Array | null;
  text: Uint8Array | null;
  vectorSum: number | null;
  sparseSum: number | null;
  textSum: number | null;
}

/** @param sum `null` for a row from before there were checksums, and for a value that is not there */
function agrees(value: Uint8Array | string | null, begin: number | Uint8Array, sum: number | null): boolean {
  return sum === null || (value !== null && checksum(value, begin) === sum);
}

function hasColumn(database: DatabaseSyncInstance, table: string, column: string): boolean {
  const columns = database.prepare(`PRAGMA table_info(${table})`).all() as { name: string }[];
  return columns.some(({ name }) => name === column);
}

/** Deletes the passages that belong to no document. */
export function deleteAlone(database: DatabaseSyncInstance, collection: number): void {
  database.exec(
    `DELETE FROM passages_${collection} WHERE id NOT IN (
       SELECT p.id FROM documents_${collection} d JOIN passages_${collection} p
         ON p.id >= d.first_passage AND p.id < d.first_passage + d.passages)`,
  );
}

function isUnit(vector: Uint8Array, dimensions: number): boolean {
  if (vector.byteLength !== dimensions * Float32Array.BYTES_PER_ELEMENT) return false;
  const components = new Float32Array(vector.slice().buffer);
  let sum = 0;
  for (const component of components) sum += component * component;
  return Math.abs(Math.sqrt(sum) - 1) <= LENGTH_ERROR;
}

function names(rows: readonly { name: Uint8Array }[]): string {
  const shown = rows.slice(0, SHOWN).map(({ name }) => JSON.stringify(Buffer.from(name).toString()));
  return `${shown.join(', ')}${rows.length > SHOWN ? `, and ${rows.length - SHOWN} more` : ''}`;
}
