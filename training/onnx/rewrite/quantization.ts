import { attribute, int, type Node } from '../model.ts';
import { elementCount, tensor, toNumbers, type Tensor } from '../tensor.ts';
import { constantInput, refuse, single, type Rewrites } from './rewriting.ts';

/** Reads `bits`-wide unsigned integers that are packed into bytes, lowest bits first. */
function unpack(bytes: ArrayLike<number | bigint>, bits: number, at: number): number {
  const perByte = 8 / bits;
  const byte = Number(bytes[Math.floor(at / perByte)]);
  return (byte >> ((at % perByte) * bits)) & (2 ** bits - 1);
}

/**
 * The weight [K, N] behind a MatMulNBits node. Each column is stored on its own, in blocks of `block_size` rows that
 * share a scale and a zero point; the zero point is the middle of the range unless it is given.
 * https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.MatMulNBits
 */
function dequantizeColumns(
  node: Node,
  quantized: Tensor,
  scales: Tensor,
  zeroPoints: Tensor | undefined,
): Tensor {
  const required = (name: string): number => {
    const found = attribute(node, name, 'int', undefined);
    if (found === undefined) throw refuse(node, `attribute "${name}" is missing`);
    return found;
  };
  const rows = required('K');
  const columns = required('N');
  const blockSize = required('block_size');
  const bits = attribute(node, 'bits', 'int', 4);
  if (![2, 4, 8].includes(bits)) throw refuse(node, `${bits} bits are not supported; 2, 4 and 8 are`);
  const blocks = Math.ceil(rows / blockSize);
  const scale = toNumbers(scales);
  const zeroPoint = zeroPointReader(zeroPoints, bits, blocks);
  const out = new Float32Array(rows * columns);
  for (let column = 0; column < columns; column++) {
    for (let row = 0; row < rows; row++) {
      const block = Math.floor(row / blockSize);
      const value = unpack(quantized.data, bits, column * blocks * blockSize + row);
      out[row * columns + column] = (value - zeroPoint(column, block)) * scale[column * blocks + block]!;
    }
  }
  return tensor('float32', [rows, columns], out);
}

/** Zero points are packed like the weights, each column's starting at a byte, or given as numbers. */
function zeroPointReader(
  zeroPoints: Tensor | undefined,
  bits: number,
  blocks: number,
): (column: number, block: number) => number {
  if (zeroPoints === undefined) return () => 2 ** (bits - 1);
  if (zeroPoints.type !== 'uint8') {
    const numbers = toNumbers(zeroPoints);
    return (column, block) => numbers[column * blocks + block]!;
  }
  const stride = Math.ceil((blocks * bits) / 8) * (8 / bits);
  return (column, block) => unpack(zeroPoints.data, bits, column * stride + block);
}

/** The table behind a GatherBlockQuantized node: blocks along the last axis, scales and zero points likewise. */
function dequantizeRows(
  node: Node,
  quantized: Tensor,
  scales: Tensor,
  zeroPoints: Tensor | undefined,
): Tensor {
  const packed = quantized.type === 'uint8';
  const bits = packed ? attribute(node, 'bits', 'int', 4) : 4;
  const stored = quantized.dims;
  const dims = packed ? [...stored.slice(0, -1), (stored.at(-1)! * 8) / bits] : stored;
  const axis = attribute(node, 'quantize_axis', 'int', 1);
  if (axis !== dims.length - 1 && axis !== -1) throw refuse(node, 'only the last axis can be quantized');
  const width = dims.at(-1)!;
  const blockSize = attribute(node, 'block_size', 'int', 128);
  const blocks = Math.ceil(width / blockSize);
  const scale = toNumbers(scales);
  const signed = quantized.type === 'int4' ? toNumbers(quantized) : undefined;
  const signedZero = signed !== undefined && zeroPoints !== undefined ? toNumbers(zeroPoints) : undefined;
  const unsignedZero = zeroPointReader(zeroPoints, bits, blocks);
  const out = new Float32Array(elementCount(dims));
  for (let i = 0; i < out.length; i++) {
    const row = Math.floor(i / width);
    const block = row * blocks + Math.floor((i % width) / blockSize);
    const value =
      signed === undefined
        ? unpack(quantized.data, bits, i) - unsignedZero(row, block - row * blocks)
        : signed[i]! - (signedZero?.[block] ?? 0);
    out[i] = value * scale[block]!;
  }
  return tensor('float32', dims, out);
}

/** Quantised weights become float32 ones, which can be trained. */
export const QUANTIZED: Rewrites = {
  'com.microsoft:MatMulNBits': single((r) => {
    const { g, node, input, traced } = r;
    if (input(4) !== '') throw refuse(node, 'reordered rows (g_idx) are not supported');
    const zeroPoints = traced(3) && constantInput(r, 3);
    const weight = dequantizeColumns(node, constantInput(r, 1), constantInput(r, 2), zeroPoints);
    const product = g.node('MatMul', [input(0), g.initializer(g.fresh(`${input(1)}_dequantized`), weight)]);
    return input(5) === '' ? product : g.node('Add', [product, input(5)]);
  }),

  'com.microsoft:GatherBlockQuantized': single((r) => {
    const { g, node, input, traced } = r;
    const zeroPoints = traced(3) && constantInput(r, 3);
    const table = dequantizeRows(node, constantInput(r, 0), constantInput(r, 2), zeroPoints);
    const axis = attribute(node, 'gather_axis', 'int', 0);
    return g.node('Gather', [g.initializer(g.fresh(`${input(0)}_dequantized`), table), input(1)], {
      axis: int(axis),
    });
  }),

  DequantizeLinear({ g, node, input, result }) {
    // Activations that are quantised at run time are left to ONNX Runtime.
    if (result.constant === undefined) return undefined;
    return [g.initializer(g.fresh(`${input(0) || node.name}_dequantized`), result.constant)];
  },
};
