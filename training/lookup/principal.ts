import { GraphBuilder } from '../onnx/builder.ts';
import type { Model } from '../onnx/model.ts';
import { runAsIs } from '../onnx/run.ts';
import { float32 } from '../onnx/tensor.ts';
import { seededRandom } from '../random.ts';

/** Rounds of subspace iteration. The rows' variances fall fast: each round brings the directions nearer by their ratio. */
const ROUNDS = 6;

/**
 * The directions along which rows vary most, the mean counted: an orthonormal basis of them, by subspace iteration
 * (Halko et al., 2011: https://arxiv.org/abs/0909.4061). ONNX Runtime multiplies the matrices.
 *
 * @param rows - count × dimensions
 * @param count - how many directions, no more than there are dimensions
 * @returns count × dimensions
 */
export async function principalDirections(
  rows: Float32Array,
  dimensions: number,
  count: number,
  seed: number,
): Promise<Float32Array> {
  const random = seededRandom(seed);
  let basis = Float32Array.from({ length: count * dimensions }, () => random() - 0.5);
  orthonormalize(basis, dimensions);
  const model = stepModel(dimensions);
  const x = float32([rows.length / dimensions, dimensions], rows);
  for (let round = 0; round < ROUNDS; round++) {
    const [found] = await runAsIs(model, [{ x, basis: float32([count, dimensions], basis) }]);
    // Where rows have fewer directions than are asked for, the rest stays as it was drawn.
    const step = found!['y']!.data as Float32Array;
    for (let i = 0; i < basis.length; i++) basis[i] = step[i]! + FLOOR * basis[i]!;
    orthonormalize(basis, dimensions);
  }
  return basis;
}

/** Share of a direction that stays from round to round, so that none becomes zero. */
const FLOOR = 1e-6;

/** Coordinates of rows along some directions. */
export async function ontoDirections(
  rows: Float32Array,
  directions: Float32Array,
  dimensions: number,
): Promise<Float32Array> {
  const g = new GraphBuilder();
  const x = g.input('x', 'float32', ['rows', dimensions]);
  const basis = g.input('basis', 'float32', ['directions', dimensions]);
  g.output('y', g.node('MatMul', [x, g.node('Transpose', [basis])]));
  const feeds = {
    x: float32([rows.length / dimensions, dimensions], rows),
    basis: float32([directions.length / dimensions, dimensions], directions),
  };
  const [found] = await runAsIs(g.build(), [feeds]);
  return found!['y']!.data as Float32Array;
}

/** basis → basis · xᵀ · x. */
function stepModel(dimensions: number): Model {
  const g = new GraphBuilder();
  const x = g.input('x', 'float32', ['rows', dimensions]);
  const basis = g.input('basis', 'float32', ['directions', dimensions]);
  g.output('y', g.node('MatMul', [g.node('MatMul', [basis, g.node('Transpose', [x])]), x]));
  return g.build();
}

/** Gram and Schmidt's, each row twice: once leaves errors that grow with the number of rows. */
function orthonormalize(rows: Float32Array, width: number): void {
  for (let start = 0; start < rows.length; start += width) {
    const row = rows.subarray(start, start + width);
    for (let pass = 0; pass < 2; pass++) {
      for (let other = 0; other < start; other += width) {
        let dot = 0;
        for (let i = 0; i < width; i++) dot += row[i]! * rows[other + i]!;
        for (let i = 0; i < width; i++) row[i]! -= dot * rows[other + i]!;
      }
      let squares = 0;
      for (let i = 0; i < width; i++) squares += row[i]! * row[i]!;
      const scale = 1 / (Math.sqrt(squares) || 1);
      for (let i = 0; i < width; i++) row[i]! *= scale;
    }
  }
}
