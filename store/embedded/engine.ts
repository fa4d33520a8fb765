import { hash } from 'node:crypto';
import { checkDimensions, checkWriteDimensions } from '../check.ts';
import { documentFilter } from '../filter.ts';
import { page, rankBy } from '../ranking.ts';
import type {
  CollectionInfo,
  CollectionKey,
  Counts,
  DocumentKey,
  DocumentWriteResult,
  Filter,
  ScrollPage,
  SearchHit,
  SearchQuery,
  SpaceKey,
  StoredDocument,
} from '../store.ts';
import { Catalog, type Collection } from './catalog.ts';
import { Database } from './database.ts';
import { Documents, type FilterRow } from './documents.ts';
import { type Found, Mirror } from './mirror.ts';
import type { PreparedWrite } from './prepare.ts';

/** With more vectors than this a scan takes so much time and memory that a server is the better choice. */
const MANY_VECTORS = 300_000;

/** A collection that this process uses. */
interface OpenCollection {
  documents: Documents;
  /**
   * Key: row of `tenants`. Only searches fill it, so a process that only writes holds no vectors in memory.
   */
  mirrors: Map<number, Mirror>;
}

/**
 * The embedded store without its thread: each method does its work before it returns. The caller has checked the
 * arguments, except for what depends on the collection.
 */
export class Engine {
  readonly #database: Database;
  readonly #catalog: Catalog;
  readonly #warn: (message: string) => void;
  readonly #open = new Map<number, OpenCollection>();
  #warned = false;

  /** @param expected see {@link Database} */
  constructor(directory: string, busyTimeoutMs: number, warn: (message: string) => void, expected?: string) {
    this.#database = new Database(directory, busyTimeoutMs, expected);
    this.#catalog = new Catalog(this.#database);
    this.#warn = warn;
  }

  /** The id of the store, which no other store has. */
  storeId(): string {
    return this.#database.id;
  }

  ensureCollection(name: string, space: SpaceKey): CollectionInfo {
    // The collection is nearly always there, so look first, without waiting for the writers' lock.
    const known = this.#database.read(() => this.#catalog.has(name, space));
    if (!known) this.#database.write(() => this.#catalog.ensure(name, space));
    return this.#database.read(() => this.#describe(this.#catalog.resolve(name)));
  }

  findCollection(name: string): CollectionKey {
    return this.#database.read(() => keyOf(this.#catalog.resolve(name)));
  }

