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
