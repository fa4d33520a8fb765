import { float16ToNumber, numberToFloat16 } from './float16.ts';
import { OnnxError } from './errors.ts';

/**
 * Element types by the names that ONNX Runtime's JavaScript API uses, with their ONNX codes and arrays. `float16` and
 * `bfloat16` are bit patterns, `int4` and `uint4` two elements to a byte, low half first.
 */
const TYPES = {
  float32: { code: 1, bits: 32, array: Float32Array },
  uint8: { code: 2, bits: 8, array: Uint8Array },
  int8: { code: 3, bits: 8, array: Int8Array },
  uint16: { code: 4, bits: 16, array: Uint16Array },
  int16: { code: 5, bits: 16, array: Int16Array },
  int32: { code: 6, bits: 32, array: Int32Array },
  int64: { code: 7, bits: 64, array: BigInt64Array },
  bool: { code: 9, bits: 8, array: Uint8Array },
  float16: { code: 10, bits: 16, array: Uint16Array },
  float64: { code: 11, bits: 64, array: Float64Array },
  uint32: { code: 12, bits: 32, array: Uint32Array },
  uint64: { code: 13, bits: 64, array: BigUint64Array },
  bfloat16: { code: 16, bits: 16, array: Uint16Array },
  uint4: { code: 21, bits: 4, array: Uint8Array },
  int4: { code: 22, bits: 4, array: Uint8Array },
} as const satisfies Record<string, { code: number; bits: number; array: ArrayType }>;

interface ArrayType {
  readonly name: string;
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBuffer, byteOffset: number, length: number): TensorData;
}

export type ElementType = keyof typeof TYPES;

export type TensorData =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

/** A constant: row-major `data` of shape `dims`. */
export interface Tensor {
  readonly type: ElementType;
  readonly dims: readonly number[];
  readonly data: TensorData;
}

const NAMES = new Map<number, ElementType>(
  (Object.keys(TYPES) as ElementType[]).map((name) => [TYPES[name].code, name]),
);

/** @throws {OnnxError} `FEATURE_UNSUPPORTED` for strings, complex and 8-bit floating point numbers. */
export function elementType(code: number, where: string): ElementType {
  const name = NAMES.get(code);
  if (name === undefined) {
    throw new OnnxError(
      'FEATURE_UNSUPPORTED',
      `${where}: element type ${code} of ONNX is not supported; supported are ${[...NAMES.values()].join(', ')}`,
    );
  }
  return name;
}

export function elementCode(type: ElementType): number {
  return TYPES[type].code;
}

export function elementCount(dims: readonly number[]): number {
  return dims.reduce((product, dim) => product * dim, 1);
}

/** Bytes of a tensor of this type and shape. */
export function byteLength(type: ElementType, dims: readonly number[]): number {
  return Math.ceil((elementCount(dims) * TYPES[type].bits) / 8);
}

/** Little-endian bytes as the type's array: a view where alignment allows it, otherwise a copy. */
export function viewAs(type: ElementType, bytes: Uint8Array): TensorData {
  const array: ArrayType = TYPES[type].array;
  const { buffer, byteOffset, byteLength: length } = bytes;
  const viewable = buffer instanceof ArrayBuffer && byteOffset % array.BYTES_PER_ELEMENT === 0;
  return viewable
    ? new array(buffer, byteOffset, length / array.BYTES_PER_ELEMENT)
    : viewAs(type, new Uint8Array(bytes));
}

/** The type's array filled from numbers. Bit patterns (`float16`, `int4`, ...) are taken as they are. */
export function arrayOf(type: ElementType, values: ArrayLike<number | bigint>): TensorData {
  const out = viewAs(type, new Uint8Array(values.length * TYPES[type].array.BYTES_PER_ELEMENT));
  if (out instanceof BigInt64Array || out instanceof BigUint64Array) {
    for (let i = 0; i < out.length; i++) out[i] = BigInt(values[i]!);
  } else {
    for (let i = 0; i < out.length; i++) out[i] = Number(values[i]);
  }
  return out;
}

/**
 * A tensor, checked.
 * @throws {OnnxError} `REQUEST_INVALID` when `data` does not have the type's array or the shape's length.
 */
export function tensor(type: ElementType, dims: readonly number[], data: TensorData): Tensor {
  const { array } = TYPES[type];
  if (!(data instanceof array)) {
    throw new OnnxError(
      'REQUEST_INVALID',
      `a ${type} tensor takes ${array.name}, not ${data.constructor.name}`,
    );
  }
  if (data.byteLength !== byteLength(type, dims)) {
    throw new OnnxError(
      'REQUEST_INVALID',
      `a ${type} tensor of shape [${dims.join(', ')}] has ${byteLength(type, dims)} bytes, not ${data.byteLength}`,
    );
  }
  return { type, dims, data };
}

/** A float32 tensor from numbers. */
export function float32(dims: readonly number[], values: ArrayLike<number>): Tensor {
  return tensor('float32', dims, values instanceof Float32Array ? values : Float32Array.from(values));
}

/** An int64 tensor from integers: a vector unless `dims` says otherwise. */
export function int64(values: readonly number[], dims: readonly number[] = [values.length]): Tensor {
  return tensor('int64', dims, BigInt64Array.from(values, BigInt));
}

/** A tensor without dimensions, of any unpacked type. */
export function scalar(type: ElementType, value: number): Tensor {
  const bits = type === 'float16' ? numberToFloat16(value) : value;
  return tensor(type, [], arrayOf(type, [bits]));
}

/** Arrays one after the other. */
export function concatenate(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((size, { length }) => size + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Rows of a matrix, one after the other. */
export function rowsOf(matrix: Float32Array, width: number, rows: readonly number[]): Float32Array {
  const picked = new Float32Array(rows.length * width);
  for (const [at, row] of rows.entries())
    picked.set(matrix.subarray(row * width, (row + 1) * width), at * width);
  return picked;
}

/** A matrix [rows, columns], row-major, with rows and columns swapped. */
export function transpose<T extends Float32Array | Int8Array>(matrix: T, rows: number, columns: number): T {
  const out = matrix.slice() as T;
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++)
      out[column * rows + row] = matrix[row * columns + column]!;
  }
  return out;
}

/** The elements as numbers; `float16`, `bfloat16` and packed 4-bit integers are decoded. */
export function toNumbers(source: Tensor): Float64Array | Float32Array {
  const { type, data } = source;
  if (data instanceof Float32Array || data instanceof Float64Array) return data;
  const count = elementCount(source.dims);
  const out = new Float64Array(count);
  const decode = DECODERS[type];
  for (let i = 0; i < count; i++) out[i] = decode === undefined ? Number(data[i]) : decode(data, i);
  return out;
}

const BFLOAT16_BITS = new Uint32Array(1);
const BFLOAT16_VALUE = new Float32Array(BFLOAT16_BITS.buffer);

const DECODERS: Partial<Record<ElementType, (data: TensorData, i: number) => number>> = {
  float16: (data, i) => float16ToNumber(Number(data[i])),
  bfloat16(data, i) {
    BFLOAT16_BITS[0] = Number(data[i]) << 16;
    return BFLOAT16_VALUE[0]!;
  },
  uint4: (data, i) => (Number(data[i >> 1]) >> (4 * (i & 1))) & 15,
  int4: (data, i) => (((Number(data[i >> 1]) >> (4 * (i & 1))) & 15) << 28) >> 28,
};
