import type { Ingested } from '../document.ts';

/** What is read of the tables of documents, and how it looks there. */

/** Where a document's whole text is. */
export const TextKept = {
  /** Nowhere: the document was stored before layout 2. */
  unknown: 0,
  /** Nowhere: the caller keeps texts out of the store. */
  omitted: 1,
  /** In `texts`. */
  apart: 2,
  /** It is the text of the only passage. */
  inPassage: 3,
} as const;

/** The columns of `documents` that a filter needs. */
export interface FilterRow {
  id: number;
  documentId: string;
  version: number;
  /** JSON. */
  metadata: string;
  passages: number;
}

/** What a mirror needs to know of a document besides its vectors. */
export interface MirroredRow extends FilterRow {
  expiresAt: number | null;
}

/** The columns of `documents` that say where a document comes from; `null` where a layout before 3 did not. */
export interface OriginRow {
  ingestedAt: number | null;
  sequence: number | null;
  trace: string | null;
  position: number | null;
}

/** How a document came in, as its row says. */
export function ingestedIn({ ingestedAt: at, sequence, trace }: OriginRow): Ingested | undefined {
  if (at === null || sequence === null) return undefined;
  return { at, sequence, ...(trace !== null && { trace }) };
}

/** A document without its passages. */
export interface DocumentRow extends MirroredRow, OriginRow {
  contentHash: string;
  encodingHash: string | null;
  title: string;
  /** See {@link TextKept}. */
  textKept: number;
  /** The whole text, if it is stored apart. */
  text: string | null;
}

/** What of a row has a checksum, and the checksums. */
export interface Checked {
  id: number;
  documentId: string;
  /** Absent where it was not asked for. */
  title?: string;
  contentHash: string;
  metadata: string;
  titleSum: number | null;
  metadataSum: number | null;
}

/** What a write needs to know of the document that is stored. */
export interface FoundRow {
  id: number;
  documentId: Uint8Array;
  version: number;
  contentHash: Uint8Array;
  encodingHash: Uint8Array | null;
  expiresAt: number | null;
  textKept: number;
  passages: number;
}

/** A row as it is stored: callers' strings are bytes. */
export type Raw<Row> = {
  [Key in keyof Row]: Key extends 'documentId' | 'contentHash' | 'title'
    ? Uint8Array
    : Key extends 'encodingHash' | 'text'
      ? Uint8Array | null
      : Row[Key];
};
