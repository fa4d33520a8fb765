import { Worker } from 'node:worker_threads';
import { type Answer, type MethodName, Remote } from '../../calls/remote.ts';
import { checkLimit, checkQuery, checkScope } from '../check.ts';
import { StoreError, type StoreErrorReason } from '../errors.ts';
import type { Freshness } from '../freshness.ts';
import { checkIndexed, type FieldType } from '../indexed-fields.ts';
import { checkAnalysis, checkGolden } from '../names.ts';
import type { Filter, SearchHit, SearchQuery } from '../queries.ts';
import type {
  BulkLoad,
  CallOptions,
  CollectionInfo,
  CollectionKey,
  CountedWords,
  Counts,
  PageRequest,
  ScrollPage,
  NewCollection,
  Store,
  TenantCounts,
  Usage,
} from '../store.ts';
import type {
  DocumentKey,
  FullDocument,
  GoneDocument,
  Origin,
  RememberedDelete,
  StoredDocument,
} from '../document.ts';
import type { DocumentWrite, DocumentWriteResult } from '../writes.ts';
import type { Engine } from './engine.ts';
import { HitUnpacker } from './known-hits.ts';
import { prepareWrites, unitVector } from './prepare.ts';
import type { EngineOptions } from './worker.ts';

/** How to open an embedded store. */
export interface EmbeddedStoreOptions {
  /** Folder of its files; made if it is not there. Several processes of one machine may use it at once. */
  directory: string;
  /** See `EmbeddedConfig`. */
  indexedFields?: Readonly<Record<string, FieldType>>;
  /** Receives a warning when the data have outgrown an embedded store, or its thread has died. */
  log?: { warn(message: string): void };
  /** How long to wait for another process's write before giving up, in milliseconds. @default 5000 */
  busyTimeoutMs?: number;
  /** How long one call may hold the thread before others have their turn. @default {@link SLICE_MS} */
  sliceMs?: number;
}

/**
 * Opens the store in a directory.
 *
 * @throws {StoreError} if the directory cannot be used, or holds something else
 */
export async function openEmbeddedStore(options: EmbeddedStoreOptions): Promise<EmbeddedStore> {
  const store = new EmbeddedStore(options);
  await store.opened;
  return store;
}

/**
 * Vectors in process and on disk: SQLite holds the data, and a search is an exact scan in memory. A worker
 * thread does the blocking work, so the event loop stays free. Made by {@link openEmbeddedStore}.
 */
export class EmbeddedStore implements Store {
  readonly kind = 'embedded';
  readonly #options: EngineOptions;
  readonly #log: EmbeddedStoreOptions['log'];
  /** Fields that collections are to have an index on, each with its type. */
  readonly #declared: readonly (readonly [field: string, type: FieldType])[];
  #thread: Remote<Engine>;
  /** Settles when the thread has opened the store and said which one it is. */
  #ready: Promise<void>;
  #closed = false;

