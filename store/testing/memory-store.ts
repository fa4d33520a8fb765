import { checkDimensions, checkLimit, checkQuery, checkScope, checkWriteDimensions } from '../check.ts';
import { documentBytes, quotaBytes } from '../document-bytes.ts';
import { prepareWrites, unitVector } from '../embedded/prepare.ts';
import { StoreError } from '../errors.ts';
import type { Freshness } from '../freshness.ts';
import { checkIndexed, checkRoom, type FieldType } from '../indexed-fields.ts';
import {
  checkAlias,
  checkCollectionName,
  checkSpace,
  isPhysicalName,
  newIdentity,
  physicalFor,
  checkAnalysis,
  checkGolden,
} from '../names.ts';
import { page } from '../ranking.ts';
import type { Filter, SearchHit, SearchQuery } from '../queries.ts';
import type {
  BulkLoad,
  CallOptions,
  CollectionInfo,
  CollectionKey,
  CountedWords,
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
import { checkFresh, type Collection, MemoryData } from './memory-data.ts';
import {
  applyWrite,
  countedWords,
  countOf,
  deletesOf,
  fullDocument,
  hitOf,
  isLive,
  matching,
  originOf,
  rank,
  rowKey,
  storedDocument,
  tenantsOf,
} from './memory-rows.ts';

/** A call to the store, as the hooks see it. */
export interface StoreCall {
  operation: Exclude<keyof Store, 'kind' | 'close'> | 'endBulk';
  /** Steps of a write; empty for other operations. */
  writes: readonly DocumentWrite[];
  /** Where the call goes, as the caller named it; empty where it concerns no single collection. */
  collection: string;
  options: CallOptions;
}

/** What a test or a simulation decides about a store. */
export interface MemoryStoreOptions {
  /** Stores with the same data see the same collections. @default data of its own */
  data?: MemoryData;
  /** The clock that deadlines and expiry are compared with, in milliseconds since the epoch. @default Date.now */
  now?: () => number;
  /** Runs before a call takes effect. It delays the call by a promise and makes it fail by throwing. */
  before?: (call: StoreCall) => Promise<void> | void;
  /** Runs after a call has taken effect, before it is answered; what it throws replaces the answer. */
  after?: (call: StoreCall, answer: unknown) => Promise<void> | void;
}

/**
 * A store that keeps everything in maps and scans them. It serves tests and simulations: it waits for nothing by itself,
 * starts no timer, and lets its caller decide when each call takes effect and which ones fail. It is no product store:
 * what it holds is gone with the process.
 */
export class MemoryStore implements Store {
  /** What it says of itself where one of the two product stores is expected. */
  readonly kind = 'embedded';
  readonly #data: MemoryData;
  readonly #now: () => number;
  readonly #before: NonNullable<MemoryStoreOptions['before']>;
  readonly #after: NonNullable<MemoryStoreOptions['after']>;
  #closed = false;

  constructor({
    data = new MemoryData(),
    now = Date.now,
    before = () => {},
    after = () => {},
  }: MemoryStoreOptions = {}) {
    this.#data = data;
    this.#now = now;
    this.#before = before;
    this.#after = after;
  }

  ensureCollection(
    name: string,
    { goldenVectors: golden, analysis, ...space }: NewCollection,
    options?: CallOptions,
  ): Promise<CollectionInfo> {
    return this.#call('ensureCollection', name, options, () => {
      checkGolden({ ...space, ...(golden !== undefined && { goldenVectors: golden }) });
      checkAnalysis(analysis);
      checkCollectionName(name);
      const found = this.#data.lookUp(name) ?? this.#data.lookUp(physicalFor(name, space));
      if (found) checkSpace(name, found.space, space);
      const physical = found?.physicalName ?? physicalFor(name, space);
      if (!found) {
        this.#data.collections.set(physical, {
          physicalName: physical,
          space,
          golden,
          analysis,
          indexed: {},
          identity: newIdentity(),
          rows: new Map(),
          writes: 0,
          writesOf: new Map(),
        });
      }
      if (!isPhysicalName(name)) this.#data.aliases.set(name, physical);
      return this.#describe(this.#data.find(name));
    });
  }

  goldenVectors(name: string, options?: CallOptions): Promise<string | undefined> {
    return this.#call('goldenVectors', name, options, () => this.#data.find(name).golden);
  }

  setAnalysis(name: string, analysis: string, options?: CallOptions): Promise<void> {
    return this.#call('setAnalysis', name, options, () => {
      checkAnalysis(analysis);
      this.#data.find(name).analysis = analysis;
    });
  }

  indexField(name: string, field: string, type: FieldType, options?: CallOptions): Promise<void> {
    return this.#call('indexField', name, options, () => {
      const one = checkIndexed(field, type);
      const collection = this.#data.find(name);
      checkRoom(collection.indexed, one, type);
      const fields = Object.entries({ ...collection.indexed, [one]: type });
      collection.indexed = Object.fromEntries(fields.sort(([a], [b]) => (a < b ? -1 : 1)));
    });
  }

  async words(
    name: string,
    tenant: string,
    { limit, known }: { limit: number; known?: string },
    options?: CallOptions,
  ): Promise<CountedWords> {
    checkScope(tenant, undefined);
    checkLimit(limit);
    return await this.#call('words', name, options, () => {
      const { rows, identity, writesOf } = this.#data.find(name);
      const stamp = `${identity}:${writesOf.get(tenant) ?? 0}`;
      if (stamp === known) return { stamp };
      return { stamp, counted: countedWords(matching(rows, tenant, {}, this.#now()), limit) };
    });
  }

  findCollection(name: string, options?: CallOptions): Promise<CollectionKey> {
    return this.#call('findCollection', name, options, () => this.#data.keyOf(this.#data.find(name)));
  }

  listCollections(options?: CallOptions): Promise<CollectionInfo[]> {
    return this.#call('listCollections', '', options, () =>
      [...this.#data.collections.values()]
        .map((collection) => this.#describe(collection))
        .sort((a, b) => (a.name < b.name ? -1 : 1)),
    );
  }

  async writeDocuments(
    name: string,
    writes: readonly DocumentWrite[],
    options?: CallOptions,
  ): Promise<DocumentWriteResult[]> {
    const { prepared } = prepareWrites(writes);
    const write = (): DocumentWriteResult[] => {
      const collection = this.#data.find(name);
      checkWriteDimensions(prepared, collection.space.dimensions);
      const position = ++collection.writes;
      for (const { tenant } of prepared) collection.writesOf.set(tenant, position);
      return prepared.map((step) => applyWrite(collection.rows, step, { now: this.#now(), position }));
    };
    return await this.#call('writeDocuments', name, options, write, writes);
  }

  async beginBulk(name: string, options?: CallOptions): Promise<BulkLoad> {
    await this.#call('beginBulk', name, options, () => this.#data.find(name));
    return { end: (own) => this.#call('endBulk', name, own, () => undefined) };
  }

  lookupDocuments(
    name: string,
    keys: readonly DocumentKey[],
    options?: CallOptions,
  ): Promise<(StoredDocument | undefined)[]> {
    return this.#call('lookupDocuments', name, options, () => {
      const { rows } = this.#data.find(name);
      return keys.map((key) => {
        const row = rows.get(rowKey(key));
        return row && isLive(row, this.#now()) ? storedDocument(row) : undefined;
      });
    });
  }

  readDocuments(
    name: string,
    keys: readonly DocumentKey[],
    { withVectors = false }: { withVectors?: boolean } = {},
    options?: CallOptions,
  ): Promise<(FullDocument | undefined)[]> {
    return this.#call('readDocuments', name, options, () => {
      const { rows } = this.#data.find(name);
      return keys.map((key) => {
        const row = rows.get(rowKey(key));
        return row && isLive(row, this.#now()) ? fullDocument(row, withVectors) : undefined;
      });
    });
  }

  findOrigins(
    name: string,
    keys: readonly DocumentKey[],
    options?: CallOptions,
  ): Promise<(Origin | undefined)[]> {
    return this.#call('findOrigins', name, options, () => {
      const { rows } = this.#data.find(name);
      return keys.map((key) => {
        const row = rows.get(rowKey(key));
        return row && isLive(row, this.#now()) ? originOf(row) : undefined;
      });
    });
  }

  findDelete(name: string, key: DocumentKey, options?: CallOptions): Promise<GoneDocument | undefined> {
    return this.#call('findDelete', name, options, () => {
      const row = this.#data.find(name).rows.get(rowKey(key));
      if (!row || isLive(row, this.#now())) return undefined;
      return { version: row.remembered.version, expired: row.put !== undefined };
    });
  }

  async deleteByFilter(name: string, tenant: string, filter: Filter, options?: CallOptions): Promise<number> {
    checkScope(tenant, filter);
    return await this.#call('deleteByFilter', name, options, () => {
      const collection = this.#data.find(name);
      const gone = matching(collection.rows, tenant, filter, this.#now());
      for (const row of gone) collection.rows.delete(rowKey(row));
      collection.writesOf.set(tenant, ++collection.writes);
      return gone.length;
    });
  }

  async search(name: string, query: SearchQuery, options?: CallOptions): Promise<SearchHit[]> {
    checkQuery(query);
    const vector = query.vector && unitVector(query.vector, 'query vector');
    return await this.#call('search', name, options, () => {
      const { rows, space, identity, writes } = this.#data.find(name);
      checkFresh(name, { identity, position: String(writes) }, query.atLeast);
      if (vector) checkDimensions(vector, space.dimensions, 'query vector');
      const ranking = rank(rows, { ...query, ...(vector && { vector }) }, this.#now());
      return page(ranking, query).map((found) => hitOf(found, query));
    });
  }

  async count(
    name: string,
    tenant: string,
    filter: Filter = {},
    options?: CallOptions,
  ): Promise<{ documents: number; passages: number }> {
    checkScope(tenant, filter);
    return await this.#call('count', name, options, () =>
      countOf(matching(this.#data.find(name).rows, tenant, filter, this.#now())),
    );
  }

  async scroll(
    name: string,
    tenant: string,
    { limit, after, filter = {}, withVectors = false, bytes = Infinity }: PageRequest,
    options?: CallOptions,
  ): Promise<ScrollPage> {
    checkScope(tenant, filter);
    checkLimit(limit);
    return await this.#call('scroll', name, options, () => {
      const last = typeof after === 'object' ? after.documentId : after;
      const all = matching(this.#data.find(name).rows, tenant, filter, this.#now())
        .filter(({ documentId }) => last === undefined || documentId > last)
        .sort((a, b) => (a.documentId < b.documentId ? -1 : 1));
      const documents: FullDocument[] = [];
      let taken = 0;
      for (const row of all.slice(0, limit)) {
        if (taken > bytes) break;
        documents.push(fullDocument(row, withVectors));
        taken += documentBytes(documents.at(-1)!);
      }
      return all.length > documents.length
        ? { documents, next: documents.at(-1)!.documentId }
        : { documents };
    });
  }

  tenants(name: string, options?: CallOptions): Promise<string[]> {
    return this.#call('tenants', name, options, () => tenantsOf(this.#data.find(name).rows, this.#now()));
  }

  tenantCounts(name: string, options?: CallOptions): Promise<TenantCounts[]> {
    return this.#call('tenantCounts', name, options, () => {
      const { rows } = this.#data.find(name);
      return tenantsOf(rows, this.#now())
        .map((tenant) => ({ tenant, ...countOf(matching(rows, tenant, {}, this.#now())) }))
        .filter(({ documents }) => documents > 0);
    });
  }

  async usage(name: string, tenant: string, options?: CallOptions): Promise<Usage> {
    checkScope(tenant, undefined);
    return await this.#call('usage', name, options, () => {
      const { rows, space } = this.#data.find(name);
      const own = matching(rows, tenant, {}, this.#now());
      const bytes = own.reduce((sum, row) => sum + quotaBytes(fullDocument(row), space.dimensions), 0);
      return { ...countOf(own), bytes };
    });
  }

  measureDocuments(
    name: string,
    keys: readonly DocumentKey[],
    options?: CallOptions,
  ): Promise<(number | undefined)[]> {
    return this.#call('measureDocuments', name, options, () => {
      const { rows, space } = this.#data.find(name);
      return keys.map((key) => {
        const row = rows.get(rowKey(key));
        return row && isLive(row, this.#now()) ? quotaBytes(fullDocument(row), space.dimensions) : undefined;
      });
    });
  }

  async dropTenant(name: string, tenant: string, options?: CallOptions): Promise<number> {
    checkScope(tenant, undefined);
    return await this.#call('dropTenant', name, options, () => {
      const collection = this.#data.find(name);
      const own = [...collection.rows].filter(([, row]) => row.tenant === tenant);
      for (const [key] of own) collection.rows.delete(key);
      collection.writesOf.set(tenant, ++collection.writes);
      return own.filter(([, { put }]) => put !== undefined).length;
    });
  }

  async remains(name: string, tenant: string, options?: CallOptions): Promise<number> {
    checkScope(tenant, undefined);
    return await this.#call(
      'remains',
      name,
      options,
      () => [...this.#data.find(name).rows.values()].filter((row) => row.tenant === tenant).length,
    );
  }

  async scrollDeletes(
    name: string,
    tenant: string,
    { limit, after }: { limit: number; after?: string },
    options?: CallOptions,
  ): Promise<{ deletes: RememberedDelete[]; next?: string }> {
    checkScope(tenant, undefined);
    checkLimit(limit);
    return await this.#call('scrollDeletes', name, options, () => {
      const all = deletesOf(this.#data.find(name).rows, tenant, this.#now()).filter(
        ({ documentId }) => after === undefined || documentId > after,
      );
      const deletes = all.slice(0, limit);
      return all.length > limit ? { deletes, next: deletes.at(-1)!.documentId } : { deletes };
    });
  }

  freshness(
    name: string,
    { tenant, ...options }: CallOptions & { tenant?: string } = {},
  ): Promise<Freshness> {
    return this.#call('freshness', name, options, () => {
      const { identity, writes, writesOf } = this.#data.find(name);
      return { identity, position: String(tenant === undefined ? writes : (writesOf.get(tenant) ?? 0)) };
    });
  }

  aliases(options?: CallOptions): Promise<Map<string, string>> {
    return this.#call('aliases', '', options, () => new Map(this.#data.aliases));
  }

  switchAlias(alias: string, physical: string, options?: CallOptions): Promise<void> {
    return this.#call('switchAlias', physical, options, () => {
      checkAlias(alias);
      this.#data.aliases.set(alias, this.#data.findPhysical(physical).physicalName);
    });
  }

  dropCollection(physical: string, options?: CallOptions): Promise<void> {
    return this.#call('dropCollection', physical, options, () => {
      this.#data.collections.delete(this.#data.findPhysical(physical).physicalName);
      for (const [alias, target] of this.#data.aliases) {
        if (target === physical) this.#data.aliases.delete(alias);
      }
    });
  }

  prepare(_space: string, options?: CallOptions): Promise<void> {
    return this.#call('prepare', '', options, () => undefined);
  }

  probe(options?: CallOptions): Promise<void> {
    return this.#call('probe', '', options, () => undefined);
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  /** Runs one call: it takes effect in one step, between the two hooks. */
  async #call<T>(
    operation: StoreCall['operation'],
    collection: string,
    options: CallOptions = {},
    takeEffect: () => T,
    writes: readonly DocumentWrite[] = [],
  ): Promise<T> {
    if (this.#closed) throw new StoreError('STORE_UNAVAILABLE', 'the memory store has been closed');
    this.#throwIfOver(options);
    const call = { operation, writes, collection, options };
    await this.#before(call);
    this.#throwIfOver(options);
    const answer = takeEffect();
    await this.#after(call, answer);
    return answer;
  }

  #throwIfOver({ signal, deadline = Infinity }: CallOptions): void {
    signal?.throwIfAborted();
    if (deadline <= this.#now()) {
      throw new DOMException('the deadline of the store call has passed', 'TimeoutError');
    }
  }

  #describe(collection: Collection): CollectionInfo {
    const rows = [...collection.rows.values()].filter((row) => isLive(row, this.#now()));
    return { ...this.#data.keyOf(collection), ...countOf(rows) };
  }
}
