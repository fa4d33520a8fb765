import { status } from '@grpc/grpc-js';
import type { SearchByVectorRequest__Output } from '../../proto/generated/scalingnote/v1/SearchByVectorRequest.ts';
import type { TowerManifest } from '../../towers/manifest.ts';
import { invalidArgument, ServiceError } from '../runtime/errors.ts';
import { quoted } from '../runtime/validate.ts';

/** How far from 1 the length of a unit vector may be: more than half precision loses, less than another scale. */
const LENGTH_TOLERANCE = 1e-2;

/**
 * The vector of a request, where it belongs to the space that is searched.
 *
 * @throws {ServiceError} `SPACE_MISMATCH`; `INVALID_ARGUMENT`, with the field and the fix
 */
export function checkVector(
  { space, vector }: Pick<SearchByVectorRequest__Output, 'space' | 'vector'>,
  { space: { fingerprint }, dimensions, normalize }: TowerManifest,
): Float32Array {
  if (space === '')
    throw invalidArgument('space', 'is empty; send the fingerprint of the vector\u2019s space');
  if (space !== fingerprint) {
    throw new ServiceError(
      status.FAILED_PRECONDITION,
      'SPACE_MISMATCH',
      `the vector is of space ${quoted(space)}, and this service searches ${fingerprint}; encode with a tower of that space`,
      { metadata: { expected: fingerprint, actual: space.slice(0, 64) } },
    );
  }
  if (vector.length !== dimensions) {
    throw invalidArgument('vector', `has ${vector.length} values; the space has ${dimensions} dimensions`);
  }
  const wrong = vector.findIndex((value) => !Number.isFinite(value));
  if (wrong >= 0) throw invalidArgument(`vector[${wrong}]`, `is ${vector[wrong]}; send a finite number`);
  const length = Math.hypot(...vector);
  if (length === 0) throw invalidArgument('vector', 'is zero, which has no direction; encode a text');
  if (normalize && Math.abs(length - 1) > LENGTH_TOLERANCE) {
    throw invalidArgument(
      'vector',
      `has length ${length.toFixed(3)}; divide by it: this space has unit vectors`,
    );
  }
  return Float32Array.from(vector);
}
