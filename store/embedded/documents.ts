import type { Counts } from '../store.ts';
import type { DocumentKey, GoneDocument, Ingested, Origin, StoredDocument } from '../document.ts';
import type { DocumentWriteResult } from '../writes.ts';
import { applyVersionRule, type Remembered } from '../versions.ts';
import type { Collection } from './catalog.ts';
import { ChangeLog } from './change-log.ts';
import { checksum, verify } from './checksums.ts';
import type { Database } from './database.ts';
import { Deletions } from './deletions.ts';
import {
  type Checked,
  type DocumentRow,
  type FilterRow,
  type FoundRow,
  ingestedIn,
  type MirroredRow,
  type OriginRow,
  type Raw,
  TextKept,
} from './document-rows.ts';
import { documentStatements } from './document-statements.ts';
import { Passages } from './passages.ts';
import type { PreparedPut, PreparedUpdate, PreparedWrite } from './prepare.ts';
import { bytes, string } from './strings.ts';
import { TenantData } from './tenant-data.ts';
import { Tenants } from './tenants.ts';
import { Words } from './words.ts';

/**
 * Rows that a scan reads at a time: enough to make the statement cheap, and not too many at 64 KiB of
 * metadata each.
 */
const SCAN_ROWS = 256;

/** Rows that a slice reads at a time: it ends between two of these reads. */
const FEW_ROWS = 64;

/** Names of documents that a statement reads: these rows are small. */
const IDS_PER_STATEMENT = 1024;

/** Expired documents, and passages of them, that a write deletes besides its own work: more than expire meanwhile. */
const EXPIRED_PER_WRITE = 128;
const EXPIRED_PASSAGES_PER_WRITE = 1024;

/**
 * The documents of one collection on disk; `layouts.ts` has their tables. The caller runs its methods in a transaction.
 *
 * Times are in milliseconds since the epoch. No read finds a document that has expired, except by its row.
 */
export class Documents {
  /** Its number in the catalogue. */
  readonly collection: number;
  readonly passages: Passages;
  readonly changes: ChangeLog;
  readonly deletions: Deletions;
  readonly tenants: Tenants;
  readonly data: TenantData;
  readonly words: Words;
  readonly #database: Database;
  readonly #sql: ReturnType<typeof documentStatements>;

  constructor(
    database: Database,
    { id: collection, dimensions }: Pick<Collection, 'id' | 'dimensions'>,
    changesKept?: number,
  ) {
    this.collection = collection;
    this.passages = new Passages(database, collection);
    this.changes = new ChangeLog(database, collection, changesKept);
    this.deletions = new Deletions(database, collection);
    this.tenants = new Tenants(database, collection);
    this.data = new TenantData(database, collection, dimensions);
    this.words = new Words(database, collection);
    this.#database = database;
    this.#sql = documentStatements(database, collection);
  }

  /** Counts of a tenant, or of all. */
  counts(now: number, tenant?: string): Counts {
    if (tenant === undefined) return this.tenants.counts(now);
    const row = this.tenants.find(tenant);
    return row === undefined ? { documents: 0, passages: 0 } : this.tenants.counts(now, row);
  }

  lookup(key: DocumentKey, now: number): (StoredDocument & { id: number }) | undefined {
    const tenant = this.tenants.find(key.tenant);
    const found = tenant === undefined ? undefined : this.#find(tenant, bytes(key.documentId));
    if (!found || isExpired(found, now)) return undefined;
    const { id, version, contentHash, encodingHash, textKept, passages } = found;
    return {
      id,
      version,
      contentHash: string(contentHash),
      ...(encodingHash && { encodingHash: string(encodingHash) }),
      textOmitted: textKept === TextKept.omitted,
      passages,
    };
  }

  /** Where a document comes from. */
  origin(key: DocumentKey, now: number): Origin | undefined {
    const found = this.lookup(key, now);
    if (!found) return undefined;
    const row = this.#sql.origin.get(found.id) as OriginRow;
    const ingested = ingestedIn(row);
    return {
      ...(ingested && { ingested }),
      ...(row.position !== null && { position: String(row.position) }),
    };
  }

  /** What is remembered of a document that is gone. */
  gone(key: DocumentKey, now: number): GoneDocument | undefined {
    const tenant = this.tenants.find(key.tenant);
    if (tenant === undefined) return undefined;
    const documentId = bytes(key.documentId);
    const found = this.#find(tenant, documentId);
    if (found) return isExpired(found, now) ? { version: found.version, expired: true } : undefined;
    const version = this.deletions.version(tenant, documentId);
    return version === undefined ? undefined : { version, expired: false };
  }

