import type { Database } from './database.ts';
import { string } from './strings.ts';

/** The deletes that a collection remembers, so that older writes are stale. */
export class Deletions {
  readonly #sql: ReturnType<typeof prepare>;

  constructor(database: Database, collection: number) {
    this.#sql = prepare(
      database,
      `deletions_${collection}`,
      `documents_${collection}`,
      `expiring_${collection}`,
    );
  }

  version(tenant: number, documentId: Uint8Array): number | undefined {
    const row = this.#sql.version.get(tenant, documentId) as { version: number } | undefined;
    return row?.version;
  }

  remember(tenant: number, documentId: Uint8Array, version: number): void {
    this.#sql.remember.run(tenant, documentId, version);
  }

  forget(tenant: number, documentId: Uint8Array): void {
    this.#sql.forget.run(tenant, documentId);
  }

  /** What is remembered, by document id, from the first one past `after`; with documents that have expired. */
  page(
    tenant: number,
    { after, limit, now }: { after: Uint8Array; limit: number; now: number },
  ): { documentId: string; version: number }[] {
    const rows = this.#sql.page.all(tenant, after, limit, now) as {
      documentId: Uint8Array;
      version: number;
    }[];
    return rows.map(({ documentId, version }) => ({ documentId: string(documentId), version }));
  }
}

function prepare(database: Database, deletions: string, documents: string, expiring: string) {
  return {
    version: database.prepare(`SELECT version FROM ${deletions} WHERE tenant = ? AND document_id = ?`),
    remember: database.prepare(
      `INSERT OR REPLACE INTO ${deletions} (tenant, document_id, version) VALUES (?, ?, ?)`,
    ),
    forget: database.prepare(`DELETE FROM ${deletions} WHERE tenant = ? AND document_id = ?`),
    page: database.prepare(
      `SELECT document_id AS documentId, version FROM (
         SELECT document_id, version FROM ${deletions} WHERE tenant = ?1 AND document_id > ?2
         UNION ALL
         SELECT document_id, version FROM ${documents} INDEXED BY ${expiring}
           WHERE expires_at <= ?4 AND tenant = ?1 AND document_id > ?2 AND version > 0)
       ORDER BY document_id LIMIT ?3`,
    ),
  };
}
