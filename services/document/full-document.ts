import { endianness } from 'node:os';
import type { FullDocument as WireDocument } from '../../proto/generated/scalingnote/v1/FullDocument.ts';
import type { StoredPassage as WirePassage } from '../../proto/generated/scalingnote/v1/StoredPassage.ts';
import { toStruct } from '../../proto/struct.ts';
import type { FullDocument, StoredPassage } from '../../store/document.ts';

/** Bytes that a message has besides texts and vectors, for each passage and for the document: generous. */
const PASSAGE_OVERHEAD = 32;
const DOCUMENT_OVERHEAD = 1024;

/** Bytes of a term with its weight. */
const TERM_BYTES = 8;

/** A document of the store as the wire has it. */
export function toWireDocument(document: FullDocument): WireDocument {
  const { documentId, title, text, textOmitted, metadata, version, expiresAt, tenant, contentHash } =
    document;
  return {
    id: documentId,
    title,
    text: text ?? '',
    metadata: toStruct(metadata),
    version,
    ...(expiresAt !== undefined && { expiresAt: toTimestamp(expiresAt) }),
    tenant,
    contentHash,
    textOmitted,
    textUnknown: text === undefined && !textOmitted,
    passages: document.passages.map(toWirePassage),
  };
}

/** About how many bytes a document takes on the wire, metadata apart. */
export function wireBytes({ title, text = '', passages }: FullDocument): number {
  return passages.reduce(
    (sum, { text: own = '', vector, sparse }) =>
      sum +
      Buffer.byteLength(own) +
      (vector?.byteLength ?? 0) +
      TERM_BYTES * (sparse?.indices.length ?? 0) +
      PASSAGE_OVERHEAD,
    DOCUMENT_OVERHEAD + Buffer.byteLength(title) + Buffer.byteLength(text),
  );
}

function toWirePassage({ text = '', span, vector, sparse }: StoredPassage): WirePassage {
  return {
    text,
    ...(span && { start: span.start, end: span.end }),
    ...(vector && { vector: littleEndian(vector) }),
    ...(sparse && { termIds: [...sparse.indices], termWeights: [...sparse.values] }),
  };
}

function toTimestamp(milliseconds: number): { seconds: number; nanos: number } {
  return { seconds: Math.floor(milliseconds / 1000), nanos: (milliseconds % 1000) * 1_000_000 };
}

function littleEndian({ buffer, byteOffset, byteLength }: Float32Array): Buffer {
  const bytes = Buffer.from(buffer, byteOffset, byteLength);
  return endianness() === 'LE' ? bytes : Buffer.from(bytes).swap32();
}
