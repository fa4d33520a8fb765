import { randomBytes } from 'node:crypto';
import { StoreError } from '../../../store/errors.ts';
import type { Freshness } from '../../../store/freshness.ts';
import type { FieldType } from '../../../store/indexed-fields.ts';
import { openStore } from '../../../store/open.ts';
import type { Filter } from '../../../store/queries.ts';
import type {
  BulkLoad,
  CallOptions,
  CollectionInfo,
  CollectionKey,
  ScrollPage,
  NewCollection,
  Store,
  TenantCounts,
  Usage,
} from '../../../store/store.ts';
import {
  type DocumentKey,
  type FullDocument,
  passageTexts,
  type StoredDocument,
} from '../../../store/document.ts';
import type { DocumentWrite, DocumentWriteResult } from '../../../store/writes.ts';
import { MemoryStore } from '../../../store/testing/memory-store.ts';
import type { ServiceStore } from '../service.ts';

/** Documents of a page: more than any test has. */
const PAGE = 5000;

/** A document as tests compare it. */
export interface Snapshot {
  version: number;
  title: string;
  metadata: unknown;
  /** An empty text where it is not stored. */
  passages: { text: string }[];
}

/**
 * A store whose calls a test can delay, make fail and look at. Its collections have names that no other test has, so
 * that many tests can share one server.
 */
export class TestStore implements ServiceStore {
  readonly kind: Store['kind'];
  /** Runs before each call; what it throws, the call throws. */
  before: (
    call: 'find' | 'ensure' | 'lookup' | 'read' | 'write' | 'freshness' | 'end',
    writes: readonly DocumentWrite[],
  ) => Promise<void> | void = () => {};
  /** Every write that took effect, as document ids. */
  readonly writes: string[][] = [];
  /** Documents that were looked up. */
  lookups = 0;
  /** Every call that read whole documents, as document ids. */
  readonly reads: string[][] = [];
  /** Bulk loads that have begun and not ended. */
  bulkLoads = 0;
  readonly #store: Store;
  readonly #prefix = `t${randomBytes(4).toString('hex')}-`;

  /** @param store where everything is kept; the test store closes it */
  constructor(store: Store = new MemoryStore()) {
    this.#store = store;
    this.kind = store.kind;
  }

  async ensureCollection(name: string, space: NewCollection, options?: CallOptions): Promise<CollectionInfo> {
    await this.before('ensure', []);
    return this.#short(await this.#store.ensureCollection(this.#prefix + name, space, options));
  }

  indexField(collection: string, field: string, type: FieldType): Promise<void> {
    return this.#store.indexField(this.#prefix + collection, field, type);
  }

  setAnalysis(collection: string, analysis: string): Promise<void> {
    return this.#store.setAnalysis(this.#prefix + collection, analysis);
  }

  /** Words of a tenant that are counted, sorted. */
  async wordsOf(collection: string, tenant = ''): Promise<string[]> {
    const { counted } = await this.#store.words(this.#prefix + collection, tenant, { limit: 1000 });
    return counted!.words.split('\n').sort();
  }

  goldenVectors(collection: string, options?: CallOptions): Promise<string | undefined> {
    return this.#store.goldenVectors(this.#prefix + collection, options);
  }

  async findCollection(name: string, options?: CallOptions): Promise<CollectionKey> {
    await this.before('find', []);
    return this.#short(await this.#store.findCollection(this.#prefix + name, options));
  }

  async freshness(collection: string, options?: CallOptions & { tenant?: string }): Promise<Freshness> {
    await this.before('freshness', []);
    return this.#store.freshness(this.#prefix + collection, options);
  }

  async beginBulk(collection: string, options?: CallOptions): Promise<BulkLoad> {
    const load = await this.#store.beginBulk(this.#prefix + collection, options);
    this.bulkLoads++;
    return {
      end: async (bounds) => {
        this.bulkLoads--;
        await this.before('end', []);
        await load.end(bounds);
      },
    };
  }

  async lookupDocuments(
    collection: string,
    keys: readonly DocumentKey[],
    options?: CallOptions,
  ): Promise<(StoredDocument | undefined)[]> {
    await this.before('lookup', []);
    this.lookups += keys.length;
    return this.#store.lookupDocuments(this.#prefix + collection, keys, options);
  }

  async readDocuments(
    collection: string,
    keys: readonly DocumentKey[],
    what?: { withVectors?: boolean },
    options?: CallOptions,
  ): Promise<(FullDocument | undefined)[]> {
    await this.before('read', []);
    this.reads.push(keys.map(({ documentId }) => documentId));
    return this.#store.readDocuments(this.#prefix + collection, keys, what, options);
  }

