import type { Freshness } from './freshness.ts';
import type { SparseVector } from './document.ts';
import type { Fusion, LegPlaces } from './fusion.ts';

/** What callers ask of a store: filters over documents, searches by vectors and terms, and the hits. */

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
   * the search is hybrid: both rankings, each `HYBRID_CANDIDATES` documents deep (or `offset + limit`, if that is more),
   * fused as `fusion.ts` says.
   */
  sparse?: SparseVector;
  /** Of a hybrid search. @default `DEFAULT_FUSION` */
  fusion?: Fusion | undefined;
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
  /** Compare every vector, whatever index and settings the store has. @default as the store is set */
  exact?: boolean;
  /** Return ids, scores and passages alone; titles and versions may be anything. @default false */
  idsOnly?: boolean;
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
  /** Dense: cosine. Sparse: BM25. Hybrid: the fused score, 0 to 1. */
  score: number;
  /** Its places in both rankings of a hybrid search. */
  legs?: LegPlaces;
  /** Index of the best passage. */
  passage: number;
  title: string;
  text?: string;
  metadata?: Readonly<Record<string, unknown>>;
  version: number;
}
