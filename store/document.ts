/** Documents and their passages, as every store has them and gives them back. */

/** Where a passage lies in its document's text: from `start` up to `end`, in UTF-16 code units. */
export interface PassageSpan {
  start: number;
  end: number;
}

/** The entries of a vector that are not zero, by index. Indices are unique; order does not matter. */
export interface SparseVector {
  /** Unsigned 32-bit. */
  indices: readonly number[];
  /** One for each index; finite and positive. */
  values: readonly number[];
}

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
  /** See {@link Origin.ingested}. */
  ingested?: Ingested;
  /** In order. */
  passages: StoredPassage[];
}

/** How a document came in, as the service that took it in says. */
export interface Ingested {
  /** When, in milliseconds since the epoch. */
  at: number;
  /** Of its operation in the call that sent it. */
  sequence: number;
  /** Trace of that call, 32 hex digits; absent where it had none. */
  trace?: string;
}

/** Where a document comes from, and since when its collection has it as it is. */
export interface Origin {
  /** Of its last put or update; absent where the writer said nothing, as versions before this one did. */
  ingested?: Ingested;
  /** The first freshness of its tenant that has it, as `isCovered` reads it; absent where an earlier version wrote it. */
  position?: string;
  /** Others wrote it: the collection was adopted. */
  foreign?: true;
}

/** A passage as it is stored. */
export interface StoredPassage {
  text?: string;
  span?: PassageSpan;
  /** Of unit length; only where vectors were asked for. */
  vector?: Float32Array;
  /** Only where vectors were asked for, and there are terms. */
  sparse?: SparseVector;
  /** As they were given; only where vectors were asked for, and there are some. */
  words?: readonly string[];
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

/** What is remembered of a document that is gone. */
export interface GoneDocument {
  /** Of the delete, or of the document that expired. */
  version: number;
  /** Whether it expired. Once its place was cleaned up, it counts as deleted. */
  expired: boolean;
}
