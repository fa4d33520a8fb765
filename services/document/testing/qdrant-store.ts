import { randomBytes } from 'node:crypto';
import { openStore } from '../../../store/open.ts';
import type {
  BulkLoad,
  CallOptions,
  CollectionInfo,
  DocumentKey,
  DocumentWrite,
  DocumentWriteResult,
  Filter,
  ScrollPage,
  SpaceKey,
  Store,
  StoredDocument,
} from '../../../store/store.ts';
import type { Snapshot, TestStore } from './test-store.ts';

/** Documents of a page: more than any test has. */
const PAGE = 5000;

/**
 * A Qdrant server as tests of the document service see it: its calls can be held back, made to fail, and looked at, and
 * its collections have names that no other test has.
 */
export class QdrantTestStore implements TestStore {
  readonly kind = 'qdrant';
  readonly batches: string[][] = [];
  lookups = 0;
  bulkLoads = 0;
  before: TestStore['before'] = () => {};
  readonly #store: Store;
  readonly #prefix = `t${randomBytes(4).toString('hex')}-`;

  private constructor(store: Store) {
    this.#store = store;
  }

  static async open(url: string): Promise<QdrantTestStore> {
    const apiKey = process.env['QDRANT_API_KEY'];
    return new QdrantTestStore(
      await openStore({ kind: 'qdrant', url, ...(apiKey === undefined ? {} : { apiKey }) }),
    );
  }

  async ensureCollection(name: string, space: SpaceKey, options?: CallOptions): Promise<CollectionInfo> {
    await this.before('ensure', []);
    return this.#short(await this.#store.ensureCollection(this.#prefix + name, space, options));
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

  async writeDocuments(
    collection: string,
    writes: readonly DocumentWrite[],
    options?: CallOptions,
  ): Promise<DocumentWriteResult[]> {
    await this.before('write', writes);
    const results = await this.#store.writeDocuments(this.#prefix + collection, writes, options);
    this.batches.push(writes.map(({ documentId }) => documentId));
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

  async contents(collection: string, tenant = ''): Promise<Record<string, Snapshot>> {
    const { documents } = await this.#store.scroll(this.#prefix + collection, tenant, { limit: PAGE });
    const snapshots = documents.map(({ documentId, version, title, metadata, texts }) => {
      const passages = texts.map((text) => ({ text }));
      return [documentId, { version, title, metadata, passages }] as const;
    });
    return Object.fromEntries(snapshots.sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  async dispose(): Promise<void> {
    for (const { physicalName } of await this.listCollections()) await this.dropCollection(physicalName);
    await this.#store.close();
  }

  #short({ name, physicalName, ...info }: CollectionInfo): CollectionInfo {
    const length = this.#prefix.length;
    return { name: name.slice(length), physicalName: physicalName.slice(length), ...info };
  }
}
