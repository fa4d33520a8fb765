import type { SparseVector } from '../store.ts';

/** Seven decimals: of a unit vector that is as much as float32 holds of its larger components. */
const DECIMALS = 1e7;

/**
 * A vector as JSON, scaled and rounded to seven decimals: less than half as long as in full, and four times as fast
 * to write. A score of two unit vectors moves by less than 1e-6.
 *
 * @param factor what makes it a unit vector
 */
export function vectorJson(vector: Float32Array, factor: number): string {
  let json = '[';
  for (let index = 0; index < vector.length; index++) {
    if (index > 0) json += ',';
    json += Math.round(vector[index]! * factor * DECIMALS) / DECIMALS;
  }
  return `${json}]`;
}

/** A sparse vector as JSON. */
export function sparseJson({ indices, values }: SparseVector): string {
  return `{"indices":${JSON.stringify(indices)},"values":${JSON.stringify(values.map(Math.fround))}}`;
}
