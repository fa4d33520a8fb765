import type { Database } from './database.ts';

/** The SQL statements over the documents of one collection; `layouts.ts` has their tables. */
export function documentStatements(database: Database, collection: number) {
  const documents = `documents_${collection}`;
  const texts = `texts_${collection}`;
  const expiring = `${documents} INDEXED BY expiring_${collection}`;
  const found = `id, document_id AS documentId, version, content_hash AS contentHash,
    encoding_hash AS encodingHash, expires_at AS expiresAt, text_kept AS textKept, passages`;
  const filtered = `id, document_id AS documentId, version, metadata, passages, content_hash AS contentHash,
    metadata_sum AS metadataSum`;
  const origin = 'ingested_at AS ingestedAt, ingest_sequence AS sequence, ingest_trace AS trace, position';
  const chosen = 'id IN (SELECT value FROM json_each(?))';
  return {
    find: database.prepare(`SELECT ${found} FROM ${documents} WHERE tenant = ? AND document_id = ?`),
    origin: database.prepare(`SELECT ${origin} FROM ${documents} WHERE id = ?`),
    hit: database.prepare(`SELECT ${filtered}, title, title_sum AS titleSum FROM ${documents} WHERE id = ?`),
    scan: database.prepare(`SELECT ${filtered} FROM ${documents}
       WHERE tenant = ? AND document_id > ? AND (expires_at IS NULL OR expires_at > ?)
       ORDER BY document_id LIMIT ?`),
    lastId: database.prepare(`SELECT coalesce(max(id), 0) AS id FROM ${documents}`),
    ids: database.prepare(
      `SELECT id, document_id AS documentId FROM ${documents}
       WHERE tenant = ? AND document_id > ? AND id <= ? ORDER BY document_id LIMIT ?`,
    ),
    expiries: database.prepare(
      `SELECT id, expires_at AS expiresAt FROM ${expiring} WHERE expires_at IS NOT NULL AND tenant = ?`,
    ),
    mirrored: database.prepare(
      `SELECT ${filtered}, expires_at AS expiresAt FROM ${documents} WHERE ${chosen} ORDER BY id`,
    ),
    rows: database.prepare(`SELECT ${found}, title, title_sum AS titleSum, metadata, metadata_sum AS metadataSum,
         text, sum AS textSum, ${origin}
       FROM ${documents} LEFT JOIN ${texts} ON document = id WHERE ${chosen} ORDER BY id`),
    expired: database.prepare(`SELECT ${found}, tenant FROM ${expiring}
       WHERE expires_at <= ? ORDER BY expires_at LIMIT ?`),
    insert: database.prepare(`INSERT INTO ${documents} (tenant, document_id, version, content_hash,
         encoding_hash, expires_at, text_kept, first_passage, passages, title, metadata, title_sum, metadata_sum,
         ingested_at, ingest_sequence, ingest_trace, position)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`),
    insertText: database.prepare(`INSERT INTO ${texts} (document, text, sum) VALUES (?, ?, ?)`),
    setVersion: database.prepare(`UPDATE ${documents} SET version = ? WHERE id = ?`),
    update: database.prepare(
      `UPDATE ${documents} SET version = ?, content_hash = ?, metadata = ?, expires_at = ?, metadata_sum = ?,
         ingested_at = ?, ingest_sequence = ?, ingest_trace = ?, position = ? WHERE id = ?`,
    ),
    delete: database.prepare(`DELETE FROM ${documents} WHERE id = ?`),
    deleteText: database.prepare(`DELETE FROM ${texts} WHERE document = ?`),
  };
}
