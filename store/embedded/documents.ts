import type { Counts, DocumentKey, DocumentWriteResult, StoredDocument } from '../store.ts';
import { applyVersionRule, type Remembered } from '../versions.ts';
import type { Database, Statement } from './database.ts';
import type { PreparedPut, PreparedWrite } from './prepare.ts';
import { encodeSparse } from './sparse-index.ts';

/** An entry of the change log, which tells mirrors of a put, a confirm or a delete. */
export interface Change {
  seq: number;
  /** Row of `documents` that was removed, if any. */
  removed: number | null;
  /** Row of `documents` that was added, or whose version changed; `null` for a delete. */
  added: number | null;
}

/** The columns of `documents` that a filter needs. */
export interface FilterRow {
  id: number;
  documentId: string;
  version: number;
  /** JSON. */
  metadata: string;
  passages: number;
}

/** A row of `documents`. */
export interface DocumentRow extends FilterRow {
  contentHash: string;
  title: string;
}

/**
 * How many changes the log keeps. A mirror that is further behind loads everything again, which takes about
 * as long as applying this many changes. A log of twice this length is cut to this length.
 */
const CHANGES_KEPT = 100_000;

/**
 * Rows that a scan reads at a time: enough to make the statement cheap, and not too many at 64 KiB of
 * metadata each.
 */
const SCAN_ROWS = 256;

/**
 * Makes the tables of one collection. Each collection has its own, so that a drop does not delete row by row.
 *
 * - A row of `documents` is one put. A later put of the same document is a new row with a new id; only the version of a
 *   row ever changes. Its passages are `passages` rows from `first_passage` on.
 * - `changes` is the log that mirrors follow.
 * - `deletions` remembers the versions of deletes.
 * - `tenants` holds each tenant's counts.
 *
 * Callers' strings are stored as UTF-8 in BLOBs, because the driver cuts a bound string at its first NUL.
 */
export function createDocumentTables(database: Database, collection: number): void {
  database.exec(`
    CREATE TABLE tenants_${collection} (
      id INTEGER PRIMARY KEY,
      tenant BLOB NOT NULL UNIQUE,
      documents INTEGER NOT NULL DEFAULT 0,
      passages INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE documents_${collection} (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      tenant INTEGER NOT NULL,
      document_id BLOB NOT NULL,
      version INTEGER NOT NULL,
      content_hash BLOB NOT NULL,
      first_passage INTEGER NOT NULL,
      passages INTEGER NOT NULL,
      title BLOB NOT NULL,
      metadata TEXT NOT NULL,
      UNIQUE (tenant, document_id)
    );
    CREATE TABLE passages_${collection} (
      id INTEGER PRIMARY KEY,
      vector BLOB NOT NULL,
      sparse BLOB,
      text BLOB
    );
    CREATE TABLE deletions_${collection} (
      tenant INTEGER NOT NULL,
      document_id BLOB NOT NULL,
      version INTEGER NOT NULL,
      PRIMARY KEY (tenant, document_id)
    ) WITHOUT ROWID;
    CREATE TABLE changes_${collection} (
      seq INTEGER PRIMARY KEY AUTOINCREMENT,
      tenant INTEGER NOT NULL,
      removed INTEGER,
      added INTEGER
    );
  `);
}

/** Drops the tables of one collection. */
export function dropDocumentTables(database: Database, collection: number): void {
  for (const table of ['tenants', 'documents', 'passages', 'deletions', 'changes']) {
    database.exec(`DROP TABLE ${table}_${collection}`);
  }
}

/** The documents of one collection on disk. The caller runs its methods in a transaction. */
export class Documents {
  readonly #sql: ReturnType<typeof prepare>;

  readonly #changesKept: number;

  constructor(database: Database, collection: number, changesKept = CHANGES_KEPT) {
    this.#sql = prepare(database, collection);
    this.#changesKept = changesKept;
  }

