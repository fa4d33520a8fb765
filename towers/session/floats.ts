/**
 * Half-precision numbers (IEEE 754 binary16) as single-precision ones.
 *
 * @param halves as bits
 */
export function fromHalves(halves: Uint16Array): Float32Array<ArrayBuffer> {
  const values = (table ??= tableOfHalves());
  return Float32Array.from(halves, (bits) => values[bits]!);
}

/** `bfloat16` numbers, as bits: single-precision ones without their lower half. */
export function fromBrains(brains: Uint16Array): Float32Array<ArrayBuffer> {
  return new Float32Array(Uint32Array.from(brains, (bits) => bits << 16).buffer);
}

let table: Float32Array | undefined;

/** What each of the 65 536 half-precision numbers is. */
function tableOfHalves(): Float32Array {
  return Float32Array.from({ length: 1 << 16 }, (_, bits) => halfOf(bits));
}

function halfOf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
