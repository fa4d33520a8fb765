import { endianness } from 'node:os';
import type { FullDocument__Output } from '../proto/generated/scalingnote/v1/FullDocument.ts';
import type { StoredPassage__Output } from '../proto/generated/scalingnote/v1/StoredPassage.ts';
import { fromStruct, type JsonObject } from '../proto/struct.ts';
import { fromTimestamp } from './timestamp.ts';

/** A document as it came, with what was made of it. */
export interface FullDocument {
  id: string;
  title: string;
  /** The whole text as it came; absent where the store does not have it. */
  text?: string;
  /** Why the text is absent: kept out of the store by its owner, or never stored whole by a version before 0.2.0. */
  missingText?: 'omitted' | 'unknown';
  metadata: JsonObject;
  version: number;
  /** When it expires; absent for a document that does not. */
  expiresAt?: Date;
  tenant: string;
  /** Identity of its content. */
  contentHash: string;
  /** In order. */
  passages: FullPassage[];
}

/** A passage as it is stored. */
export interface FullPassage {
  /** Empty where texts are kept out of the store. */
  text: string;
  /** Where it lies in the document's text, in UTF-16 code units; absent where that is not known. */
  span?: { start: number; end: number };
  /** Of unit length; only where vectors were asked for. */
  vector?: Float32Array;
  /** The terms it has, by id, with their weights; only where vectors were asked for. */
  terms?: { ids: number[]; weights: number[] };
}

/** A message of the wire as this package answers with it. */
export function fromFullDocument(document: FullDocument__Output): FullDocument {
  const { id, title, text, metadata, version, expiresAt, tenant, contentHash, passages } = document;
  const missing = document.textOmitted ? 'omitted' : document.textUnknown ? 'unknown' : undefined;
  return {
    id,
    title,
    ...(missing === undefined ? { text } : { missingText: missing }),
    metadata: fromStruct(metadata),
    version: Number(version),
    ...(expiresAt && { expiresAt: fromTimestamp(expiresAt) }),
    tenant,
    contentHash,
    passages: passages.map(fromPassage),
  };
}

function fromPassage({ text, start, end, vector, termIds, termWeights }: StoredPassage__Output): FullPassage {
  return {
    text,
    ...(start !== undefined && end !== undefined && { span: { start, end } }),
    ...(vector.length > 0 && { vector: fromLittleEndian(vector) }),
    ...(termIds.length > 0 && { terms: { ids: termIds, weights: termWeights } }),
  };
}

/** Copies, because the bytes lie anywhere in the memory of their message. */
function fromLittleEndian(bytes: Uint8Array): Float32Array {
  const copy = new Uint8Array(bytes);
  if (endianness() === 'BE') Buffer.from(copy.buffer).swap32();
  return new Float32Array(copy.buffer);
}
