import type { Context } from '@opentelemetry/api';
import type {
  DocumentKey,
  FullDocument,
  GoneDocument,
  Origin,
  RememberedDelete,
  StoredDocument,
} from './document.ts';
import type { Freshness } from './freshness.ts';
import type { FieldType } from './indexed-fields.ts';
import type { Filter, SearchHit, SearchQuery } from './queries.ts';
import type { DocumentWrite, DocumentWriteResult } from './writes.ts';

/**
 * The interface of every vector store. `embedded/` keeps vectors in process and on disk, `qdrant/` in a
 * Qdrant server or cluster. `document.ts`, `writes.ts` and `queries.ts` have what goes in and out. The tests in
 * `contract.ts` hold every store to what these files say.
 *
 * A store does not know towers: it knows a space as a fingerprint and a number of dimensions.
 */

/** The identity of a space, which the towers define. Vectors of one space can be compared. */
export interface SpaceKey {
  /** `sp1_` and 32 hex digits. */
  fingerprint: string;
  /** Length of every dense vector. */
  dimensions: number;
}

/** What a collection is made with. */
export interface NewCollection extends SpaceKey {
  /** Kept with a collection that is made, as it is: how the model encoded then; see {@link Store.goldenVectors}. */
  goldenVectors?: string;
  /** Kept with a collection that is made: how texts become its terms, in the words of whoever makes them. */
  analysis?: string;
}

/** The collection that a name leads to. */
export interface CollectionKey {
  /** Logical name: the alias, or the physical name if no alias points to it. */
  name: string;
  /** `<name>--<first 12 characters of the fingerprint>`; see {@link physicalName}. */
  physicalName: string;
  space: SpaceKey;
  /**
   * Random, made with the physical collection: `col_` and 32 hex digits. A collection that is dropped and made again, or
   * restored from a backup, has another one.
   */
  identity: string;
  /** Others write it: we adopted it, and only read it. */
  readOnly?: true;
  /** Fingerprints of other spaces that were measured to be this one: their query towers may search it. */
  admittedSpaces?: string[];
  /** How texts become its terms, in the words of whoever makes them; absent where nobody said so. */
  analysis?: string;
  /** Metadata fields with an index, each with its type, as {@link Store.indexField} made it; absent for none. */
  indexedFields?: Readonly<Record<string, string>>;
}

/** Numbers of documents and of their passages: one dense vector each. */
export interface Counts {
  documents: number;
  passages: number;
}

/** What a tenant has in a collection. */
export interface Usage extends Counts {
  /** The sum of `quotaBytes` over its documents. */
  bytes: number;
}

/** A tenant with its counts. */
export interface TenantCounts extends Counts {
  tenant: string;
}

/** A collection as the store has it, with the counts of all tenants together. */
export interface CollectionInfo extends CollectionKey, Counts {}

/** Bounds a call. */
export interface CallOptions {
  /** Cancels the call, which then rejects with the signal's reason. */
  signal?: AbortSignal;
  /** When the caller stops waiting, in milliseconds since the epoch; the call then rejects with a `TimeoutError`. */
  deadline?: number;
  /** The trace that the call belongs to. @default the active context */
  trace?: Context;
}

/** One page of a scroll. */
export interface ScrollPage {
  documents: FullDocument[];
  /** Where the next page begins; absent on the last one. */
  next?: string;
}

/** Which page of a scroll. */
export interface PageRequest {
  /** Most documents. */
  limit: number;
  /** {@link ScrollPage.next} of the page before, or the document to begin after, whether or not it is there. */
  after?: string | { documentId: string };
  filter?: Filter;
  /** Return vectors. @default false */
  withVectors?: boolean;
  /** End the page after the document that passes this many bytes of texts and vectors. @default no bound */
  bytes?: number;
}

/** The words of a tenant's passages, as far as they were given with them; see `PassageWrite.words`. */
export interface CountedWords {
  /** Changes whenever the words may have changed. */
  stamp: string;
  /** Absent where the caller knows this stamp: they have not changed. */
  counted?: {
    /** Each word once, in any order, with a line feed between. */
    words: string;
    /** For each word, the passages that have it. */
    passages: Uint32Array;
  };
}

/** A bulk load that is under way; see {@link Store.beginBulk}. */
export interface BulkLoad {
  /** Ends the load. Searches stay slow until the index has been built. */
  end(options?: CallOptions): Promise<void>;
}

