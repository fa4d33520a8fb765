import { getFloat16, setFloat16 } from '@petamoriken/float16';

const VIEW = new DataView(new ArrayBuffer(2));

/** The number behind an IEEE 754 binary16 bit pattern. */
export function float16ToNumber(bits: number): number {
  VIEW.setUint16(0, bits);
  return getFloat16(VIEW, 0);
}

/** The IEEE 754 binary16 bit pattern nearest to a number, ties to even. */
export function numberToFloat16(value: number): number {
  setFloat16(VIEW, 0, value);
  return VIEW.getUint16(0);
}

/**
 * Many numbers as the nearest half-precision ones, ties to even: a model has millions. What is beyond their range becomes
 * infinite.
 *
 * @returns bit patterns
 */
export function toHalves(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const halves = new Uint16Array(values.length);
  for (let index = 0; index < bits.length; index++) {
    const sign = (bits[index]! >>> 16) & 0x8000;
    const size = bits[index]! & 0x7fff_ffff;
    halves[index] = sign | (size < SMALLEST_NORMAL ? subnormal(values[index]!) : normal(size));
  }
  return halves;
}

/** Single-precision bits of 2^-14, of 2^16, and of infinity. */
const SMALLEST_NORMAL = 0x3880_0000;
const BEYOND = 0x4780_0000;
const INFINITE = 0x7f80_0000;

function subnormal(value: number): number {
  const steps = Math.abs(value) * 2 ** 24;
  const below = Math.floor(steps);
  const rest = steps - below;
  return below + (rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? 1 : 0);
}

/** @param size single-precision bits without the sign */
function normal(size: number): number {
  if (size > INFINITE) return 0x7e00;
  if (size >= BEYOND) return 0x7c00;
  const rounded = size + 0x0fff + ((size >>> 13) & 1);
  return (rounded - 0x3800_0000) >>> 13;
}
