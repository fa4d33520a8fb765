import type { Ingested, PassageSpan, SparseVector } from './document.ts';

/** What callers write to a store, step by step, and what comes of each step. */

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
      /** When the document expires; see `FullDocument.expiresAt`. */
      expiresAt?: number;
      /** How it came in; a copy has that of the document it was made of. */
      ingested?: Ingested;
      /** At least one. */
      passages: readonly PassageWrite[];
      /**
       * What the store has to hold: the document with other terms. The answer is `changed`, and nothing is written, where it
       * does not. @default anything
       */
      expected?: Expected;
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
       * Replace metadata, expiry, content hash, version and origin of a document, and keep its title, text and passages. The
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
      /** How the update came in. It replaces how the document did. */
      ingested?: Ingested;
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

/** What a write needs to find in the store. */
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
 * - `changed`: the store does not have what a write expects, or not any more; put the document instead.
 */
export type DocumentWriteResult =
  | { outcome: 'indexed' | 'updated' | 'unchanged' | 'deleted' | 'changed' }
  | { outcome: 'stale'; storedVersion: number };

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
  /** Words to count, each once; see `Store.words`. None is empty or has a control character but a first one. */
  words?: readonly string[];
}
