import type { GraphBuilder } from './builder.ts';
import { int, type Model, type Node } from './model.ts';
import { rewriteNodes } from './rewrite/nodes.ts';
import { elementCode, float32, tensor, transpose, type Tensor } from './tensor.ts';

/** The largest value of eight bits with a sign, without the one more that is below zero. */
const INT8_MAX = 127;

/** Smaller weights are not quantised: they are norms and biases, and cost little. */
const MIN_QUANTIZED = 1024;

/** Rows of eight bits, with a scale for each. */
export interface QuantizedRows {
  /** rows × width */
  values: Int8Array;
  /** Factor of each row's values. */
  scales: Float32Array;
}

/** Scales each row so that its largest component is 127, and rounds. */
export function quantizeRows(rows: Float32Array, width: number): QuantizedRows {
  const values = new Int8Array(rows.length);
  const scales = new Float32Array(rows.length / width);
  for (let row = 0; row < scales.length; row++) {
    let largest = 0;
    for (let i = row * width; i < (row + 1) * width; i++) largest = Math.max(largest, Math.abs(rows[i]!));
    scales[row] = largest / INT8_MAX;
    if (largest === 0) continue;
    for (let i = row * width; i < (row + 1) * width; i++) {
      values[i] = Math.round((rows[i]! / largest) * INT8_MAX);
    }
  }
  return { values, scales };
}

/**
 * The same encoder with its large weights in eight bits: matrices with a scale for each column, multiplied with inputs
 * that are quantised as they come (https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html, dynamic
 * quantisation); embedding tables with a scale for each row.
 *
 * @param model - in plain operators
 * @param exact - matrices whose inputs stay as they are, so that a row does not depend on the others of its batch, and
 *   whoever multiplies likewise gets the same
 */
export function quantizeWeights(model: Model, exact: readonly string[] = []): Model {
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
    const byColumn = quantizeRows(transpose(weight.data as Float32Array, rows, columns), rows);
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
  const gather = (g: GraphBuilder, name: string, table: Tensor, ids: string): string => {
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
