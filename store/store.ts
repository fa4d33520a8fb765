import type { Context } from '@opentelemetry/api';
import type { Freshness } from './freshness.ts';

/**
 * The interface of every vector store. `embedded/` keeps vectors in process and on disk, `qdrant/` in a
 * Qdrant server or cluster. The tests in `contract.ts` hold every store to what this file says.
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
}

/** Numbers of documents and of their passages: one dense vector each. */
export interface Counts {
  documents: number;
  passages: number;
}

/** A collection as the store has it, with the counts of all tenants together. */
export interface CollectionInfo extends CollectionKey, Counts {}

/** The entries of a vector that are not zero, by index. Indices are unique; order does not matter. */
export interface SparseVector {
  /** Unsigned 32-bit. */
  indices: readonly number[];
  /** One for each index; finite and positive. */
  values: readonly number[];
}

/** A stretch of a document that has one vector. */
export interface PassageWrite {
  /** `dimensions` components, finite and not all zero; the store scales it to unit length. */
  vector: Float32Array;
  /**
   * Term weights of the passage, for sparse and hybrid search. At search, the store multiplies them by the
   * inverse document frequency: ln(1 + (N − df + 0.5) / (df + 0.5)) over the N passages of the tenant
   * (embedded) or of the shard (Qdrant).
   */
  sparse?: SparseVector;
  /** The text that a hit shows; absent if the caller keeps texts out of the store. */
  text?: string;
  /** Where the passage lies in the document's whole text, in UTF-16 code units; absent if the caller does not know. */
  span?: PassageSpan;
}

/** Where a passage lies in its document's text: from `start` up to `end`, in UTF-16 code units. */
export interface PassageSpan {
  start: number;
  end: number;
}

/** One step of a write. The store applies steps in order; a step sees the effect of those before it. */
export type DocumentWrite =
  | {
      /** Replace the document and all its passages, even if the content is the same. */
      kind: 'put';
      tenant: string;
      documentId: string;
      /** 0 to 2^53 - 1. */
      version: number;
      /** Identity of what is stored: a hash over everything that the caller may change. */
      contentHash: string;
      /** Identity of what is encoded: a hash over title and text alone. */
      encodingHash: string;
      title: string;
      /** The whole text as it came, stored once beside the passages; absent if texts are kept out of the store. */
      text?: string;
      metadata: Readonly<Record<string, unknown>>;
      /** When the document expires; see {@link FullDocument.expiresAt}. */
      expiresAt?: number;
      /** At least one. */
      passages: readonly PassageWrite[];
    }
  | {
      /** Raise the version of a document whose content should be stored already. */
      kind: 'confirm';
      tenant: string;
      documentId: string;
      version: number;
      contentHash: string;
    }
  | {
      /**
       * Replace metadata, expiry, content hash and version of a document, and keep its title, text and passages. The
       * answer is `changed`, and nothing is written, where the store does not hold what `expected` says.
       */
      kind: 'update';
      tenant: string;
      documentId: string;
      version: number;
      /** The new one. */
      contentHash: string;
      metadata: Readonly<Record<string, unknown>>;
      /** Absent for a document that does not expire. */
      expiresAt?: number;
      expected: Expected;
    }
  | {
      /**
       * Delete the document. The store remembers a delete with a version above 0 (Qdrant: for 30 days); older
       * writes are then stale.
       */
      kind: 'delete';
      tenant: string;
      documentId: string;
      version: number;
    };

/** What an update needs to find in the store. */
export type Expected =
  /** This title and text, whatever the metadata: a document whose metadata alone differ. */
  | { encodingHash: string }
  /** Exactly this content: a patch of the metadata that were read with it. */
  | { contentHash: string };

/**
 * The result of a {@link DocumentWrite}.
 *
 * - `indexed`: a put is durable and searchable.
 * - `updated`: an update is durable and searchable.
 * - `unchanged`: the content was stored already; the stored version is now at least the given one.
 * - `deleted`: the document is not there now; it need not have been there before.
 * - `stale`: the store has a higher version and changed nothing.
 * - `changed`: the store does not have what a confirm or an update expects, or not any more; put the document instead.
 */
export type DocumentWriteResult =
  | { outcome: 'indexed' | 'updated' | 'unchanged' | 'deleted' | 'changed' }
  | { outcome: 'stale'; storedVersion: number };

/** Names a document. */
export interface DocumentKey {
  tenant: string;
  documentId: string;
}

/** A document as it is stored, without its passages. */
export interface StoredDocument {
  version: number;
  contentHash: string;
  /** Absent for a document that was stored before layout 2. */
  encodingHash?: string;
  /** Whether texts were kept out of the store. */
  textOmitted: boolean;
  passages: number;
}

/** A document as it came, with its passages. */
export interface FullDocument {
  tenant: string;
  documentId: string;
  title: string;
  /** Absent if texts were kept out of the store, or the document was stored before layout 2. */
  text?: string;
  textOmitted: boolean;
  metadata: Readonly<Record<string, unknown>>;
  version: number;
  contentHash: string;
  /** Absent for a document that was stored before layout 2. */
  encodingHash?: string;
  /** Milliseconds since the epoch; from then on no search, count or read finds the document, and it is deleted. */
  expiresAt?: number;
  /** In order. */
  passages: StoredPassage[];
}

