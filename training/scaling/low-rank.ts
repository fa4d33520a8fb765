import type { Model } from '../onnx/model.ts';
import { rewriteNodes } from '../onnx/rewrite/nodes.ts';
import { float32, transpose, type Tensor } from '../onnx/tensor.ts';
import { seededRandom } from '../random.ts';

/** Rounds of subspace iteration: more change the error of the best approximation by less than a hundredth. */
const ROUNDS = 2;

/**
 * A narrower encoder out of a wide one: each product with a matrix [in, out] becomes two products through `width` numbers,
 * by the matrix's best approximation of that rank (Halko et al., 2009: https://arxiv.org/abs/0909.4061). Its weights
 * and operations go down alike, its inputs and outputs stay as they are. A matrix that would not get smaller stays.
 *
 * @param model - in plain operators
 * @param weights - initialisers to look at: those that are no right side of a product stay
 */
export function factorizeProducts(model: Model, weights: readonly string[], width: number): Model {
  const candidates = new Set(weights);
  const names = new Map<string, [left: string, right: string]>();
  return rewriteNodes(model, (g, node, input) => {
    const [, weight = ''] = node.inputs;
    const value = candidates.has(weight) ? model.graph.initializers.get(weight) : undefined;
    if (node.op !== 'MatMul' || value === undefined || !isWorth(value, width)) return undefined;
    let pair = names.get(weight);
    if (pair === undefined) {
      const { left, right } = factorize(value, width);
      pair = [g.initializer(`${weight}.left`, left), g.initializer(`${weight}.right`, right)];
      names.set(weight, pair);
    }
    return [g.node('MatMul', [g.node('MatMul', [input(0), pair[0]]), pair[1]])];
  });
}

function isWorth({ dims }: Tensor, width: number): boolean {
  const [rows = 0, columns = 0] = dims;
  return dims.length === 2 && width * (rows + columns) < rows * columns;
}

/** Two matrices whose product is nearest to a matrix, of equal length. */
export function factorize({ dims, data }: Tensor, rank: number): { left: Tensor; right: Tensor } {
  const [rows, columns] = dims as [number, number];
  const matrix = data as Float32Array;
  const transposed = transpose(matrix, rows, columns);
  const random = seededRandom(rank);
  let basis: Float32Array = new Float32Array(columns * rank).map(() => random() * 2 - 1);
  let left = orthonormal(multiply(matrix, basis, rows, columns, rank), rows, rank);
  for (let round = 0; round < ROUNDS; round++) {
    basis = orthonormal(multiply(transposed, left, columns, rows, rank), columns, rank);
    left = orthonormal(multiply(matrix, basis, rows, columns, rank), rows, rank);
  }
  const right = transpose(multiply(transposed, left, columns, rows, rank), columns, rank);
  // An optimiser that moves every number by as much wants numbers of a size.
  const scale = Math.sqrt(norm(right) / norm(left)) || 1;
  return {
    left: float32(
      [rows, rank],
      left.map((x) => x * scale),
    ),
    right: float32(
      [rank, columns],
      right.map((x) => x / scale),
    ),
  };
}

/** [rows, inner] · [inner, columns], row-major. */
function multiply(
  a: Float32Array,
  b: Float32Array,
  rows: number,
  inner: number,
  columns: number,
): Float32Array {
  const out = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    const target = out.subarray(row * columns, (row + 1) * columns);
    for (let i = 0; i < inner; i++) {
      const factor = a[row * inner + i]!;
      const source = i * columns;
      for (let column = 0; column < columns; column++) target[column]! += factor * b[source + column]!;
    }
  }
  return out;
}

/** Columns made orthogonal and of unit length, one after the other (modified Gram and Schmidt). */
function orthonormal(matrix: Float32Array, rows: number, columns: number): Float32Array {
  const byColumn = transpose(matrix, rows, columns);
  const column = (index: number): Float32Array => byColumn.subarray(index * rows, (index + 1) * rows);
  for (let index = 0; index < columns; index++) {
    const vector = column(index);
    for (let before = 0; before < index; before++) {
      const other = column(before);
      let product = 0;
      for (let i = 0; i < rows; i++) product += vector[i]! * other[i]!;
      for (let i = 0; i < rows; i++) vector[i]! -= product * other[i]!;
    }
    const length = norm(vector) || 1;
    for (let i = 0; i < rows; i++) vector[i]! /= length;
  }
  return transpose(byColumn, columns, rows);
}

function norm(values: Float32Array): number {
  let sum = 0;
  for (const value of values) sum += value * value;
  return Math.sqrt(sum);
}