  constructor({ directory, indexedFields = {}, log, busyTimeoutMs = 5000, sliceMs }: EmbeddedStoreOptions) {
    this.#options = { directory, busyTimeoutMs, sliceMs };
    this.#log = log;
    this.#declared = Object.entries(indexedFields).map(([path, type]) => [
      checkIndexed(`metadata.${path}`, type),
      type,
    ]);
    this.#thread = this.#start();
    this.#ready = this.#identify();
  }

  /** Settles when the database has been opened. */
  get opened(): Promise<void> {
    return this.#ready;
  }

  async ensureCollection(name: string, space: NewCollection, options?: CallOptions): Promise<CollectionInfo> {
    checkGolden(space);
    checkAnalysis(space.analysis);
    const made = await this.#call('ensureCollection', [name, space], options);
    // As it was made: an index of another type stays.
    const missing = this.#declared.filter(([field]) => made.indexedFields?.[field] === undefined);
    if (missing.length === 0) return made;
    for (const [field, type] of missing)
      await this.#call('indexField', [made.physicalName, field, type], options);
    return await this.#call('ensureCollection', [name, space], options);
  }

  goldenVectors(collection: string, options?: CallOptions): Promise<string | undefined> {
    return this.#call('goldenVectors', [collection], options);
  }

  async setAnalysis(collection: string, analysis: string, options?: CallOptions): Promise<void> {
    checkAnalysis(analysis);
    await this.#call('setAnalysis', [collection, analysis], options);
  }

  async indexField(collection: string, field: string, type: FieldType, options?: CallOptions): Promise<void> {
    await this.#call('indexField', [collection, checkIndexed(field, type), type], options);
  }

  async words(
    collection: string,
    tenant: string,
    request: { limit: number; known?: string },
    options?: CallOptions,
  ): Promise<CountedWords> {
    checkScope(tenant, undefined);
    checkLimit(request.limit);
    return await this.#call('words', [collection, tenant, request], options);
  }

  findCollection(name: string, options?: CallOptions): Promise<CollectionKey> {
    return this.#call('findCollection', [name], options);
  }

  listCollections(options?: CallOptions): Promise<CollectionInfo[]> {
    return this.#call('listCollections', [], options);
  }

  async writeDocuments(
    collection: string,
    writes: readonly DocumentWrite[],
    options?: CallOptions,
  ): Promise<DocumentWriteResult[]> {
    const { prepared, vectors } = prepareWrites(writes);
    return await this.#call('writeDocuments', [collection, prepared], options, [vectors]);
  }

  async beginBulk(collection: string, options?: CallOptions): Promise<BulkLoad> {
    await this.#call('findCollection', [collection], options);
    return { end: () => Promise.resolve() };
  }

  lookupDocuments(
    collection: string,
    keys: readonly DocumentKey[],
    options?: CallOptions,
  ): Promise<(StoredDocument | undefined)[]> {
    return this.#call('lookupDocuments', [collection, keys], options);
  }

  async deleteByFilter(
    collection: string,
    tenant: string,
    filter: Filter,
    options?: CallOptions,
  ): Promise<number> {
    checkScope(tenant, filter);
    return await this.#call('deleteByFilter', [collection, tenant, filter], options);
  }

  async search(collection: string, query: SearchQuery, options?: CallOptions): Promise<SearchHit[]> {
    checkQuery(query);
    const vector = query.vector && unitVector(query.vector, 'query vector');
    return await this.#call('search', [collection, { ...query, ...(vector && { vector }) }], options);
  }

  async count(collection: string, tenant: string, filter?: Filter, options?: CallOptions): Promise<Counts> {
    checkScope(tenant, filter);
    return await this.#call('count', [collection, tenant, filter], options);
  }

  async scroll(
    collection: string,
    tenant: string,
    page: PageRequest,
    options?: CallOptions,
  ): Promise<ScrollPage> {
    checkScope(tenant, page.filter);
    checkLimit(page.limit);
    return await this.#call('scroll', [collection, tenant, page], options);
  }

  readDocuments(
    collection: string,
    keys: readonly DocumentKey[],
    { withVectors = false }: { withVectors?: boolean } = {},
    options?: CallOptions,
  ): Promise<(FullDocument | undefined)[]> {
    return this.#call('readDocuments', [collection, keys, withVectors], options);
  }

  findOrigins(
    collection: string,
    keys: readonly DocumentKey[],
    options?: CallOptions,
  ): Promise<(Origin | undefined)[]> {
    return this.#call('findOrigins', [collection, keys], options);
  }

  findDelete(collection: string, key: DocumentKey, options?: CallOptions): Promise<GoneDocument | undefined> {
    return this.#call('findDelete', [collection, key], options);
  }

  tenants(collection: string, options?: CallOptions): Promise<string[]> {
    return this.#call('tenants', [collection], options);
  }

  tenantCounts(collection: string, options?: CallOptions): Promise<TenantCounts[]> {
    return this.#call('tenantCounts', [collection], options);
  }

  async usage(collection: string, tenant: string, options?: CallOptions): Promise<Usage> {
    checkScope(tenant, undefined);
    return await this.#call('usage', [collection, tenant], options);
  }

  measureDocuments(
    collection: string,
    keys: readonly DocumentKey[],
    options?: CallOptions,
  ): Promise<(number | undefined)[]> {
    return this.#call('measureDocuments', [collection, keys], options);
  }

  async dropTenant(collection: string, tenant: string, options?: CallOptions): Promise<number> {
    checkScope(tenant, undefined);
    return await this.#call('dropTenant', [collection, tenant], options);
  }

  async remains(collection: string, tenant: string, options?: CallOptions): Promise<number> {
    checkScope(tenant, undefined);
    return await this.#call('remains', [collection, tenant], options);
  }

  async scrollDeletes(
    collection: string,
    tenant: string,
    page: { limit: number; after?: string },
    options?: CallOptions,
  ): Promise<{ deletes: RememberedDelete[]; next?: string }> {
    checkScope(tenant, undefined);
    checkLimit(page.limit);
    return await this.#call('scrollDeletes', [collection, tenant, page], options);
  }

  freshness(
    collection: string,
    { tenant, ...options }: CallOptions & { tenant?: string } = {},
  ): Promise<Freshness> {
    return this.#call('freshness', [collection, tenant], options);
  }

  aliases(options?: CallOptions): Promise<Map<string, string>> {
    return this.#call('aliases', [], options);
  }

  switchAlias(alias: string, physical: string, options?: CallOptions): Promise<void> {
    return this.#call('switchAlias', [alias, physical], options);
  }

  dropCollection(physical: string, options?: CallOptions): Promise<void> {
    return this.#call('dropCollection', [physical], options);
  }

  prepare(
    space: string,
    { fully = false, ...options }: CallOptions & { fully?: boolean } = {},
  ): Promise<void> {
    return this.#call('prepare', [space, fully], options);
  }

  probe(options?: CallOptions): Promise<void> {
    return this.#call('probe', [], options);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#thread.close();
  }

  #start(): Remote<Engine> {
    const worker = new Worker(new URL('./worker.js', import.meta.url), { name: 'embedded-store' });
    return new Remote<Engine>(worker, this.#options, {
      revive: ({ reason, message, metadata }) =>
        new StoreError(reason as StoreErrorReason, message, { metadata }),
      ended: (how, cause) => {
        if (!this.#closed) {
          this.#log?.warn(`the thread of the embedded store died, and the next call starts another: ${how}`);
        }
        return unavailable(`its thread died: ${how}; try again`, cause);
      },
      onNotice: (line) => this.#log?.warn(line),
      unpack: new HitUnpacker().unpack,
    });
  }

  /**
   * Asks the thread which store it has opened. It is the first call, so it has its answer before a write has one: a
   * thread that replaces this one can't take another store, or a new one, for the one that holds what was acknowledged.
   */
  #identify(): Promise<void> {
    const thread = this.#thread;
    const identified = thread.call('storeId', []).then((id) => {
      this.#options.expected = id;
    });
    // Where nobody waits for it, the calls fail with the same reason.
    identified.catch(() => {});
    return identified;
  }

  async #call<Name extends MethodName<Engine>>(
    operation: Name,
    parameters: Parameters<Engine[Name]>,
    options: CallOptions = {},
    transfer: ArrayBuffer[] = [],
  ): Promise<Answer<Engine, Name>> {
    if (this.#closed) throw unavailable('it has been closed');
    // Acknowledged writes are on the disk, so another thread can continue after one has died.
    const { failure } = this.#thread;
    if (failure) {
      if (failure instanceof StoreError && failure.reason === 'STORE_LOST') throw failure;
      this.#thread = this.#start();
      this.#ready = this.#identify();
    }
    return this.#thread.call<Name>(operation, parameters, { ...options, transfer });
  }
}

/** The store can't be used for now. */
function unavailable(why: string, cause?: unknown): StoreError {
  return new StoreError('STORE_UNAVAILABLE', `the embedded store cannot be used: ${why}`, { cause });
}
