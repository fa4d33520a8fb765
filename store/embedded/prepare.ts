import { checkWrites, metadataJson, unitFactor, vectorName, writeName } from '../check.ts';
import type { DocumentWrite } from '../writes.ts';

/** A write whose metadata are JSON: the store keeps JSON, which is also cheaper to hand to a worker than an object. */
type WithJson<Kind extends DocumentWrite['kind']> = Omit<
  Extract<DocumentWrite, { kind: Kind }>,
  'metadata'
> & {
  metadata: string;
};

/** A put whose metadata are JSON. */
export type PreparedPut = WithJson<'put'>;

/** An update whose metadata are JSON. */
export type PreparedUpdate = WithJson<'update'>;

/** A checked step, with vectors of unit length. */
export type PreparedWrite =
  | PreparedPut
  | PreparedUpdate
  | Exclude<DocumentWrite, { kind: 'put' } | { kind: 'update' }>;

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
    if (write.kind !== 'put' && write.kind !== 'update') return write;
    const metadata = metadataJson(write.metadata, writeName(write, index));
    if (write.kind === 'update') return { ...write, metadata };
    const passages = write.passages.map(({ vector: given, ...rest }, passage) => {
      const vector = vectors.subarray(start, start + given.length);
      start += given.length;
      scale(given, unitFactor(given, vectorName(write, index, passage)), vector);
      return { vector, ...rest };
    });
    return { ...write, metadata, passages };
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