  /** The row of a tenant; `undefined` for one that never had a document. */
  tenant(tenant: string): number | undefined {
    const row = this.#sql.tenant.get(bytes(tenant)) as { id: number } | undefined;
    return row?.id;
  }

  /** Every tenant that has documents; tenants with the most passages first. */
  tenants(): { tenant: number; passages: number }[] {
    return this.#sql.tenants.all() as { tenant: number; passages: number }[];
  }

  counts(tenant?: string): Counts {
    const row = tenant === undefined ? this.#sql.countAll.get() : this.#sql.countTenant.get(bytes(tenant));
    return { documents: 0, passages: 0, ...(row as Counts | undefined) };
  }

  lookup({ tenant, documentId }: DocumentKey): StoredDocument | undefined {
    const tenantRow = this.tenant(tenant);
    const found = tenantRow === undefined ? undefined : this.#find(tenantRow, bytes(documentId));
    return (
      found && {
        version: found.version,
        contentHash: found.contentHash,
        textOmitted: false,
        passages: found.passages,
      }
    );
  }

  /** Applies steps in order. */
  write(writes: readonly PreparedWrite[]): DocumentWriteResult[] {
    const tenants = new Map<string, number>();
    const results = writes.map((write) => {
      let tenant = tenants.get(write.tenant);
      if (tenant === undefined) {
        tenant = this.tenant(write.tenant) ?? this.#addTenant(write.tenant);
        tenants.set(write.tenant, tenant);
      }
      return this.#apply(tenant, write);
    });
    this.#trimChanges();
    return results;
  }

  /** Deletes rows of a tenant that {@link scan} has returned. */
  deleteRows(tenant: number, rows: readonly { id: number }[]): void {
    for (const { id } of rows) {
      this.#remove(tenant, id);
      this.#sql.addChange.run(tenant, id, null);
    }
    this.#trimChanges();
  }

  /** Documents of a tenant by document id, from the first one past `after`. */
  *scan(tenant: number, after = ''): Generator<FilterRow, void, undefined> {
    let last = bytes(after);
    for (;;) {
      const rows = this.#sql.scan.all(tenant, last, SCAN_ROWS) as Raw<FilterRow>[];
      for (const row of rows) yield { ...row, documentId: string(row.documentId) };
      if (rows.length < SCAN_ROWS) return;
      last = rows.at(-1)!.documentId;
    }
  }

  /** Every document of a tenant. */
  ids(tenant: number): { id: number; documentId: string }[] {
    const rows = this.#sql.ids.all(tenant) as { id: number; documentId: Uint8Array }[];
    return rows.map(({ id, documentId }) => ({ id, documentId: string(documentId) }));
  }

  row(id: number): DocumentRow | undefined {
    const row = this.#sql.row.get(id) as Raw<DocumentRow> | undefined;
    return (
      row && {
        ...row,
        documentId: string(row.documentId),
        contentHash: string(row.contentHash),
        title: string(row.title),
      }
    );
  }

  /** Text of one passage; `undefined` if none is stored. */
  text(id: number, passage: number): string | undefined {
    const { text } = this.#sql.text.get(passage, id) as { text: Uint8Array | null };
    return text === null ? undefined : string(text);
  }

  /** Texts of all passages of a document, in order. */
  texts(id: number): string[] {
    const rows = this.#sql.texts.all(id) as { text: Uint8Array | null }[];
    return rows.map(({ text }) => (text === null ? '' : string(text)));
  }