/** A passage as it is stored. */
export interface StoredPassage {
  text?: string;
  span?: PassageSpan;
  /** Of unit length; only where vectors were asked for. */
  vector?: Float32Array;
  /** Only where vectors were asked for, and there are terms. */
  sparse?: SparseVector;
}

/** Texts of a document's passages, in order; an empty text for one that is not stored. */
export function passageTexts({ passages }: Pick<FullDocument, 'passages'>): string[] {
  return passages.map(({ text = '' }) => text);
}

/** A delete that the store remembers, so that an older document that arrives late is stale. */
export interface RememberedDelete {
  tenant: string;
  documentId: string;
  version: number;
}

/** A value that a filter compares with. */
export type FilterValue = string | number | boolean;

/**
 * One condition on one field, or a nested filter. A field is `metadata.KEY`, with dots into nested objects (not into
 * lists), `document_id` or `version`. Values of different types are never equal, and a range holds for numbers alone.
 * On a list, `equals` and `anyOf` hold where some element does, `range` likewise. `exists` holds where the field is
 * present and neither null nor an empty list. A key that is not made of letters, digits, "_" and "-" alone is written in
 * double quotes: `metadata."unit.price"`.
 */
export type Condition =
  | { field: string; equals: FilterValue }
  | { field: string; anyOf: readonly FilterValue[] }
  | { field: string; range: { gt?: number; gte?: number; lt?: number; lte?: number } }
  | { field: string; exists: true }
  | { filter: Filter };

/** Holds where every `must`, at least one `should` (if any is given) and no `mustNot` does. */
export interface Filter {
  must?: readonly Condition[];
  should?: readonly Condition[];
  mustNot?: readonly Condition[];
}

/** A search for documents by their passages. */
export interface SearchQuery {
  tenant: string;
  /** Dense query vector, finite and not zero; absent for a sparse search. */
  vector?: Float32Array;
  /**
   * Weights of the query's terms. A text without words has none; its sparse ranking is empty. With `vector`
   * the search is hybrid: both rankings, each {@link HYBRID_CANDIDATES} documents deep (or `offset + limit`,
   * if that is more), fused by reciprocal rank.
   */
  sparse?: SparseVector;
  filter?: Filter | undefined;
  /** How many documents, at least 1. */
  limit: number;
  /** How many of the best documents to skip. @default 0 */
  offset?: number;
  /** Lowest score to return. */
  scoreThreshold?: number | undefined;
  /**
   * Candidates to look at in a graph index; a setting of the store overrides it. An exact search ignores it.
   */
  hnswEf?: number;
  /**
   * Candidates to compare in full for each hit if vectors are kept as bits; a setting of the store overrides
   * it.
   */
  oversampling?: number;
  /** Return passages' texts. @default true */
  withText?: boolean;
  /** Return metadata. @default true */
  withMetadata?: boolean;
  /**
   * The answer has to hold everything that was durable when this was taken. Where it can't be promised yet, the search
   * fails with `STORE_NOT_FRESH`, and the caller may try again; in another collection, with `COLLECTION_REPLACED`.
   */
  atLeast?: Freshness;
}

/** A document that was found, with its best passage. */
export interface SearchHit {
  documentId: string;
  /** Dense: cosine. Sparse: BM25. Hybrid: sum over both rankings of 1 / ({@link RRF_K} + rank), rank from 1. */
  score: number;
  /** Index of the best passage. */
  passage: number;
  title: string;
  text?: string;
  metadata?: Readonly<Record<string, unknown>>;
  version: number;
}

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

/** A bulk load that is under way; see {@link Store.beginBulk}. */
export interface BulkLoad {
  /** Ends the load. Searches stay slow until the index has been built. */
  end(options?: CallOptions): Promise<void>;
}

/**
 * What every store does. Documents that have expired are as good as gone for every read. Callers name a collection by its alias or its physical name. Equal scores are
 * ordered by document id, so that equal inputs give equal answers.
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
  ensureCollection(name: string, space: SpaceKey, options?: CallOptions): Promise<CollectionInfo>;

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
   * @throws {StoreError} `COLLECTION_NOT_FOUND`
   */
  freshness(collection: string, options?: CallOptions): Promise<Freshness>;

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
   */
  prepare(space: string, options?: CallOptions): Promise<void>;

  /** Resolves when the store can serve. @throws {StoreError} `STORE_UNAVAILABLE` */
  probe(options?: CallOptions): Promise<void>;

  /** Releases all resources. Acknowledged writes stay. */
  close(): Promise<void>;
}

/** Depth of each ranking in a hybrid search: deep enough that fusion seldom misses a document of the top ten. */
export const HYBRID_CANDIDATES = 100;

/**
 * The constant of reciprocal rank fusion; Cormack et al. (SIGIR 2009) found 60 to work across collections.
 */
export const RRF_K = 60;

/** `<name>--<first 12 characters of the fingerprint>`: the physical name of a collection in a space. */
export function physicalName(name: string, fingerprint: string): string {
  return `${name}--${fingerprint.slice(0, 12)}`;
}
