import type { GraphBuilder } from './builder.ts';
import { int, type Model, type Node } from './model.ts';
import { rewriteNodes } from './rewrite/nodes.ts';
import { elementCode, float32, tensor, transpose, type Tensor } from './tensor.ts';

/** The largest value of eight bits with a sign, without the one more that is below zero. */
const INT8_MAX = 127;

/**
 * The largest that two products of a weight and an input of eight bits without a sign (255) fit 16 bits with: processors
 * without VNNI add them there, and cut what does not fit.
 */
export const PORTABLE_INT8_MAX = 63;

/** Smaller weights are not quantised: they are norms and biases, and cost little. */
const MIN_QUANTIZED = 1024;

/** Rows of eight bits, with a scale for each. */
export interface QuantizedRows {
  /** rows × width */
  values: Int8Array;
  /** Factor of each row's values. */
  scales: Float32Array;
}

/** Scales each row so that its largest component is `most`, and rounds. */
export function quantizeRows(rows: Float32Array, width: number, most = INT8_MAX): QuantizedRows {
  const values = new Int8Array(rows.length);
  const scales = new Float32Array(rows.length / width);
  for (let row = 0; row < scales.length; row++) {
    let largest = 0;
    for (let i = row * width; i < (row + 1) * width; i++) largest = Math.max(largest, Math.abs(rows[i]!));
    scales[row] = largest / most;
    if (largest === 0) continue;
    for (let i = row * width; i < (row + 1) * width; i++) {
      values[i] = Math.round((rows[i]! / largest) * most);
    }
  }
  return { values, scales };
}

/** Levels of four bits lie at the odd numbers from −15 to 15, times a scale. */
const INT4_MAX = 15;

/** Scales that are tried for a row, as shares of the one that reaches its largest component: cutting it costs less than coarse steps. */
const INT4_SHARES = Array.from({ length: 12 }, (_, i) => 1 - 0.05 * i);

/**
 * Rows of four bits, two numbers in a byte: the low halves of a row's bytes are its first half. Each row has the scale that
 * its error is least with.
 *
 * @param width - even
 */
export function quantizeRowsTo4(
  rows: Float32Array,
  width: number,
): { packed: Uint8Array; scales: Float32Array } {
  const half = width / 2;
  const packed = new Uint8Array(rows.length / 2);
  const scales = new Float32Array(rows.length / width);
  const level = (x: number): number => Math.max(0, Math.min(15, Math.floor(x / 2 + 8)));
  for (let row = 0; row < scales.length; row++) {
    const start = row * width;
    let largest = 0;
    for (let i = start; i < start + width; i++) largest = Math.max(largest, Math.abs(rows[i]!));
    if (largest === 0) continue;
    let [best, least] = [0, Infinity];
    for (const share of INT4_SHARES) {
      const scale = Math.fround((share * largest) / INT4_MAX);
      let error = 0;
      for (let i = start; i < start + width; i++) {
        const x = rows[i]!;
        const difference = x - scale * (2 * level(x / scale) - 15);
        error += difference * difference;
      }
      if (error < least) [best, least] = [scale, error];
    }
    scales[row] = best;
    for (let i = 0; i < half; i++) {
      const [low, high] = [level(rows[start + i]! / best), level(rows[start + half + i]! / best)];
      packed[row * half + i] = low | (high << 4);
    }
  }
  return { packed, scales };
}

/**
 * The same encoder with its large weights in eight bits: matrices with a scale for each column, multiplied with inputs
 * that are quantised as they come (https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html, dynamic
 * quantisation); embedding tables with a scale for each row.
 *
 * @param model - in plain operators
 * @param exact - matrices whose inputs stay as they are, so that a row does not depend on the others of its batch, and
 *   whoever multiplies likewise gets the same
 * @param tableBits - of embedding tables whose rows have an even length
 * @param most - the largest weight of a matrix whose inputs are quantised, see {@link PORTABLE_INT8_MAX}
 */
