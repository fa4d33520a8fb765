import { checkWrites, metadataJson, unitFactor, vectorName, writeName } from '../check.ts';
import type { DocumentWrite } from '../store.ts';

/** A put whose metadata are JSON. */
export type PreparedPut = Omit<Extract<DocumentWrite, { kind: 'put' }>, 'metadata'> & {
  /** The store keeps JSON, which is also cheaper to hand to a worker than an object. */
  metadata: string;
};

/** A checked step, with vectors of unit length. */
export type PreparedWrite = PreparedPut | Exclude<DocumentWrite, { kind: 'put' }>;

/**
 * Checks steps and scales their vectors to unit length. All vectors lie in one buffer, which a worker can
 * take without another copy.
 *
 * @throws {StoreError} `STORE_INVALID_ARGUMENT`, naming the step and what is wrong with it
 */
export function prepareWrites(writes: readonly DocumentWrite[]): {
  prepared: PreparedWrite[];
  vectors: ArrayBuffer;
} {
  checkWrites(writes);
  let components = 0;
  for (const write of writes) {
    if (write.kind === 'put') for (const { vector } of write.passages) components += vector.length;
  }
  const vectors = new Float32Array(components);
  let start = 0;
  const prepared = writes.map((write, index): PreparedWrite => {
    if (write.kind !== 'put') return write;
    const passages = write.passages.map(({ vector: given, sparse, text }, passage) => {
      const vector = vectors.subarray(start, start + given.length);
      start += given.length;
      scale(given, unitFactor(given, vectorName(write, index, passage)), vector);
      return { vector, ...(sparse && { sparse }), ...(text !== undefined && { text }) };
    });
    const metadata = metadataJson(write.metadata, writeName(write, index));
    const { kind, tenant, documentId, version, contentHash, title } = write;
    return { kind, tenant, documentId, version, contentHash, title, metadata, passages };
  });
  return { prepared, vectors: vectors.buffer };
}

/** A copy of a vector, of unit length. @throws {StoreError} as {@link unitFactor} */
export function unitVector(vector: Float32Array, what: string): Float32Array {
  const unit = new Float32Array(vector.length);
  scale(vector, unitFactor(vector, what), unit);
  return unit;
}

function scale(vector: Float32Array, factor: number, into: Float32Array): void {
  for (let index = 0; index < vector.length; index++) into[index] = vector[index]! * factor;
}
