import type { SparseVector } from '../store.ts';

/** Decimals of a component: of a unit vector that is as much as float32 holds of the larger ones. */
const DECIMALS = 7;

const SCALE = 10 ** DECIMALS;

/** Bytes of one component with its comma: sign, one digit, point, decimals. */
const COMPONENT_BYTES = DECIMALS + 4;

const ZERO = 0x30;
const COMMA = 0x2c;
const MINUS = 0x2d;
const POINT = 0x2e;

let scratch = Buffer.alloc(4096);

/**
 * A vector as JSON, scaled and rounded to seven decimals. Half as long as in full, and a tenth of the work of turning
 * each component into a string: its digits are written one by one. A score of two unit vectors moves by less than 1e-6.
 *
 * @param factor what makes it a unit vector
 */
export function vectorJson(vector: Float32Array, factor: number): string {
  const room = COMPONENT_BYTES * vector.length;
  if (scratch.length < room) scratch = Buffer.alloc(room);
  const bytes = scratch;
  let end = 0;
  for (let index = 0; index < vector.length; index++) {
    if (index > 0) bytes[end++] = COMMA;
    let rest = Math.round(vector[index]! * factor * SCALE);
    if (rest < 0) {
      bytes[end++] = MINUS;
      rest = -rest;
    }
    const whole = rest >= SCALE ? 1 : 0;
    rest -= whole * SCALE;
    bytes[end] = ZERO + whole;
    bytes[end + 1] = POINT;
    end += 2;
    for (let digit = end + DECIMALS - 1; digit >= end; digit--) {
      const tenth = (rest / 10) | 0;
      bytes[digit] = ZERO + rest - 10 * tenth;
      rest = tenth;
    }
    end += DECIMALS;
  }
  return `[${bytes.toString('latin1', 0, end)}]`;
}

/** A sparse vector as JSON. */
export function sparseJson({ indices, values }: SparseVector): string {
  return `{"indices":${JSON.stringify(indices)},"values":${JSON.stringify(values.map(Math.fround))}}`;
}
