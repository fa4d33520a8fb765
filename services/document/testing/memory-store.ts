import { StoreError, collectionNotFound, spaceMismatch } from '../../../store/errors.ts';
import {
  physicalName,
  type BulkLoad,
  type CollectionInfo,
  type DocumentKey,
  type DocumentWrite,
  type DocumentWriteResult,
  type Filter,
  type PassageWrite,
  type ScrollPage,
  type SpaceKey,
  type StoredDocument,
} from '../../../store/store.ts';
import type { Snapshot, TestStore } from './test-store.ts';

interface Row {
  version: number;
  /** Absent for a remembered deletion. */
  document?: { contentHash: string; title: string; metadata: unknown; passages: readonly PassageWrite[] };
}

/**
 * A store in memory whose calls can be held back, made to fail, and looked at. Follows `Store`'s contract for what the
 * document service calls.
 */
export class MemoryStore implements TestStore {
  readonly kind = 'embedded';
  /** By physical name. */
  readonly #collections = new Map<string, { space: SpaceKey; rows: Map<string, Row> }>();
  readonly #aliases = new Map<string, string>();
  readonly batches: string[][] = [];
  lookups = 0;
  bulkLoads = 0;
  before: TestStore['before'] = () => {};

  async ensureCollection(name: string, space: SpaceKey): Promise<CollectionInfo> {
    await this.before('ensure', []);
    const found = this.#collections.get(this.#aliases.get(name) ?? name);
    if (found && found.space.fingerprint !== space.fingerprint) {
      throw spaceMismatch(name, found.space.fingerprint, space.fingerprint);
    }
    if (!found) {
      const physical = physicalName(name, space.fingerprint);
      this.#collections.set(physical, { space, rows: new Map() });
      this.#aliases.set(name, physical);
    }
    return this.#info(name);
  }

  async beginBulk(collection: string): Promise<BulkLoad> {
    this.#find(collection);
    this.bulkLoads++;
    return {
      end: async () => {
        this.bulkLoads--;
        await this.before('end', []);
      },
    };
  }

  async aliases(): Promise<Map<string, string>> {
    return new Map(this.#aliases);
  }

  async switchAlias(alias: string, physical: string): Promise<void> {
    this.#find(physical);
    this.#aliases.set(alias, physical);
  }

  async dropCollection(physical: string): Promise<void> {
    this.#find(physical);
    this.#collections.delete(physical);
    for (const [alias, led] of this.#aliases) if (led === physical) this.#aliases.delete(alias);
  }

  async listCollections(): Promise<CollectionInfo[]> {
    return [...this.#collections.keys()].sort().map((name) => this.#info(name));
  }

  async lookupDocuments(
    collection: string,
    keys: readonly DocumentKey[],
  ): Promise<(StoredDocument | undefined)[]> {
    await this.before('lookup', []);
    this.lookups += keys.length;
    const { rows } = this.#find(collection);
    return keys.map((key) => {
      const row = rows.get(rowKey(key));
      if (!row?.document) return undefined;
      const { contentHash, passages } = row.document;
      return { version: row.version, contentHash, passages: passages.length };
    });
  }

  async writeDocuments(collection: string, writes: readonly DocumentWrite[]): Promise<DocumentWriteResult[]> {
    await this.before('write', writes);
    const { rows } = this.#find(collection);
    this.batches.push(writes.map(({ documentId }) => documentId));
    return writes.map((write) => apply(rows, write));
  }

  async deleteByFilter(collection: string, tenant: string, filter: Filter): Promise<number> {
    const { rows } = this.#find(collection);
    const gone = [...rows].filter(([key, row]) => row.document && holds(filter, tenant, key));
    for (const [key] of gone) rows.delete(key);
    return gone.length;
  }

  async scroll(
    collection: string,
    tenant: string,
    { limit, after = '' }: { limit: number; after?: string },
  ): Promise<ScrollPage> {
    const all = [...this.#find(collection).rows]
      .flatMap(([key, { version, document }]) => {
        const [owner, documentId] = JSON.parse(key) as [string, string];
        return document !== undefined && owner === tenant ? [{ documentId, version, document }] : [];
      })
      .sort((a, b) => (a.documentId < b.documentId ? -1 : 1))
      .filter(({ documentId }) => documentId > after);
    const documents = all.slice(0, limit).map(({ documentId, version, document }) => ({
      tenant,
      documentId,
      version,
      title: document.title,
      contentHash: document.contentHash,
      metadata: {},
      texts: document.passages.map(({ text = '' }) => text),
    }));
    return all.length > limit ? { documents, next: documents.at(-1)!.documentId } : { documents };
  }

  async count(
    collection: string,
    tenant: string,
    filter: Filter = {},
  ): Promise<{ documents: number; passages: number }> {
    const counted = [...this.#find(collection).rows].filter(
      ([key, row]) => row.document && holds(filter, tenant, key),
    );
    return {
      documents: counted.length,
      passages: counted.reduce((sum, [, row]) => sum + row.document!.passages.length, 0),
    };
  }

  async contents(collection: string, tenant = ''): Promise<Record<string, Snapshot>> {
    const documents: Record<string, Snapshot> = {};
    for (const [key, { version, document }] of [...this.#find(collection).rows].sort()) {
      const [owner, id] = JSON.parse(key) as [string, string];
      if (owner !== tenant || !document) continue;
      const { title, metadata } = document;
      const passages = document.passages.map(({ text = '' }) => ({ text }));
      documents[id] = { version, title, metadata, passages };
    }
    return documents;
  }

  async dispose(): Promise<void> {}

  #find(collection: string): { space: SpaceKey; rows: Map<string, Row> } {
    const found = this.#collections.get(this.#aliases.get(collection) ?? collection);
    if (!found) throw collectionNotFound(collection);
    return found;
  }

  #info(name: string): CollectionInfo {
    const { space, rows } = this.#find(name);
    const documents = [...rows.values()].flatMap(({ document }) => document ?? []);
    const physical = this.#aliases.get(name) ?? name;
    const [alias] = [...this.#aliases].find(([, led]) => led === physical) ?? [];
    return {
      name: alias ?? physical,
      physicalName: physical,
      space,
      documents: documents.length,
      passages: documents.reduce((sum, { passages }) => sum + passages.length, 0),
    };
  }
}

/** The store is away, for now. */
export function away(): StoreError {
  return new StoreError('STORE_UNAVAILABLE', 'the store is away');
}

function apply(rows: Map<string, Row>, write: DocumentWrite): DocumentWriteResult {
  const key = rowKey(write);
  const row = rows.get(key);
  if (row && row.version > write.version) return { outcome: 'stale', storedVersion: row.version };
  switch (write.kind) {
    case 'put': {
      const { version, contentHash, title, metadata, passages } = write;
      rows.set(key, { version, document: { contentHash, title, metadata, passages } });
      return { outcome: 'indexed' };
    }
    case 'confirm':
      if (row?.document?.contentHash !== write.contentHash) return { outcome: 'changed' };
      row.version = write.version;
      return { outcome: 'unchanged' };
    default:
      if (write.version > 0) rows.set(key, { version: write.version });
      else rows.delete(key);
      return { outcome: 'deleted' };
  }
}

/** Understands what Delete makes of ids; every other filter holds. */
function holds({ must = [] }: Filter, tenant: string, key: string): boolean {
  const [owner, id] = JSON.parse(key) as [string, string];
  return owner === tenant && must.every((test) => !('anyOf' in test) || test.anyOf.includes(id));
}

function rowKey({ tenant, documentId }: DocumentKey): string {
  return JSON.stringify([tenant, documentId]);
}