  async writeDocuments(
    collection: string,
    writes: readonly DocumentWrite[],
    options?: CallOptions,
  ): Promise<DocumentWriteResult[]> {
    await this.before('write', writes);
    const results = await this.#store.writeDocuments(this.#prefix + collection, writes, options);
    this.writes.push(writes.map(({ documentId }) => documentId));
    return results;
  }

  deleteByFilter(collection: string, tenant: string, filter: Filter, options?: CallOptions): Promise<number> {
    return this.#store.deleteByFilter(this.#prefix + collection, tenant, filter, options);
  }

  count(
    collection: string,
    tenant: string,
    filter?: Filter,
    options?: CallOptions,
  ): Promise<{ documents: number; passages: number }> {
    return this.#store.count(this.#prefix + collection, tenant, filter, options);
  }

  scroll(
    collection: string,
    tenant: string,
    page: Parameters<Store['scroll']>[2],
    options?: CallOptions,
  ): Promise<ScrollPage> {
    return this.#store.scroll(this.#prefix + collection, tenant, page, options);
  }

  tenants(collection: string, options?: CallOptions): Promise<string[]> {
    return this.#store.tenants(this.#prefix + collection, options);
  }

  tenantCounts(collection: string, options?: CallOptions): Promise<TenantCounts[]> {
    return this.#store.tenantCounts(this.#prefix + collection, options);
  }

  usage(collection: string, tenant: string, options?: CallOptions): Promise<Usage> {
    return this.#store.usage(this.#prefix + collection, tenant, options);
  }

  measureDocuments(
    collection: string,
    keys: readonly DocumentKey[],
    options?: CallOptions,
  ): Promise<(number | undefined)[]> {
    return this.#store.measureDocuments(this.#prefix + collection, keys, options);
  }

  dropTenant(collection: string, tenant: string, options?: CallOptions): Promise<number> {
    return this.#store.dropTenant(this.#prefix + collection, tenant, options);
  }

  remains(collection: string, tenant: string, options?: CallOptions): Promise<number> {
    return this.#store.remains(this.#prefix + collection, tenant, options);
  }

  async listCollections(options?: CallOptions): Promise<CollectionInfo[]> {
    const listed = await this.#store.listCollections(options);
    return listed
      .filter(({ physicalName }) => physicalName.startsWith(this.#prefix))
      .map((info) => this.#short(info));
  }

  async aliases(options?: CallOptions): Promise<Map<string, string>> {
    const aliases = [...(await this.#store.aliases(options))];
    const own = aliases.filter(([alias]) => alias.startsWith(this.#prefix));
    return new Map(
      own.map((pair) => pair.map((name) => name.slice(this.#prefix.length)) as [string, string]),
    );
  }

  switchAlias(alias: string, physical: string, options?: CallOptions): Promise<void> {
    return this.#store.switchAlias(this.#prefix + alias, this.#prefix + physical, options);
  }

  dropCollection(physical: string, options?: CallOptions): Promise<void> {
    return this.#store.dropCollection(this.#prefix + physical, options);
  }

  /** What a collection holds of a tenant, by document id. */
  async contents(collection: string, tenant = ''): Promise<Record<string, Snapshot>> {
    const { documents } = await this.#store.scroll(this.#prefix + collection, tenant, { limit: PAGE });
    const snapshots = documents.map((document) => {
      const { documentId, version, title, metadata } = document;
      const passages = passageTexts(document).map((text) => ({ text }));
      return [documentId, { version, title, metadata, passages }] as const;
    });
    return Object.fromEntries(snapshots.sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  /** Drops its collections and closes the store. */
  async dispose(): Promise<void> {
    for (const { physicalName } of await this.listCollections()) await this.dropCollection(physicalName);
    await this.#store.close();
  }

  #short<Key extends CollectionKey>(key: Key): Key {
    const length = this.#prefix.length;
    return { ...key, name: key.name.slice(length), physicalName: key.physicalName.slice(length) };
  }
}

/** A store in memory; where `SCALINGNOTE_TEST_STORE` is "qdrant", the server at `QDRANT_URL`. */
export async function openTestStore(): Promise<TestStore> {
  if (process.env['SCALINGNOTE_TEST_STORE'] !== 'qdrant') return new TestStore();
  const url = process.env['QDRANT_URL'];
  if (url === undefined) throw new Error('set QDRANT_URL to the REST address of a Qdrant server');
  return new TestStore(await openQdrant(url));
}

/** The Qdrant server at an address, with the API key of the environment. */
export function openQdrant(url: string): Promise<Store> {
  const apiKey = process.env['QDRANT_API_KEY'];
  return openStore({ kind: 'qdrant', url, ...(apiKey === undefined ? {} : { apiKey }) });
}

/** The store is away, for now. */
export function away(): StoreError {
  return new StoreError('STORE_UNAVAILABLE', 'the store is away');
}