/**
 * What every store does. No read finds a document that has expired. Callers name a collection by its alias or its
 * physical name. Equal scores are ordered by document id, so that equal inputs give equal answers.
 *
 * Errors are {@link StoreError}s: `COLLECTION_NOT_FOUND`, `SPACE_MISMATCH`, `STORE_UNAVAILABLE`, ...
 */
export interface Store {
  /** The kind of store. */
  readonly kind: 'embedded' | 'qdrant';

  /**
   * Makes the collection of a space and its alias, unless they are there. Several processes may do it at
   * once. Given a physical name, it makes no alias: fill the collection, then switch an alias to it.
   *
   * @throws {StoreError} `SPACE_MISMATCH` if the alias leads to a collection of another space.
   */
  ensureCollection(name: string, space: NewCollection, options?: CallOptions): Promise<CollectionInfo>;

  /**
   * How the model encoded when the collection was made, in the words of whoever made it; `undefined` where nothing was
   * given then. It never changes, and goes with the collection into backups and copies.
   *
   * @throws {StoreError} `COLLECTION_NOT_FOUND`
   */
  goldenVectors(collection: string, options?: CallOptions): Promise<string | undefined>;

  /**
   * Changes how texts become the terms of a collection. Its documents keep their terms until they are written again.
   *
   * @throws {StoreError} `COLLECTION_NOT_FOUND`, `COLLECTION_READ_ONLY`
   */
  setAnalysis(collection: string, analysis: string, options?: CallOptions): Promise<void>;

  /**
   * Indexes a metadata field, unless it is. Searches and writes go on meanwhile.
   *
   * @param field as filters name it: `metadata.KEY`
   * @throws {StoreError} `COLLECTION_NOT_FOUND`, `COLLECTION_READ_ONLY`; `STORE_INVALID_ARGUMENT` for what is no metadata, or
   *   indexed with another type
   */
  indexField(collection: string, field: string, type: FieldType, options?: CallOptions): Promise<void>;

  /**
   * The words of a tenant's passages; of more than `limit`, about so many of the most frequent ones. Words of documents that
   * have expired may be among them until the store has deleted these.
   *
   * @param request.known the stamp of an earlier answer
   * @throws {StoreError} `COLLECTION_NOT_FOUND`
   */
  words(
    collection: string,
    tenant: string,
    request: { limit: number; known?: string },
    options?: CallOptions,
  ): Promise<CountedWords>;

  /**
   * Where a name leads. It counts nothing, because every search asks this.
   *
   * @throws {StoreError} `COLLECTION_NOT_FOUND`
   */
  findCollection(name: string, options?: CallOptions): Promise<CollectionKey>;

  /** Every physical collection, by name. One without an alias goes by its physical name. */
  listCollections(options?: CallOptions): Promise<CollectionInfo[]>;

  /**
   * Applies steps in order and, once all are durable, returns a result for each. A document changes as a
   * whole. `versions.ts` has the rule for versions.
   *
   * @throws {StoreError} if none or an unknown part of the steps was written; repeating them is safe.
   */
  writeDocuments(
    collection: string,
    writes: readonly DocumentWrite[],
    options?: CallOptions,
  ): Promise<DocumentWriteResult[]>;

  /**
   * Builds no index until the load has ended: building it once is less work than keeping it up to date.
   * Writes and searches work meanwhile, searches without the index. If the process dies, another one ends the
   * load. The embedded store has no index and does nothing.
   *
   * @throws {StoreError} `COLLECTION_NOT_FOUND`
   */
  beginBulk(collection: string, options?: CallOptions): Promise<BulkLoad>;

  /** Each document as it is stored, in the order asked for; `undefined` for one that is not there. */
  lookupDocuments(
    collection: string,
    keys: readonly DocumentKey[],
    options?: CallOptions,
  ): Promise<(StoredDocument | undefined)[]>;

  /** Each document with all that is stored of it, in the order asked for; `undefined` for one that is not there. */
  readDocuments(
    collection: string,
    keys: readonly DocumentKey[],
    read?: { withVectors?: boolean },
    options?: CallOptions,
  ): Promise<(FullDocument | undefined)[]>;

  /** Where each document comes from, in the order asked for; `undefined` for one that is not there. */
  findOrigins(
    collection: string,
    keys: readonly DocumentKey[],
    options?: CallOptions,
  ): Promise<(Origin | undefined)[]>;