  listCollections(): CollectionInfo[] {
    const collections = this.#database.read(() => this.#catalog.list().map((row) => this.#describe(row)));
    return collections.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  writeDocuments(name: string, writes: readonly PreparedWrite[]): DocumentWriteResult[] {
    return this.#database.write(() => {
      const collection = this.#catalog.resolve(name);
      checkWriteDimensions(writes, collection.dimensions);
      return this.#collection(collection).documents.write(writes);
    });
  }

  lookupDocuments(name: string, keys: readonly DocumentKey[]): (StoredDocument | undefined)[] {
    return this.#database.read(() => {
      const documents = this.#documents(name);
      return keys.map((key) => documents.lookup(key));
    });
  }

  deleteByFilter(name: string, tenant: string, filter: Filter): number {
    return this.#database.write(() => {
      const documents = this.#documents(name);
      const row = documents.tenant(tenant);
      if (row === undefined) return 0;
      const rows = [...matching(documents.scan(row), filter)].map(({ id }) => ({ id }));
      documents.deleteRows(row, rows);
      return rows.length;
    });
  }

  search(name: string, query: SearchQuery): SearchHit[] {
    return this.#database.read(() => {
      const collection = this.#catalog.resolve(name);
      if (query.vector) checkDimensions(query.vector, collection.dimensions, 'query vector');
      const { documents } = this.#collection(collection);
      const tenant = documents.tenant(query.tenant);
      if (tenant === undefined) return [];
      const mirror = this.#mirror(collection, tenant);
      return page(rank(mirror, query), query).map((found) => hit(documents, found, query));
    });
  }

  count(name: string, tenant: string, filter: Filter | undefined): Counts {
    return this.#database.read(() => {
      const documents = this.#documents(name);
      if (!filter) return documents.counts(tenant);
      const counts = { documents: 0, passages: 0 };
      const row = documents.tenant(tenant);
      if (row === undefined) return counts;
      for (const { passages } of matching(documents.scan(row), filter)) {
        counts.documents++;
        counts.passages += passages;
      }
      return counts;
    });
  }

  scroll(
    name: string,
    tenant: string,
    wanted: { limit: number; after?: string; filter?: Filter },
  ): ScrollPage {
    return this.#database.read(() => {
      const documents = this.#documents(name);
      const row = documents.tenant(tenant);
      const result: ScrollPage = { documents: [] };
      if (row === undefined) return result;
      for (const { id } of matching(documents.scan(row, wanted.after), wanted.filter ?? {})) {
        const document = documents.row(id)!;
        const last = result.documents.at(-1);
        if (last && result.documents.length === wanted.limit) return { ...result, next: last.documentId };
        result.documents.push({
          tenant,
          documentId: document.documentId,
          title: document.title,
          version: document.version,
          contentHash: document.contentHash,
          metadata: JSON.parse(document.metadata) as Record<string, unknown>,
          textOmitted: false,
          passages: documents.texts(id).map((text) => ({ text })),
        });
      }
      return result;
    });
  }

  aliases(): Map<string, string> {
    return this.#database.read(() => this.#catalog.aliases());
  }

  switchAlias(alias: string, physical: string): void {
    this.#database.write(() => this.#catalog.switchAlias(alias, physical));
  }

  dropCollection(physical: string): void {
    const { id } = this.#database.write(() => this.#catalog.drop(physical));
    this.#open.delete(id);
  }

  /** Reads something from the database, and makes sure that its files are there. */
  probe(): void {
    this.#database.checkPresence();
    this.#database.read(() => this.#catalog.list());
  }

  /**
   * Loads the vectors of a space's collections into memory as far as they fit, the largest tenants first, so
   * that no search has to wait for that.
   */
  prepare(space: string): void {
    this.#database.read(() => {
      let room = MANY_VECTORS;
      for (const collection of this.#catalog.list()) {
        if (collection.alias === null || collection.fingerprint !== space) continue;
        for (const { tenant, passages } of this.#collection(collection).documents.tenants()) {
          room -= passages;
          if (room >= 0) this.#mirror(collection, tenant);
        }
      }
    });
  }

  close(): void {
    this.#database.close();
  }

  #describe(collection: Collection): CollectionInfo {
    return { ...keyOf(collection), ...this.#collection(collection).documents.counts() };
  }

  #collection({ id }: Collection): OpenCollection {
    let open = this.#open.get(id);
    if (!open) {
      this.#forgetDropped();
      open = { documents: new Documents(this.#database, id), mirrors: new Map() };
      this.#open.set(id, open);
    }
    return open;
  }

  #documents(name: string): Documents {
    return this.#collection(this.#catalog.resolve(name)).documents;
  }

  /** A tenant's vectors, up to date. */
  #mirror(collection: Collection, tenant: number): Mirror {
    const { documents, mirrors } = this.#collection(collection);
    let mirror = mirrors.get(tenant);
    if (!mirror) {
      mirror = new Mirror(documents, tenant, collection.dimensions);
      mirrors.set(tenant, mirror);
    }
    mirror.synchronise();
    this.#warnOfSize();
    return mirror;
  }

  /** Closes collections that another process has dropped. */
  #forgetDropped(): void {
    const there = new Set(this.#catalog.list().map(({ id }) => id));
    for (const id of this.#open.keys()) if (!there.has(id)) this.#open.delete(id);
  }

  #warnOfSize(): void {
    if (this.#warned) return;
    let vectors = 0;
    for (const { mirrors } of this.#open.values())
      for (const mirror of mirrors.values()) vectors += mirror.passages;
    if (vectors <= MANY_VECTORS) return;
    this.#warned = true;
    this.#warn(
      `the embedded store holds ${vectors} vectors in memory and scans them for each search; ` +
        `past ${MANY_VECTORS}, move to Qdrant (store kind "qdrant")`,
    );
  }
}

function rank(mirror: Mirror, query: SearchQuery): readonly Found[] {
  return rankBy(
    query,
    (vector, depth, least) => mirror.nearest(vector, depth, least, query.filter),
    (terms, depth, least) => mirror.bestTerms(terms, depth, least, query.filter),
  );
}

function hit(documents: Documents, { id, documentId, passage, score }: Found, query: SearchQuery): SearchHit {
  const row = documents.row(id)!;
  const text = query.withText === false ? undefined : documents.text(id, passage);
  return {
    documentId,
    score,
    passage,
    title: row.title,
    version: row.version,
    ...(text !== undefined && { text }),
    ...(query.withMetadata !== false && { metadata: JSON.parse(row.metadata) as Record<string, unknown> }),
  };
}

/** Documents that match a filter, read one after another so that their metadata do not pile up in memory. */
function* matching(rows: Iterable<FilterRow>, filter: Filter): Generator<FilterRow, void, undefined> {
  const holds = documentFilter(filter);
  for (const row of rows) {
    const { documentId, version } = row;
    if (holds({ documentId, version, metadata: JSON.parse(row.metadata) })) yield row;
  }
}

function keyOf({ alias, physical, fingerprint, dimensions }: Collection): CollectionKey {
  return {
    name: alias ?? physical,
    physicalName: physical,
    space: { fingerprint, dimensions },
    identity: `col_${hash('md5', physical)}`,
  };
}