export function quantizeWeights(
  model: Model,
  exact: readonly string[] = [],
  tableBits: 4 | 8 = 8,
  most = INT8_MAX,
): Model {
  const { initializers } = model.graph;
  const quantizedInputs = new Map<string, string[]>();
  const tables = new Map<string, [values: string, scales: string]>();
  const toFloat = { to: int(elementCode('float32')) };

  const multiply = (g: GraphBuilder, input: string, name: string, weight: Tensor): string => {
    let parts = quantizedInputs.get(input);
    if (parts === undefined) {
      parts = g.nodes('DynamicQuantizeLinear', [input], 3);
      quantizedInputs.set(input, parts);
    }
    const [values, scale, zero] = parts;
    const [rows, columns] = weight.dims as [number, number];
    const byColumn = quantizeRows(transpose(weight.data as Float32Array, rows, columns), rows, most);
    const matrix = tensor('int8', [rows, columns], transpose(byColumn.values, columns, rows));
    const product = g.node('MatMulInteger', [values!, g.initializer(g.fresh(`${name}_int8`), matrix), zero!]);
    const scales = g.initializer(g.fresh(`${name}_scales`), float32([columns], byColumn.scales));
    return g.node('Mul', [g.node('Cast', [product], toFloat), g.node('Mul', [scale!, scales])]);
  };
  /** A table or matrix with a scale for each row. */
  const inRows = (g: GraphBuilder, name: string, table: Tensor): [values: string, scales: string] => {
    let parts = tables.get(name);
    if (parts === undefined) {
      const [rows, width] = table.dims as [number, number];
      const { values, scales } = quantizeRows(table.data as Float32Array, width);
      parts = [
        g.initializer(g.fresh(`${name}_int8`), tensor('int8', [rows, width], values)),
        g.initializer(g.fresh(`${name}_scales`), float32([rows, 1], scales)),
      ];
      tables.set(name, parts);
    }
    return parts;
  };
  const gatherHalves = (g: GraphBuilder, name: string, table: Tensor, ids: string): string => {
    let parts = tables.get(name);
    if (parts === undefined) {
      const [rows, width] = table.dims as [number, number];
      const { packed, scales } = quantizeRowsTo4(table.data as Float32Array, width);
      parts = [
        g.initializer(g.fresh(`${name}_int4`), tensor('uint8', [rows, width / 2], packed)),
        g.initializer(g.fresh(`${name}_scales`), float32([rows, 1], scales)),
      ];
      tables.set(name, parts);
    }
    const [values, scales] = parts;
    const bytes = g.node('Cast', [g.node('Gather', [values, ids])], toFloat);
    const high = g.node('Floor', [g.node('Mul', [bytes, g.scalar(1 / 16)])]);
    const low = g.node('Sub', [bytes, g.node('Mul', [high, g.scalar(16)])]);
    const levels = g.node('Concat', [low, high], { axis: int(-1) });
    const odd = g.node('Sub', [g.node('Mul', [levels, g.scalar(2)]), g.scalar(15)]);
    return g.node('Mul', [odd, g.node('Gather', [scales, ids])]);
  };
  const gather = (g: GraphBuilder, name: string, table: Tensor, ids: string): string => {
    if (tableBits === 4 && table.dims[1]! % 2 === 0) return gatherHalves(g, name, table, ids);
    const [values, scales] = inRows(g, name, table);
    const rows = g.node('Cast', [g.node('Gather', [values, ids])], toFloat);
    return g.node('Mul', [rows, g.node('Gather', [scales, ids])]);
  };
  const exactly = (g: GraphBuilder, input: string, name: string, matrix: Tensor): string => {
    const [values, scales] = inRows(g, name, matrix);
    return g.node('MatMul', [input, g.node('Mul', [g.node('Cast', [values], toFloat), scales])]);
  };

  return rewriteNodes(model, (g, node, input) => {
    const [first = '', second = ''] = node.inputs;
    const [left, right] = [initializers.get(first), initializers.get(second)];
    if (node.op === 'MatMul' && right !== undefined && isLarge(right) && exact.includes(second))
      return [exactly(g, input(0), second, right)];
    if (node.op === 'MatMul' && right !== undefined && isLarge(right))
      return [multiply(g, input(0), second, right)];
    if (node.op === 'Gather' && left !== undefined && isLarge(left) && picksRows(node))
      return [gather(g, first, left, input(1))];
    return undefined;
  });
}

function isLarge({ type, dims, data }: Tensor): boolean {
  return type === 'float32' && dims.length === 2 && data.length >= MIN_QUANTIZED;
}

function picksRows({ attributes }: Node): boolean {
  return attributes['axis'] === undefined || attributes['axis'].value === 0;
}
