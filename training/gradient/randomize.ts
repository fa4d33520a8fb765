import type { Model } from '../onnx/model.ts';
import { withParameters } from '../onnx/parameters.ts';
import { float32, type Tensor } from '../onnx/tensor.ts';
import { normal, seededRandom } from '../random.ts';

/** Standard deviation of matrices and tables before training, as BERT has it (https://arxiv.org/abs/1810.04805). */
const SPREAD = 0.02;

/**
 * The model with random numbers for some of its initialisers: an encoder of the same shape that has learned nothing.
 * Matrices and tables are normal, gains of norms are 1 and biases 0.
 *
 * @param weights - names of float32 initialisers
 */
export function randomized(model: Model, weights: readonly string[], seed: number): Model {
  const random = seededRandom(seed);
  const gains = gainsOf(model);
  const values = weights.map((name): [string, Tensor] => {
    const { dims, data } = model.graph.initializers.get(name)!;
    const flat = dims.filter((size) => size > 1).length < 2;
    const fresh = flat
      ? new Float32Array(data.length).fill(gains.has(name) ? 1 : 0)
      : Float32Array.from({ length: data.length }, () => SPREAD * normal(random));
    return [name, float32(dims, fresh)];
  });
  return withParameters(model, new Map(values));
}

/** Initialisers that something is multiplied by, or that a norm has as its scale. */
function gainsOf({ graph }: Model): Set<string> {
  const gains = new Set<string>();
  for (const { op, inputs } of graph.nodes) {
    if (op === 'Mul') for (const name of inputs) gains.add(name);
    if (op.endsWith('Normalization') && inputs[1] !== undefined) gains.add(inputs[1]);
  }
  return gains;
}