  /** Dense vectors of a document's passages as bytes of float32, in order. */
  vectors(id: number): Uint8Array[] {
    return (this.#sql.vectors.all(id) as { vector: Uint8Array }[]).map(({ vector }) => vector);
  }

  /** Sparse vectors of a document's passages, in order; see {@link encodeSparse}. */
  sparseVectors(id: number): (Uint8Array | null)[] {
    return (this.#sql.sparseVectors.all(id) as { sparse: Uint8Array | null }[]).map(({ sparse }) => sparse);
  }

  /** The oldest and the newest change that the log has; 0 if there never was one. */
  changeBounds(): { oldest: number; newest: number } {
    return this.#sql.changeBounds.get() as { oldest: number; newest: number };
  }

  /** Changes to a tenant's documents after `seq`, in order. */
  changes(tenant: number, seq: number): Change[] {
    return this.#sql.changes.all(seq, tenant) as Change[];
  }

  #apply(tenant: number, write: PreparedWrite): DocumentWriteResult {
    const documentId = bytes(write.documentId);
    const stored = this.#find(tenant, documentId);
    const before = stored ? rememberedDocument(stored) : this.#deletion(tenant, documentId);
    const { result, after } = applyVersionRule(before, write);
    if (after === before) return result;
    if (write.kind === 'confirm') {
      this.#sql.setVersion.run(write.version, stored!.id);
      this.#sql.addChange.run(tenant, null, stored!.id);
      return result;
    }
    if (stored) this.#remove(tenant, stored.id);
    if (write.kind === 'put') {
      if (before?.kind === 'delete') this.#sql.forget.run(tenant, documentId);
      this.#sql.addChange.run(tenant, stored?.id ?? null, this.#insert(tenant, documentId, write));
      return result;
    }
    if (stored) this.#sql.addChange.run(tenant, stored.id, null);
    if (after) this.#sql.remember.run(tenant, documentId, after.version);
    return result;
  }

  #insert(tenant: number, documentId: Uint8Array, put: PreparedPut): number {
    const { next } = this.#sql.nextPassage.get() as { next: number };
    for (const [index, { vector, sparse, text }] of put.passages.entries()) {
      this.#sql.insertPassage.run(
        next + index,
        new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength),
        sparse && sparse.indices.length > 0 ? encodeSparse(sparse) : null,
        text === undefined ? null : bytes(text),
      );
    }
    const { lastInsertRowid } = this.#sql.insertDocument.run(
      tenant,
      documentId,
      put.version,
      bytes(put.contentHash),
      next,
      put.passages.length,
      bytes(put.title),
      put.metadata,
    );
    this.#sql.addCounts.run(1, put.passages.length, tenant);
    return Number(lastInsertRowid);
  }

  #remove(tenant: number, id: number): void {
    const { changes } = this.#sql.deletePassages.run(id);
    this.#sql.deleteDocument.run(id);
    this.#sql.addCounts.run(-1, -changes, tenant);
  }

  #find(tenant: number, documentId: Uint8Array): (StoredDocument & { id: number }) | undefined {
    const row = this.#sql.find.get(tenant, documentId) as Raw<StoredDocument & { id: number }> | undefined;
    return row && { ...row, contentHash: string(row.contentHash) };
  }

  #deletion(tenant: number, documentId: Uint8Array): Remembered | undefined {
    const row = this.#sql.deletedVersion.get(tenant, documentId) as { version: number } | undefined;
    return row && { kind: 'delete', version: row.version };
  }

  #addTenant(tenant: string): number {
    return Number(this.#sql.addTenant.run(bytes(tenant)).lastInsertRowid);
  }

  #trimChanges(): void {
    const { oldest, newest } = this.changeBounds();
    if (newest - oldest >= 2 * this.#changesKept) this.#sql.trimChanges.run(newest - this.#changesKept);
  }
}

function rememberedDocument({ version, contentHash }: StoredDocument): Remembered {
  return { kind: 'document', version, contentHash };
}

/** A row as it is stored: callers' strings are bytes. */
type Raw<Row> = {
  [Key in keyof Row]: Key extends 'documentId' | 'contentHash' | 'title' ? Uint8Array : Row[Key];
};

