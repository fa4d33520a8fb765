import type { Database, Statement } from './database.ts';
import type { PreparedPut } from './prepare.ts';
import { encodeSparse } from './sparse-index.ts';
import { bytes, string } from './strings.ts';

/** Most documents and passages that a statement reads: enough to make it cheap, and few enough to hold in memory. */
const DOCUMENTS_PER_STATEMENT = 1024;
const PASSAGES_PER_STATEMENT = 1024;

/** A row of `passages`, with the document that it belongs to. */
interface PassageRow {
  /** Row of `documents`. */
  document: number;
  /** Row of `passages`. */
  id: number;
}

/** A passage's dense vector. */
export interface VectorRow extends PassageRow {
  /** Float32, as bytes. */
  vector: Uint8Array;
}

/** A passage's sparse vector. */
export interface TermsRow extends PassageRow {
  /** Index of the passage in its document. */
  passage: number;
  /** See `encodeSparse`. */
  sparse: Uint8Array;
}

/** All that is stored of a passage. */
export interface WholePassageRow extends PassageRow {
  text: Uint8Array | null;
  spanStart: number | null;
  spanEnd: number | null;
  /** `null` where vectors were not asked for. */
  vector: Uint8Array | null;
  sparse: Uint8Array | null;
}

/**
 * The passages of a collection. A document has the rows from its `first_passage` on. Of two documents, the one with the
 * higher row has the higher passages, so passages in order are also documents in order.
 */
export class Passages {
  readonly #sql: ReturnType<typeof prepare>;

  constructor(database: Database, collection: number) {
    this.#sql = prepare(database, collection);
  }

  /** Adds passages of one document. @returns the row of the first */
  insert(passages: PreparedPut['passages']): number {
    const { next } = this.#sql.next.get() as { next: number };
    for (const [index, { vector, sparse, text, span }] of passages.entries()) {
      this.#sql.insert.run(
        next + index,
        new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength),
        sparse && sparse.indices.length > 0 ? encodeSparse(sparse) : null,
        text === undefined ? null : bytes(text),
        span?.start ?? null,
        span?.end ?? null,
      );
    }
    return next;
  }

  /** Deletes the passages of a document. @returns how many */
  delete(document: number): number {
    return this.#sql.delete.run(document).changes;
  }

  /** Text of one passage; `undefined` if none is stored. */
  text(document: number, passage: number): string | undefined {
    const { text } = this.#sql.text.get(passage, document) as { text: Uint8Array | null };
    return text === null ? undefined : string(text);
  }

  /** Dense vectors of documents. @param documents ascending */
  vectors(documents: readonly number[]): Generator<VectorRow, void, undefined> {
    return pages<VectorRow>(this.#sql.vectors, documents);
  }

  /** Sparse vectors of documents, without passages that have none. @param documents ascending */
  terms(documents: readonly number[]): Generator<TermsRow, void, undefined> {
    return pages<TermsRow>(this.#sql.terms, documents);
  }

  /** Everything of documents. @param documents ascending */
  whole(documents: readonly number[], withVectors: boolean): Generator<WholePassageRow, void, undefined> {
    return pages<WholePassageRow>(withVectors ? this.#sql.wholeWithVectors : this.#sql.whole, documents);
  }
}

/**
 * Rows of passages, ordered by document and passage. Here rows are read: a page in one statement, when its first row is
 * taken.
 */
function* pages<Row extends PassageRow>(
  statement: Statement,
  documents: readonly number[],
): Generator<Row, void, undefined> {
  for (let start = 0; start < documents.length; start += DOCUMENTS_PER_STATEMENT) {
    const ids = JSON.stringify(documents.slice(start, start + DOCUMENTS_PER_STATEMENT));
    let from = { document: 0, id: 0 };
    for (;;) {
      const rows = statement.all(ids, from.document, from.id, PASSAGES_PER_STATEMENT) as Row[];
      yield* rows;
      if (rows.length < PASSAGES_PER_STATEMENT) break;
      const { document, id } = rows.at(-1)!;
      from = { document, id: id + 1 };
    }
  }
}

function prepare(database: Database, collection: number) {
  const passages = `passages_${collection}`;
  const documents = `documents_${collection}`;
  const first = `(SELECT first_passage FROM ${documents} WHERE id = ?1)`;
  /** A page of the passages of documents, from a document and a passage on. It needs one lower bound: SQLite uses one. */
  const page = (columns: string, condition = 'true') =>
    database.prepare(
      `SELECT d.id AS document, p.id AS id, ${columns}
       FROM ${documents} d JOIN ${passages} p
         ON p.id >= max(d.first_passage, ?3) AND p.id < d.first_passage + d.passages
       WHERE d.id IN (SELECT value FROM json_each(?1)) AND d.id >= ?2 AND ${condition}
       ORDER BY d.id, p.id LIMIT ?4`,
    );
  const text = 'p.text, p.span_start AS spanStart, p.span_end AS spanEnd';
  return {
    next: database.prepare(`SELECT coalesce(max(id), 0) + 1 AS next FROM ${passages}`),
    insert: database.prepare(
      `INSERT INTO ${passages} (id, vector, sparse, text, span_start, span_end) VALUES (?, ?, ?, ?, ?, ?)`,
    ),
    delete: database.prepare(
      `DELETE FROM ${passages} WHERE id >= ${first}
       AND id < (SELECT first_passage + passages FROM ${documents} WHERE id = ?1)`,
    ),
    text: database.prepare(
      `SELECT text FROM ${passages} WHERE id = ? + (SELECT first_passage FROM ${documents} WHERE id = ?)`,
    ),
    vectors: page('p.vector'),
    terms: page('p.id - d.first_passage AS passage, p.sparse', 'p.sparse IS NOT NULL'),
    whole: page(`${text}, NULL AS vector, NULL AS sparse`),
    wholeWithVectors: page(`${text}, p.vector, p.sparse`),
  };
}
