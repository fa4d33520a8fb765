import { checkDimensions, checkWriteDimensions } from '../check.ts';
import { documentBytes } from '../document-bytes.ts';
import { collectionNotFound } from '../errors.ts';
import type { Freshness } from '../freshness.ts';
import type { FieldType } from '../indexed-fields.ts';
import { page } from '../ranking.ts';
import { hitsOf } from '../shown.ts';
import type { Filter, SearchHit, SearchQuery } from '../queries.ts';
import type {
  CollectionInfo,
  CollectionKey,
  CountedWords,
  Counts,
  NewCollection,
  PageRequest,
  ScrollPage,
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
import type { DocumentWriteResult } from '../writes.ts';
import { Catalog, type Collection, keyOf } from './catalog.ts';
import { keepAnalysis, keepIndexed, readAnalysis, readGolden, readIndexed } from './golden.ts';
import { Database } from './database.ts';
import type { FilterRow } from './document-rows.ts';
import type { Documents } from './documents.ts';
import { checkFresh, freshnessOf } from './freshness.ts';
import { bareHit, hit, rank } from './hits.ts';
import { KnownHits } from './known-hits.ts';
import { checkLayout, LAYOUT, upgradeCollections } from './layouts.ts';
import { matching } from './matching.ts';
import { MANY_VECTORS, OpenCollections } from './open-collections.ts';
import type { PreparedWrite } from './prepare.ts';
import { bytes } from './strings.ts';
import { Slice, type Sliced } from './slice.ts';
import { countedWords, type Words } from './words.ts';
import { type Chosen, wholeDocuments } from './whole-documents.ts';

/**
 * The embedded store without its thread: each method does its work before it returns. The caller has checked the
 * arguments, except for what depends on the collection.
 */
export class Engine {
  readonly #database: Database;
  readonly #catalog: Catalog;
  readonly #open: OpenCollections;
  readonly #now: () => number;
  readonly #slice: Slice;
  readonly #hits: KnownHits;

  /**
   * @param expected see {@link Database}
   * @param slice the bound of each slice of work
   * @param now the clock that expiry is compared with, in milliseconds since the epoch
   * @param hits what it keeps of hits that it has read
   */
  constructor(
    directory: string,
    busyTimeoutMs: number,
    warn: (message: string) => void,
    expected?: string,
    now: () => number = Date.now,
    slice: Slice = new Slice(),
    hits: KnownHits = new KnownHits(),
  ) {
    this.#hits = hits;
    this.#database = new Database(directory, busyTimeoutMs, expected);
    upgradeCollections(this.#database, warn);
    this.#catalog = new Catalog(this.#database);
    this.#open = new OpenCollections(this.#database, this.#catalog, warn);
    this.#now = now;
    this.#slice = slice;
  }

  /** The id of the store, which no other store has. */
  storeId(): string {
    return this.#database.id;
  }

  ensureCollection(name: string, space: NewCollection): CollectionInfo {
    // The collection is nearly always there, so look first, without waiting for the writers' lock.
    const known = this.#database.read(() => this.#catalog.has(name, space));
    if (!known) this.#database.write(() => this.#catalog.ensure(name, space));
    return this.#database.read(() => this.#describe(this.#catalog.resolve(name)));
  }

  goldenVectors(name: string): string | undefined {
    return this.#database.read(() => readGolden(this.#database, this.#catalog.resolve(name).id));
  }

  findCollection(name: string): CollectionKey {
    return this.#database.read(() => this.#keyOf(this.#catalog.resolve(name)));
  }

  setAnalysis(name: string, analysis: string): void {
    this.#database.write(() => keepAnalysis(this.#database, this.#catalog.resolve(name).id, analysis));
  }

  indexField(name: string, field: string, type: FieldType): void {
    this.#database.write(() => keepIndexed(this.#database, this.#catalog.resolve(name).id, field, type));
  }

  /** It works in slices. What is written meanwhile may or may not be counted; the stamp is that of the beginning. */
  *words(
    name: string,
    tenant: string,
    { limit, known }: { limit: number; known?: string },
  ): Sliced<CountedWords> {
    const collection = this.#database.read(() => this.#catalog.resolve(name));
    const stampOf = (documents: Documents, row: number | undefined): string =>
      `${collection.identity}:${documents.changes.position(row)}`;
    let reading: ReturnType<Words['begin']> | undefined;
    let begun = '';
    for (; ; yield) {
      const answer = this.#database.read((): CountedWords | undefined => {
        const documents = this.#documentsOf(collection);
        const row = documents.tenants.find(tenant);
        const stamp = stampOf(documents, row);
        if (!reading && stamp === known) return { stamp };
        if (row === undefined) return { stamp, counted: countedWords({ words: [], passages: [] }) };
        this.#slice.begin();
        if (!reading) {
          reading = documents.words.begin(row, limit);
          begun = stamp;
        }
        while (documents.words.read(row, reading)) if (this.#slice.spent) return undefined;
        return { stamp: begun, counted: countedWords(reading) };
      });
      if (answer) return answer;
    }
  }

  listCollections(): CollectionInfo[] {
    const collections = this.#database.read(() => this.#catalog.list().map((row) => this.#describe(row)));
    return collections.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  writeDocuments(name: string, writes: readonly PreparedWrite[]): DocumentWriteResult[] {
    return this.#database.write(() => {
      const collection = this.#catalog.resolve(name);
      checkWriteDimensions(writes, collection.dimensions);
      return this.#open.documents(collection).write(writes, this.#now());
    });
  }

  lookupDocuments(name: string, keys: readonly DocumentKey[]): (StoredDocument | undefined)[] {
    return this.#database.read(() => {
      const documents = this.#documents(name);
      const now = this.#now();
      return keys.map((key) => {
        const found = documents.lookup(key, now);
        if (!found) return undefined;
        const { id: _, ...document } = found;
        return document;
      });
    });
  }

  readDocuments(
    name: string,
    keys: readonly DocumentKey[],
    withVectors: boolean,
  ): (FullDocument | undefined)[] {
    return this.#database.read(() => {
      const documents = this.#documents(name);
      const now = this.#now();
      const found = keys.map((key) => documents.lookup(key, now));
      const byTenant = new Map<string, Map<number, Chosen>>();
      for (const [index, row] of found.entries()) {
        const { tenant } = keys[index]!;
        if (row) byTenant.set(tenant, (byTenant.get(tenant) ?? new Map<number, Chosen>()).set(row.id, row));
      }
      const read = new Map<number, FullDocument>();
      for (const [tenant, chosen] of byTenant) {
        const ids = chosen.keys();
        for (const document of wholeDocuments(documents, tenant, chosen.values(), withVectors)) {
          read.set(ids.next().value!, document);
        }
      }
      return found.map((row) => row && read.get(row.id));
    });
  }

  findOrigins(name: string, keys: readonly DocumentKey[]): (Origin | undefined)[] {
    return this.#database.read(() => {
      const documents = this.#documents(name);
      const now = this.#now();
      return keys.map((key) => documents.origin(key, now));
    });
  }

  findDelete(name: string, key: DocumentKey): GoneDocument | undefined {
    return this.#database.read(() => this.#documents(name).gone(key, this.#now()));
  }

  /** Each slice is one transaction. */
  *deleteByFilter(name: string, tenant: string, filter: Filter): Sliced<number> {
    const collection = this.#database.read(() => this.#catalog.resolve(name));
    let deleted = 0;
    for (let after: string | undefined = ''; ; yield) {
      after = this.#database.write(() => {
        const documents = this.#documentsOf(collection);
        const row = documents.tenants.find(tenant);
        if (row === undefined || after === undefined) return undefined;
        documents.start();
        const next = this.#scan({ documents, tenant: row, after, filter }, ({ id }) => {
          documents.deleteRow(row, id);
          deleted++;
        });
        documents.settle();
        return next;
      });
      if (after === undefined) return deleted;
    }
  }

  /** A mirror that is not ready is brought on in slices. */
  *search(name: string, query: SearchQuery): Sliced<SearchHit[]> {
    for (;;) {
      const hits = this.#database.read(() => this.#search(name, query));
      if (hits) return hits;
      yield;
    }
  }

  /** @returns `undefined` where the slice ended before there was an answer */
  #search(name: string, query: SearchQuery): SearchHit[] | undefined {
    const collection = this.#catalog.resolve(name);
    if (query.vector) checkDimensions(query.vector, collection.dimensions, 'query vector');
    const documents = this.#open.documents(collection);
    const tenant = documents.tenants.find(query.tenant);
    if (query.atLeast) {
      const { identity } = collection;
      checkFresh({ identity, position: String(documents.changes.position(tenant)) }, query.atLeast, name);
    }
    if (tenant === undefined) return [];
    this.#slice.begin();
    const needs = { sparse: query.sparse !== undefined, filter: query.filter };
    const mirror = this.#open.mirror(collection, tenant);
    if (!mirror.advance(this.#now(), this.#slice, needs)) return undefined;
    this.#open.warnOfSize();
    const found = page(rank(mirror, query), query);
    if (query.idsOnly === true) return found.map(bareHit);
    return hitsOf(found.map((one) => hit(documents, this.#hits, one, query)));
  }

  /** With a filter it works in slices: documents that are written meanwhile may or may not be counted. */
  *count(name: string, tenant: string, filter: Filter | undefined): Sliced<Counts> {
    const collection = this.#database.read(() => this.#catalog.resolve(name));
    if (!filter) {
      return this.#database.read(() => this.#documentsOf(collection).counts(this.#now(), tenant));
    }
    const counts = { documents: 0, passages: 0 };
    for (let after: string | undefined = ''; ; yield) {
      after = this.#database.read(() => {
        const documents = this.#documentsOf(collection);
        const row = documents.tenants.find(tenant);
        if (row === undefined || after === undefined) return undefined;
        return this.#scan({ documents, tenant: row, after, filter }, ({ passages }) => {
          counts.documents++;
          counts.passages += passages;
        });
      });
      if (after === undefined) return counts;
    }
  }

  /** It works in slices: a filter may hold for few documents. What is written meanwhile may or may not be among them. */
  *scroll(
    name: string,
    tenant: string,
    { limit, after = '', filter = {}, withVectors = false, bytes: most = Infinity }: PageRequest,
  ): Sliced<ScrollPage> {
    const collection = this.#database.read(() => this.#catalog.resolve(name));
    const found: FullDocument[] = [];
    let taken = 0;
    let last = typeof after === 'object' ? after.documentId : after;
    const goOn = (): ScrollPage | undefined => {
      const documents = this.#documentsOf(collection);
      const row = documents.tenants.find(tenant);
      if (row === undefined) return { documents: found };
      const rows: Chosen[] = [];
      const next = this.#scan({ documents, tenant: row, after: last, filter }, ({ id, passages }) => {
        rows.push({ id, passages });
        return found.length + rows.length <= limit;
      });
      const chosen = rows.slice(0, limit - found.length);
      for (const document of wholeDocuments(documents, tenant, chosen, withVectors)) {
        if (taken > most) return { documents: found, next: found.at(-1)!.documentId };
        found.push(document);
        taken += documentBytes(document);
      }
      if (rows.length > chosen.length) return { documents: found, next: found.at(-1)!.documentId };
      if (next === undefined) return { documents: found };
      last = next;
      return undefined;
    };
    for (; ; yield) {
      const page = this.#database.read(goOn);
      if (page) return page;
    }
  }

  tenants(name: string): string[] {
    return this.#database.read(() => this.#documents(name).tenants.names(this.#now()));
  }

  tenantCounts(name: string): TenantCounts[] {
    return this.#database.read(() => this.#documents(name).tenants.all(this.#now()));
  }

  /** It works in slices: what is written meanwhile may or may not be counted. */
  *usage(name: string, tenant: string): Sliced<Usage> {
    const collection = this.#database.read(() => this.#catalog.resolve(name));
    const usage = { documents: 0, passages: 0, bytes: 0 };
    for (let after: Uint8Array | undefined = bytes(''); ; yield) {
      after = this.#database.read(() => {
        const { tenants, data } = this.#documentsOf(collection);
        const row = tenants.find(tenant);
        if (row === undefined) return undefined;
        this.#slice.begin();
        while (after !== undefined && !this.#slice.spent) {
          const { last, ...some } = data.measureSome(row, after, this.#now());
          usage.documents += some.documents;
          usage.passages += some.passages;
          usage.bytes += some.bytes;
          after = last;
        }
        return after;
      });
      if (after === undefined) return usage;
    }
  }

  measureDocuments(name: string, keys: readonly DocumentKey[]): (number | undefined)[] {
    return this.#database.read(() => {
      const { tenants, data } = this.#documents(name);
      const now = this.#now();
      return keys.map(({ tenant, documentId }) => {
        const row = tenants.find(tenant);
        return row === undefined ? undefined : data.measure(row, documentId, now);
      });
    });
  }

  /** Each slice is one transaction, and overwrites on the disk what it deletes. */
  *dropTenant(name: string, tenant: string): Sliced<number> {
    const collection = this.#database.read(() => this.#catalog.resolve(name));
    let dropped = 0;
    let gone: number | undefined;
    const dropSome = (): boolean => {
      const documents = this.#documentsOf(collection);
      const row = documents.tenants.find(tenant);
      if (row === undefined) return true;
      const { data } = documents;
      this.#slice.begin();
      do {
        const ids = data.someDocuments(row);
        documents.start();
        for (const id of ids) documents.deleteRow(row, id);
        documents.settle();
        dropped += ids.length;
        if (ids.length === 0 && !data.forgetSomeDeletes(row)) {
          documents.tenants.forget(row);
          this.#open.snapshots.forget(collection.id, row);
          gone = row;
          documents.changes.forget(row);
          return true;
        }
      } while (!this.#slice.spent);
      return false;
    };
    while (!this.#database.overwriting(dropSome)) yield;
    this.#open.forgetTenants();
    this.#database.checkpoint();
    if (gone !== undefined) this.#open.snapshots.erase(collection.id, gone);
    return dropped;
  }

  remains(name: string, tenant: string): number {
    return this.#database.read(() => {
      const { tenants, data } = this.#documents(name);
      return data.remains(tenants.find(tenant));
    });
  }

  scrollDeletes(
    name: string,
    tenant: string,
    { limit, after = '' }: { limit: number; after?: string },
  ): { deletes: RememberedDelete[]; next?: string } {
    return this.#database.read(() => {
      const documents = this.#documents(name);
      const row = documents.tenants.find(tenant);
      if (row === undefined) return { deletes: [] };
      const page = { after: bytes(after), limit: limit + 1, now: this.#now() };
      const found = documents.deletions.page(row, page);
      const deletes = found.slice(0, limit).map((one) => ({ tenant, ...one }));
      return found.length > limit ? { deletes, next: deletes.at(-1)!.documentId } : { deletes };
    });
  }

  freshness(name: string, tenant?: string): Freshness {
    return this.#database.read(() => {
      const collection = this.#catalog.resolve(name);
      return freshnessOf(collection, this.#open.documents(collection), tenant);
    });
  }

  aliases(): Map<string, string> {
    return this.#database.read(() => this.#catalog.aliases());
  }

  switchAlias(alias: string, physical: string): void {
    this.#database.write(() => this.#catalog.switchAlias(alias, physical));
  }

  dropCollection(physical: string): void {
    const dropped = this.#database.write(() => {
      const collection = this.#catalog.drop(physical);
      this.#open.snapshots.forget(collection.id);
      return collection;
    });
    this.#open.forget(dropped);
    this.#open.snapshots.erase(dropped.id);
  }

  /** Reads something from the database, and makes sure that its files are there. */
  probe(): void {
    this.#database.checkPresence();
    this.#database.read(() => this.#catalog.list());
  }

  /**
   * Loads the vectors of a space's collections into memory as far as they fit, the largest tenants first, and the values of
   * their indexed fields, so that no search has to wait for that. It works in slices.
   *
   * @param fully also loads their terms, and keeps snapshots of all that for the next start
   */
  *prepare(space: string, fully = false): Sliced<void> {
    this.#database.read(() => this.#open.forgetTenants());
    const wanted = this.#database.read(() => {
      let room = MANY_VECTORS;
      const found: { collection: Collection; tenant: number }[] = [];
      for (const collection of this.#catalog.list()) {
        if (collection.alias === null || collection.fingerprint !== space) continue;
        if (collection.layout !== LAYOUT) continue;
        for (const { tenant, passages } of this.#open.documents(collection).tenants.bySize()) {
          room -= passages;
          if (room >= 0) found.push({ collection, tenant });
        }
      }
      return found;
    });
    this.#slice.begin();
    for (const { collection, tenant } of wanted) {
      const advance = (): boolean => {
        const there = this.#catalog.list().some(({ id }) => id === collection.id);
        if (!there) return true;
        const fields = Object.keys(readIndexed(this.#database, collection.id) ?? {});
        const needs = { sparse: fully, ...(fields.length > 0 && { filter: ofFields(fields) }) };
        return this.#open.mirror(collection, tenant).advance(this.#now(), this.#slice, needs);
      };
      while (!this.#database.read(advance) || this.#slice.spent) {
        yield;
        this.#slice.begin();
      }
    }
    this.#open.warnOfSize();
    if (!fully) return;
    const mirrors = this.#database.read(() => {
      const there = new Set(this.#catalog.list().map(({ id }) => id));
      const kept = wanted.filter(({ collection }) => there.has(collection.id));
      return kept.map(({ collection, tenant }) => this.#open.kept(collection, tenant));
    });
    yield* this.#open.snapshots.keep(mirrors);
  }

  close(): void {
    this.#open.snapshots.close();
    this.#database.close();
  }

  #describe(collection: Collection): CollectionInfo {
    checkLayout(collection.physical, collection.layout);
    return { ...this.#keyOf(collection), ...this.#open.documents(collection).counts(this.#now()) };
  }

  #keyOf(collection: Collection): CollectionKey {
    const analysis = readAnalysis(this.#database, collection.id);
    const indexedFields = readIndexed(this.#database, collection.id);
    return {
      ...keyOf(collection),
      ...(analysis !== undefined && { analysis }),
      ...(indexedFields && { indexedFields }),
    };
  }

  /** The documents of a collection that was found in an earlier slice. @throws {StoreError} `COLLECTION_NOT_FOUND` */
  #documentsOf({ id, physical }: Collection): Documents {
    const collection = this.#catalog.resolve(physical);
    if (collection.id !== id) throw collectionNotFound(physical);
    return this.#open.documents(collection);
  }

  #documents(name: string): Documents {
    return this.#open.documents(this.#catalog.resolve(name));
  }

  /**
   * Visits the rows of a tenant that match a filter, past a document id, until the slice is spent or a visit says `false`.
   *
   * @returns the last row's document id if there may be more; the next slice goes on after it
   */
  #scan(
    {
      documents,
      tenant,
      after,
      filter,
    }: { documents: Documents; tenant: number; after: string; filter: Filter },
    visit: (row: FilterRow) => boolean | undefined,
  ): string | undefined {
    this.#slice.begin();
    const now = this.#now();
    for (
      let rows = documents.few(tenant, now, after);
      rows.length > 0;
      rows = documents.few(tenant, now, after)
    ) {
      for (const row of matching(rows, filter)) if (visit(row) === false) return row.documentId;
      after = rows.at(-1)!.documentId;
      if (this.#slice.spent) return after;
    }
    return undefined;
  }
}

/** A filter that reads fields, whatever it holds for. */
function ofFields(fields: readonly string[]): Filter {
  return { must: fields.map((field) => ({ field, exists: true })) };
}
