const BITS = new Uint32Array(1);
const VALUE = new Float32Array(BITS.buffer);

/** The number behind an IEEE 754 binary16 bit pattern. */
export function float16ToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** The IEEE 754 binary16 bit pattern nearest to a number, ties to even. */
export function numberToFloat16(value: number): number {
  VALUE[0] = value;
  const bits = BITS[0]!;
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = Math.abs(VALUE[0]);
  if (Number.isNaN(value)) return sign | 0x7e00;
  // Halfway between the largest finite number, 65504, and the next power of two.
  if (magnitude >= 65520) return sign | 0x7c00;
  // Below the smallest normal number the steps are all alike.
  if (magnitude < 2 ** -14) return sign | roundToEven(magnitude * 2 ** 24);
  const exponent = ((bits >>> 23) & 255) - 127;
  // A fraction that rounds up to 1024 carries into the exponent, as it should.
  return sign | (((exponent + 15) << 10) + roundToEven((magnitude / 2 ** exponent - 1) * 1024));
}

function roundToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest < 0.5 || (rest === 0.5 && floor % 2 === 0)) return floor;
  return floor + 1;
}
