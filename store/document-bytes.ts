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
