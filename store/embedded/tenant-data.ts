import { vectorBytes } from '../document-bytes.ts';
import type { Usage } from '../store.ts';
import type { Database } from './database.ts';
import { TextKept } from './document-rows.ts';
import { bytes } from './strings.ts';

/** Documents that are measured between two looks at the clock, and rows that one statement deletes. */
const ROWS_PER_STATEMENT = 256;

/** What belongs to one tenant of a collection, measured and removed. The caller runs its methods in a transaction. */
export class TenantData {
  readonly #sql: ReturnType<typeof prepare>;
  readonly #dimensions: number;

  constructor(database: Database, collection: number, dimensions: number) {
    this.#sql = prepare(database, collection);
    this.#dimensions = dimensions;
  }

  /**
   * Measures some documents past one.
   *
   * @returns what they take, and the last of them; without `last` at the end
   */
  measureSome(tenant: number, after: Uint8Array, now: number): Usage & { last?: Uint8Array } {
    const found = this.#sql.usage.get(tenant, after, now, ROWS_PER_STATEMENT) as {
      documents: number;
      passages: number;
      bytes: number;
      last: Uint8Array | null;
    };
    const { documents, passages, last } = found;
    const measured = { documents, passages, bytes: found.bytes + vectorBytes(passages, this.#dimensions) };
    return last === null || documents < ROWS_PER_STATEMENT ? measured : { ...measured, last };
  }

  /** What a document takes; `undefined` where it is not there. */
  measure(tenant: number, documentId: string, now: number): number | undefined {
    const found = this.#sql.one.get(tenant, bytes(documentId), now) as
      | { passages: number; bytes: number }
      | undefined;
    return found && found.bytes + vectorBytes(found.passages, this.#dimensions);
  }

  /** Rows of some documents, expired or not. */
  someDocuments(tenant: number): number[] {
    return (this.#sql.documents.all(tenant, ROWS_PER_STATEMENT) as { id: number }[]).map(({ id }) => id);
  }

  /** Forgets some deletes. @returns whether there may be more */
  forgetSomeDeletes(tenant: number): boolean {
    return this.#sql.forget.run(tenant, ROWS_PER_STATEMENT).changes === ROWS_PER_STATEMENT;
  }

  /** Rows that are of a tenant. @param tenant `undefined` where its name is gone: then rows that are of nobody */
  remains(tenant: number | undefined): number {
    const row = (tenant === undefined ? this.#sql.lost.get() : this.#sql.remains.get(tenant)) as {
      rows: number;
    };
    return row.rows + (tenant === undefined ? 0 : 1);
  }
}

function prepare(database: Database, collection: number) {
  const documents = `documents_${collection}`;
  const passages = `passages_${collection}`;
  const deletions = `deletions_${collection}`;
  const texts = `texts_${collection}`;
  const tenants = `tenants_${collection}`;
  const words = `words_${collection}`;
  // SQLite knows the length of a blob without reading it.
  const text = `CASE text_kept
      WHEN ${TextKept.apart} THEN (SELECT length(text) FROM ${texts} WHERE document = d.id)
      WHEN ${TextKept.inPassage} THEN (SELECT length(text) FROM ${passages} WHERE id = d.first_passage)
      WHEN ${TextKept.unknown} THEN (SELECT sum(length(text)) FROM ${passages} p
        WHERE p.id >= d.first_passage AND p.id < d.first_passage + d.passages)
    END`;
  const measured = `passages, length(title) + length(CAST(metadata AS BLOB)) + coalesce(${text}, 0) AS bytes`;
  const live = '(expires_at IS NULL OR expires_at > ?3)';
  return {
    usage: database.prepare(
      `SELECT count(*) AS documents, coalesce(sum(passages), 0) AS passages, coalesce(sum(bytes), 0) AS bytes,
         max(document_id) AS last
       FROM (SELECT document_id, ${measured} FROM ${documents} d
             WHERE tenant = ?1 AND document_id > ?2 AND ${live} ORDER BY document_id LIMIT ?4)`,
    ),
    one: database.prepare(
      `SELECT ${measured} FROM ${documents} d WHERE tenant = ?1 AND document_id = ?2 AND ${live}`,
    ),
    documents: database.prepare(`SELECT id FROM ${documents} WHERE tenant = ? LIMIT ?`),
    forget: database.prepare(
      `DELETE FROM ${deletions} WHERE tenant = ?1 AND document_id IN
         (SELECT document_id FROM ${deletions} WHERE tenant = ?1 LIMIT ?2)`,
    ),
    remains: database.prepare(
      `SELECT (SELECT count(*) FROM ${documents} WHERE tenant = ?1)
         + (SELECT count(*) FROM ${deletions} WHERE tenant = ?1)
         + (SELECT count(*) FROM ${words} WHERE tenant = ?1) AS rows`,
    ),
    lost: database.prepare(
      `SELECT (SELECT count(*) FROM ${documents} WHERE tenant NOT IN (SELECT id FROM ${tenants}))
         + (SELECT count(*) FROM ${deletions} WHERE tenant NOT IN (SELECT id FROM ${tenants}))
         + (SELECT count(*) FROM ${words} WHERE tenant NOT IN (SELECT id FROM ${tenants}))
         + (SELECT count(*) FROM ${texts} WHERE document NOT IN (SELECT id FROM ${documents})) AS rows`,
    ),
  };
}
