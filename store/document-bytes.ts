import type { FullDocument } from './document.ts';

/** Bytes of a term's index and weight. */
const TERM_BYTES = 8;

/** Texts and vectors of a document in bytes, as `PageRequest.bytes` counts them. */
export function documentBytes({ text = '', passages }: FullDocument): number {
  return passages.reduce(
    (sum, passage) =>
      sum +
      Buffer.byteLength(passage.text ?? '') +
      (passage.vector?.byteLength ?? 0) +
      TERM_BYTES * (passage.sparse?.indices.length ?? 0),
    Buffer.byteLength(text),
  );
}

/**
 * Bytes of a document as quotas count them, the same in every store: title, text and metadata (as JSON) in UTF-8, and
 * four for each number of a vector. A text is counted once, however its passages overlap, and not where it is kept out of
 * the store. Of a document from before layout 2, whose whole text is not stored, the texts of the passages count. Terms,
 * hashes and indexes do not count.
 */
export function quotaBytes(
  document: Pick<FullDocument, 'title' | 'text' | 'metadata'> & {
    passages: readonly { text?: string }[];
    textOmitted: boolean;
  },
  dimensions: number,
): number {
  const { title, text, textOmitted, metadata, passages } = document;
  const texts = text ?? (textOmitted ? '' : passages.map(({ text: own = '' }) => own).join(''));
  return (
    Buffer.byteLength(title) +
    Buffer.byteLength(texts) +
    Buffer.byteLength(JSON.stringify(metadata)) +
    vectorBytes(passages.length, dimensions)
  );
}

/** Bytes of the vectors of so many passages. */
export function vectorBytes(passages: number, dimensions: number): number {
  return passages * dimensions * Float32Array.BYTES_PER_ELEMENT;
}
