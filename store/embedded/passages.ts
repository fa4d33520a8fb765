import { checksum, optionalChecksum, verify } from './checksums.ts';
import type { Database, Statement } from './database.ts';
import type { PreparedPut } from './prepare.ts';
import { encodeSparse } from './sparse-index.ts';
import { bytes, string } from './strings.ts';

/** Most documents and passages that a statement reads: enough to make it cheap, and few enough to hold in memory. */
const DOCUMENTS_PER_STATEMENT = 1024;
const PASSAGES_PER_STATEMENT = 256;

/** A row of `passages`, with the document that it belongs to. */
interface PassageRow {
  /** Row of `documents`. */
  document: number;
  /** Row of `passages`. */
  id: number;
}

/** What of a row has a checksum. */
const PARTS = ['vector', 'sparse', 'text'] as const;
type Values = Record<(typeof PARTS)[number], Uint8Array | null>;
/** `null` where there is nothing, or nothing was asked for, or the row is from before there were checksums. */
type Sums = Record<`${(typeof PARTS)[number]}Sum`, number | null>;

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
  /** JSON; `null` where vectors were not asked for, and where there are none. */
  words: string | null;
}

/**
 * The passages of a collection. A document has the rows from its `first_passage` on. Of two documents, the one with the
 * higher row has the higher passages, so passages in order are also documents in order.
 */
export class Passages {
  readonly #sql: ReturnType<typeof prepare>;
  readonly #database: Database;

  constructor(database: Database, collection: number) {
    this.#database = database;
    this.#sql = prepare(database, collection);
  }

  /** Adds passages of one document. @returns the row of the first */
  insert(passages: PreparedPut['passages']): number {
    const { next } = this.#sql.next.get() as { next: number };
    for (const [index, { vector, sparse, text, span, words = [] }] of passages.entries()) {
      const id = next + index;
      const dense = new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength);
      const terms = sparse && sparse.indices.length > 0 ? encodeSparse(sparse) : null;
      const shown = text === undefined ? null : bytes(text);
      this.#sql.insert.run(
        id,
        dense,
        terms,
        shown,
        span?.start ?? null,
        span?.end ?? null,
        checksum(dense, id),
        optionalChecksum(terms, id),
        optionalChecksum(shown, id),
        words.length > 0 ? JSON.stringify(words) : null,
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
    const row = this.#sql.text.get(passage, document) as Sums & { id: number; text: Uint8Array | null };
    this.#verify(row);
    const { text } = row;
    return text === null ? undefined : string(text);
  }

  /** Dense vectors of documents. @param documents ascending */
  vectors(documents: readonly number[]): Generator<VectorRow, void, undefined> {
    return this.#pages<VectorRow>(this.#sql.vectors, documents);
  }

  /** Sparse vectors of documents, without passages that have none. @param documents ascending */
  terms(documents: readonly number[]): Generator<TermsRow, void, undefined> {
    return this.#pages<TermsRow>(this.#sql.terms, documents);
  }

  /** Everything of documents. @param documents ascending */
  whole(documents: readonly number[], withVectors: boolean): Generator<WholePassageRow, void, undefined> {
    return this.#pages<WholePassageRow>(
      withVectors ? this.#sql.wholeWithVectors : this.#sql.whole,
      documents,
    );
  }

  *#pages<Row extends PassageRow>(
    statement: Statement,
    documents: readonly number[],
  ): Generator<Row, void, undefined> {
    for (const row of pages<Row>(statement, documents)) {
      this.#verify(row);
      yield row;
    }
  }

  /** Compares what was read of a row with its checksums. */
  #verify({ id, ...row }: Partial<Values & Sums> & { id: number }): void {
    for (const part of PARTS) {
      const value = row[part];
      if (value === undefined) continue;
      // Where vectors were not asked for, there is nothing to compare.
      const sum = row[`${part}Sum`] ?? null;
      if (sum !== null) verify(this.#database, value, id, sum, `the ${part} of passage ${id}`);
    }
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
  const text = 'p.text, p.text_sum AS textSum, p.span_start AS spanStart, p.span_end AS spanEnd';
  const vector = 'p.vector, p.vector_sum AS vectorSum';
  const sparse = 'p.sparse, p.sparse_sum AS sparseSum';
  return {
    next: database.prepare(`SELECT coalesce(max(id), 0) + 1 AS next FROM ${passages}`),
    insert: database.prepare(
      `INSERT INTO ${passages}
         (id, vector, sparse, text, span_start, span_end, vector_sum, sparse_sum, text_sum, words)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
    delete: database.prepare(
      `DELETE FROM ${passages} WHERE id >= ${first}
       AND id < (SELECT first_passage + passages FROM ${documents} WHERE id = ?1)`,
    ),
    text: database.prepare(
      `SELECT id, text, text_sum AS textSum FROM ${passages} WHERE id = ? + (SELECT first_passage FROM ${documents} WHERE id = ?)`,
    ),
    vectors: page(vector),
    terms: page(`p.id - d.first_passage AS passage, ${sparse}`, 'p.sparse IS NOT NULL'),
    whole: page(`${text}, NULL AS vector, NULL AS sparse, NULL AS words`),
    wholeWithVectors: page(`${text}, ${vector}, ${sparse}, p.words`),
  };
}
