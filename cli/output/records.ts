import type { FullDocument, FullPassage, JsonObject } from '../../clients/index.ts';

/** What a record of an export holds beside what `scalingnote ingest` reads. */
export interface RecordParts {
  /** Leaves `text` out. @default false */
  withoutText?: boolean;
  /** Adds `passages`, with vectors and terms. @default false */
  vectors?: boolean;
  /** Adds `tenant`. @default false */
  tenant?: boolean;
}

/** A document as the export of JSON Lines writes it, and as `scalingnote ingest` reads it. */
export interface ExportRecord {
  id: string;
  title: string;
  text?: string;
  metadata: JsonObject;
  version: number;
  /** ISO 8601, in UTC, with milliseconds. */
  expires_at?: string;
  tenant?: string;
  passages?: ExportPassage[];
}

/** A passage of an exported document. */
interface ExportPassage {
  text?: string;
  start?: number;
  end?: number;
  vector: number[];
  terms?: { ids: number[]; weights: number[] };
}

/** A document as a record; keys in the same order for every document. */
export function toRecord(document: FullDocument, parts: RecordParts = {}): ExportRecord {
  const { id, title, text, metadata, version, expiresAt, tenant, passages } = document;
  return {
    id,
    title,
    ...(parts.withoutText === true || text === undefined ? {} : { text }),
    metadata,
    version,
    ...(expiresAt && { expires_at: expiresAt.toISOString() }),
    ...(parts.tenant === true && { tenant }),
    ...(parts.vectors === true && { passages: passages.map((passage) => toPassage(passage, parts)) }),
  };
}

function toPassage(
  { text, span, vector, terms }: FullPassage,
  { withoutText = false }: RecordParts,
): ExportPassage {
  return {
    ...(withoutText ? {} : { text }),
    ...span,
    vector: Array.from(vector ?? []),
    ...(terms && { terms }),
  };
}