  /**
   * What the store remembers of a document that is gone: deleted, or expired. `undefined` where the document is there,
   * was never there, or was forgotten.
   */
  findDelete(collection: string, key: DocumentKey, options?: CallOptions): Promise<GoneDocument | undefined>;

  /**
   * Deletes every document of a tenant that matches the filter; returns how many. It works in slices, so that searches
   * and writes go on beside it: documents that are written meanwhile may or may not be among them.
   */
  deleteByFilter(collection: string, tenant: string, filter: Filter, options?: CallOptions): Promise<number>;

  /** Best documents first. */
  search(collection: string, query: SearchQuery, options?: CallOptions): Promise<SearchHit[]>;

  /** Documents and passages of a tenant that the filter holds for. */
  count(collection: string, tenant: string, filter?: Filter, options?: CallOptions): Promise<Counts>;

  /** Documents of a tenant in a stable order, a page at a time. */
  scroll(collection: string, tenant: string, page: PageRequest, options?: CallOptions): Promise<ScrollPage>;

  /** Every tenant that has documents or remembered deletes, in a stable order. */
  tenants(collection: string, options?: CallOptions): Promise<string[]>;

  /** The counts of every tenant that has documents, by tenant. */
  tenantCounts(collection: string, options?: CallOptions): Promise<TenantCounts[]>;

  /** What a tenant has, as its quota counts it. It looks at every document of the tenant, without their vectors. */
  usage(collection: string, tenant: string, options?: CallOptions): Promise<Usage>;

  /** `quotaBytes` of each document, in the order asked for; `undefined` for one that is not there. */
  measureDocuments(
    collection: string,
    keys: readonly DocumentKey[],
    options?: CallOptions,
  ): Promise<(number | undefined)[]>;

  /**
   * Removes everything of a tenant: documents, whether or not they have expired, remembered deletes, and its name. It
   * works in pieces; a call that ends early has removed some, and the next one goes on. What the tenant writes meanwhile
   * may stay.
   *
   * @returns how many documents this call removed
   */
  dropTenant(collection: string, tenant: string, options?: CallOptions): Promise<number>;

  /** Whatever names a tenant still, by whichever way it is found: 0 after {@link dropTenant}. */
  remains(collection: string, tenant: string, options?: CallOptions): Promise<number>;

  /** Deletes of a tenant that the store remembers, in a stable order, a page at a time. */
  scrollDeletes(
    collection: string,
    tenant: string,
    page: { limit: number; after?: string },
    options?: CallOptions,
  ): Promise<{ deletes: RememberedDelete[]; next?: string }>;

  /**
   * What is durable now, as a token for {@link SearchQuery.atLeast}. It covers every write that was answered before the
   * call, whoever made it.
   *
   * @param options.tenant whose writes it covers; it then tells nothing of what others write. @default all
   * @throws {StoreError} `COLLECTION_NOT_FOUND`
   */
  freshness(collection: string, options?: CallOptions & { tenant?: string }): Promise<Freshness>;

  /** Logical name to physical name. */
  aliases(options?: CallOptions): Promise<Map<string, string>>;

  /**
   * Points an alias at a physical collection, in one step: a search sees the old or the new one, never neither.
   *
   * @throws {StoreError} `COLLECTION_NOT_FOUND`
   */
  switchAlias(alias: string, physical: string, options?: CallOptions): Promise<void>;

  /**
   * Drops a physical collection, with all aliases that lead to it.
   *
   * @throws {StoreError} `COLLECTION_NOT_FOUND`
   */
  dropCollection(physical: string, options?: CallOptions): Promise<void>;

  /**
   * Makes the next search in a space as fast as those after it. Call it again now and then, for documents
   * written since. Embedded: brings the vectors of the space's collections into memory. Qdrant: does nothing.
   *
   * @param space fingerprint
   * @param options `fully` as well brings the terms of sparse searches into memory, and writes what the next start reads at
   *   once instead of row by row. @default false
   */
  prepare(space: string, options?: CallOptions & { fully?: boolean }): Promise<void>;

  /** Resolves when the store can serve. @throws {StoreError} `STORE_UNAVAILABLE` */
  probe(options?: CallOptions): Promise<void>;

  /** Releases all resources. Acknowledged writes stay. */
  close(): Promise<void>;
}

/** `<name>--<first 12 characters of the fingerprint>`: the physical name of a collection in a space. */
export function physicalName(name: string, fingerprint: string): string {
  return `${name}--${fingerprint.slice(0, 12)}`;
}