function prepare(database: Database, collection: number) {
  const sql = (text: string): Statement => database.prepare(text);
  const tenants = `tenants_${collection}`;
  const documents = `documents_${collection}`;
  const passages = `passages_${collection}`;
  const deletions = `deletions_${collection}`;
  const changes = `changes_${collection}`;
  const ofDocument = `FROM ${passages} p JOIN ${documents} d
    ON p.id >= d.first_passage AND p.id < d.first_passage + d.passages WHERE d.id = ? ORDER BY p.id`;
  return {
    tenant: sql(`SELECT id FROM ${tenants} WHERE tenant = ?`),
    addTenant: sql(`INSERT INTO ${tenants} (tenant) VALUES (?)`),
    addCounts: sql(`UPDATE ${tenants} SET documents = documents + ?, passages = passages + ? WHERE id = ?`),
    tenants: sql(`SELECT id AS tenant, passages FROM ${tenants} WHERE passages > 0 ORDER BY passages DESC`),
    countTenant: sql(`SELECT documents, passages FROM ${tenants} WHERE tenant = ?`),
    countAll: sql(
      `SELECT coalesce(sum(documents), 0) AS documents, coalesce(sum(passages), 0) AS passages FROM ${tenants}`,
    ),

    find: sql(`SELECT id, version, content_hash AS contentHash, passages FROM ${documents}
       WHERE tenant = ? AND document_id = ?`),
    row: sql(`SELECT id, document_id AS documentId, version, content_hash AS contentHash, title, metadata, passages
       FROM ${documents} WHERE id = ?`),
    scan: sql(`SELECT id, document_id AS documentId, version, metadata, passages FROM ${documents}
       WHERE tenant = ? AND document_id > ? ORDER BY document_id LIMIT ?`),
    ids: sql(`SELECT id, document_id AS documentId FROM ${documents} WHERE tenant = ?`),
    insertDocument: sql(`INSERT INTO ${documents}
         (tenant, document_id, version, content_hash, first_passage, passages, title, metadata)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)`),
    setVersion: sql(`UPDATE ${documents} SET version = ? WHERE id = ?`),
    deleteDocument: sql(`DELETE FROM ${documents} WHERE id = ?`),

    nextPassage: sql(`SELECT coalesce(max(id), 0) + 1 AS next FROM ${passages}`),
    insertPassage: sql(`INSERT INTO ${passages} (id, vector, sparse, text) VALUES (?, ?, ?, ?)`),
    deletePassages:
      sql(`DELETE FROM ${passages} WHERE id >= (SELECT first_passage FROM ${documents} WHERE id = ?1)
       AND id < (SELECT first_passage + passages FROM ${documents} WHERE id = ?1)`),
    text: sql(
      `SELECT text FROM ${passages} WHERE id = ? + (SELECT first_passage FROM ${documents} WHERE id = ?)`,
    ),
    texts: sql(`SELECT p.text ${ofDocument}`),
    vectors: sql(`SELECT p.vector ${ofDocument}`),
    sparseVectors: sql(`SELECT p.sparse ${ofDocument}`),

    deletedVersion: sql(`SELECT version FROM ${deletions} WHERE tenant = ? AND document_id = ?`),
    remember: sql(`INSERT OR REPLACE INTO ${deletions} (tenant, document_id, version) VALUES (?, ?, ?)`),
    forget: sql(`DELETE FROM ${deletions} WHERE tenant = ? AND document_id = ?`),

    addChange: sql(`INSERT INTO ${changes} (tenant, removed, added) VALUES (?, ?, ?)`),
    changeBounds: sql(`SELECT coalesce((SELECT min(seq) FROM ${changes}), 0) AS oldest,
         coalesce((SELECT max(seq) FROM ${changes}), 0) AS newest`),
    changes: sql(`SELECT seq, removed, added FROM ${changes} WHERE seq > ? AND tenant = ? ORDER BY seq`),
    trimChanges: sql(`DELETE FROM ${changes} WHERE seq <= ?`),
  };
}

function bytes(text: string): Uint8Array {
  return Buffer.from(text);
}

function string(utf8: Uint8Array): string {
  return Buffer.from(utf8.buffer, utf8.byteOffset, utf8.byteLength).toString();
}
