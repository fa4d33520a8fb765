import { status } from '@grpc/grpc-js';
import { ServiceError } from './errors.ts';

/**
 * A vector scaled to unit length, as stores compare them; not every tower does it.
 *
 * @throws {ServiceError} `VECTOR_DEGENERATE` for one that has no direction
 */
export function unitVector(vector: Float32Array): Float32Array {
  let squares = 0;
  for (const component of vector) squares += component * component;
  const length = Math.sqrt(squares);
  if (!(length > 0 && length < Infinity)) {
    throw new ServiceError(
      status.INVALID_ARGUMENT,
      'VECTOR_DEGENERATE',
      `the tower gave the text a vector of length ${length}, which points nowhere; use other words`,
    );
  }
  return vector.map((component) => component / length);
}