  /** Applies steps in order. */
  write(writes: readonly PreparedWrite[], now: number): DocumentWriteResult[] {
    const tenants = new Map<string, { row: number; position: number }>();
    this.start();
    const results = writes.map((write) => {
      let tenant = tenants.get(write.tenant);
      if (tenant === undefined) {
        const row = this.tenants.find(write.tenant) ?? this.tenants.add(write.tenant);
        tenant = { row, position: this.changes.nextPosition(row) };
        tenants.set(write.tenant, tenant);
      }
      return this.#apply(tenant.row, write, { now, position: tenant.position });
    });
    this.#buryExpired(now);
    this.settle();
    return results;
  }

  /** A transaction of changes begins; {@link settle} ends it. */
  start(): void {
    this.words.start();
  }

  /** Ends the changes of a transaction. */
  settle(): void {
    this.words.flush();
    this.changes.trim();
  }

  /** Deletes a row of a tenant that {@link scan} has returned, between {@link start} and {@link settle}. */
  deleteRow(tenant: number, id: number): void {
    this.#remove(tenant, id);
    this.changes.add(tenant, id, null);
  }

  /** The first few documents of a tenant past `after`, by document id; none at the end. */
  few(tenant: number, now: number, after: string): FilterRow[] {
    const rows = this.#sql.scan.all(tenant, bytes(after), now, FEW_ROWS) as Raw<FilterRow>[];
    return rows.map((row) => {
      this.#verify(row);
      return { ...row, documentId: string(row.documentId) };
    });
  }

  /** The highest row that there is; 0 if there is none. */
  lastId(): number {
    return (this.#sql.lastId.get() as { id: number }).id;
  }

  /**
   * The next documents of a tenant past `after`, by document id, expired or not; none at the end. It reads an index alone.
   *
   * @param lastId the highest row to return
   */
  ids(tenant: number, after: string, lastId: number): { id: number; documentId: string }[] {
    const rows = this.#sql.ids.all(tenant, bytes(after), lastId, IDS_PER_STATEMENT) as {
      id: number;
      documentId: Uint8Array;
    }[];
    return rows.map(({ id, documentId }) => ({ id, documentId: string(documentId) }));
  }

  /** When documents of a tenant expire, for those that do; expired or not. */
  expiries(tenant: number): { id: number; expiresAt: number }[] {
    return this.#sql.expiries.all(tenant) as { id: number; expiresAt: number }[];
  }

  /** Documents by row, as far as they are there. @param ids ascending, as is the answer */
  *mirrored(ids: readonly number[]): Generator<MirroredRow, void, undefined> {
    for (let start = 0; start < ids.length; start += SCAN_ROWS) {
      const chunk = JSON.stringify(ids.slice(start, start + SCAN_ROWS));
      const rows = this.#sql.mirrored.all(chunk) as Raw<MirroredRow>[];
      for (const row of rows) {
        this.#verify(row);
        yield { ...row, documentId: string(row.documentId) };
      }
    }
  }

