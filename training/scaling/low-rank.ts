import { Matrix, QrDecomposition } from 'ml-matrix';
import type { Model } from '../onnx/model.ts';
import { rewriteNodes } from '../onnx/rewrite/nodes.ts';
import { float32, type Tensor } from '../onnx/tensor.ts';
import { seededRandom } from '../random.ts';

/** Rounds of subspace iteration: more change the error of the best approximation by less than a hundredth. */
const ROUNDS = 2;

/**
 * A narrower encoder out of a wide one: each product with a matrix [in, out] becomes two products through `width` numbers,
 * by the matrix's best approximation of that rank (Halko et al., 2009: https://arxiv.org/abs/0909.4061). Its weights
 * and operations shrink alike; its inputs and outputs stay the same. A matrix that would not get smaller is kept.
 *
 * @param model - in plain operators
 * @param weights - initialisers to factorise; those that are no right side of a product are kept
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
  const matrix = Matrix.from1DArray(rows, columns, data as Float32Array);
  const transposed = matrix.transpose();
  const orthonormal = (basis: Matrix): Matrix => new QrDecomposition(basis).orthogonalMatrix;
  const random = seededRandom(rank);
  const start = Matrix.rand(columns, rank, { random: () => random() * 2 - 1 });
  let left = orthonormal(matrix.mmul(start));
  for (let round = 0; round < ROUNDS; round++) {
    left = orthonormal(matrix.mmul(orthonormal(transposed.mmul(left))));
  }
  const right = left.transpose().mmul(matrix);
  // An optimiser that moves all numbers by as much needs both matrices at one scale.
  const scale = Math.sqrt(right.norm() / left.norm()) || 1;
  return {
    left: float32([rows, rank], left.mul(scale).to1DArray()),
    right: float32([rank, columns], right.div(scale).to1DArray()),
  };
}