  /** Documents by row, as far as they are there, all in one statement. @param ids ascending, as is the answer */
  rows(ids: readonly number[]): DocumentRow[] {
    const rows = this.#sql.rows.all(JSON.stringify(ids)) as (Raw<DocumentRow> & { textSum: number | null })[];
    for (const row of rows) {
      this.#verify(row);
      if (row.text) verify(this.#database, row.text, row.id, row.textSum, `the text of document ${row.id}`);
    }
    return rows.map((row) => ({
      ...row,
      documentId: string(row.documentId),
      contentHash: string(row.contentHash),
      encodingHash: row.encodingHash && string(row.encodingHash),
      title: string(row.title),
      text: row.text && string(row.text),
    }));
  }

  /** What a hit shows of a document. */
  hit(id: number): { title: string; version: number; metadata: string } {
    const row = this.#sql.hit.get(id) as Raw<Checked> & { title: Uint8Array; version: number };
    this.#verify(row);
    return { ...row, title: string(row.title) };
  }

  #apply(tenant: number, write: PreparedWrite, { now, position }: Moment): DocumentWriteResult {
    const documentId = bytes(write.documentId);
    let stored = this.#find(tenant, documentId);
    if (stored && isExpired(stored, now)) {
      this.#bury(tenant, stored);
      stored = undefined;
    }
    const before = stored ? rememberedDocument(stored) : this.#deletion(tenant, documentId);
    const { result, after } = applyVersionRule(before, write);
    if (after === before) return result;
    if (stored && (write.kind === 'confirm' || write.kind === 'update')) {
      if (write.kind === 'confirm') this.#sql.setVersion.run(write.version, stored.id);
      else this.#update(stored.id, write, position);
      this.changes.add(tenant, null, stored.id);
      return result;
    }
    if (stored) this.#remove(tenant, stored.id);
    if (write.kind === 'put') {
      if (before?.kind === 'delete') this.deletions.forget(tenant, documentId);
      this.changes.add(tenant, stored?.id ?? null, this.#insert(tenant, documentId, write, position));
      return result;
    }
    if (stored) this.changes.add(tenant, stored.id, null);
    if (after) this.deletions.remember(tenant, documentId, after.version);
    return result;
  }

  #insert(tenant: number, documentId: Uint8Array, put: PreparedPut, position: number): number {
    const { text } = put;
    const textKept = placeOfText(put);
    const { lastInsertRowid } = this.#sql.insert.run(
      tenant,
      documentId,
      put.version,
      bytes(put.contentHash),
      bytes(put.encodingHash),
      put.expiresAt ?? null,
      textKept,
      this.passages.insert(put.passages),
      put.passages.length,
      bytes(put.title),
      put.metadata,
      checksum(bytes(put.title), documentId),
      checksum(put.metadata, bytes(put.contentHash)),
      ...originColumns(put.ingested, position),
    );
    const id = Number(lastInsertRowid);
    if (textKept === TextKept.apart) {
      const whole = bytes(text!);
      this.#sql.insertText.run(id, whole, checksum(whole, id));
    }
    this.words.add(tenant, put.passages);
    this.tenants.change(tenant, 1, put.passages.length);
    return id;
  }

  #update(id: number, update: PreparedUpdate, position: number): void {
    const { version, contentHash, metadata, expiresAt = null, ingested } = update;
    const hash = bytes(contentHash);
    const origin = originColumns(ingested, position);
    this.#sql.update.run(version, hash, metadata, expiresAt, checksum(metadata, hash), ...origin, id);
  }

  /** Removes a row without telling the change log. */
  #remove(tenant: number, id: number): void {
    this.words.remove(tenant, id);
    const passages = this.passages.delete(id);
    this.#sql.deleteText.run(id);
    this.#sql.delete.run(id);
    this.tenants.change(tenant, -1, -passages);
  }

  /** Deletes a document that has expired, and remembers its version, so that nothing older comes back. */
  #bury(tenant: number, { id, documentId, version }: Pick<FoundRow, 'id' | 'documentId' | 'version'>): void {
    this.deleteRow(tenant, id);
    if (version > 0) this.deletions.remember(tenant, documentId, version);
  }

  /** Deletes some of the documents that have expired, the longest expired first. */
  #buryExpired(now: number): void {
    const rows = this.#sql.expired.all(now, EXPIRED_PER_WRITE) as (FoundRow & { tenant: number })[];
    let passages = 0;
    for (const row of rows) {
      if (passages >= EXPIRED_PASSAGES_PER_WRITE) return;
      this.#bury(row.tenant, row);
      passages += row.passages;
    }
  }

  /** Compares what was read of a row with its checksums. */
  #verify(read: object): void {
    const row = read as Raw<Checked>;
    const { id, documentId, title, contentHash, metadata, titleSum, metadataSum } = row;
    verify(this.#database, metadata, contentHash, metadataSum, `the metadata of document ${id}`);
    if (title !== undefined)
      verify(this.#database, title, documentId, titleSum, `the title of document ${id}`);
  }

  #find(tenant: number, documentId: Uint8Array): FoundRow | undefined {
    return this.#sql.find.get(tenant, documentId) as FoundRow | undefined;
  }

  #deletion(tenant: number, documentId: Uint8Array): Remembered | undefined {
    const version = this.deletions.version(tenant, documentId);
    return version === undefined ? undefined : { kind: 'delete', version };
  }
}

/** When a write takes effect. */
interface Moment {
  now: number;
  /** The tenant's, once the transaction is done. */
  position: number;
}

function originColumns(ingested: Ingested | undefined, position: number) {
  return [ingested?.at ?? null, ingested?.sequence ?? null, ingested?.trace ?? null, position] as const;
}

function isExpired({ expiresAt }: { expiresAt: number | null }, now: number): boolean {
  return expiresAt !== null && expiresAt <= now;
}

function placeOfText({ text, passages }: PreparedPut): number {
  if (text === undefined) return TextKept.omitted;
  return passages.length === 1 && passages[0]!.text === text ? TextKept.inPassage : TextKept.apart;
}

function rememberedDocument({ version, contentHash, encodingHash }: FoundRow): Remembered {
  return {
    kind: 'document',
    version,
    contentHash: string(contentHash),
    ...(encodingHash && { encodingHash: string(encodingHash) }),
  };
}
