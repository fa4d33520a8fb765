import type { GraphBuilder } from './builder.ts';
import { OnnxError } from './errors.ts';
import { toHalves } from './float16.ts';
import { attribute, int, type Model } from './model.ts';
import { rewriteNodes } from './rewrite/nodes.ts';
import { elementCode, tensor, type Tensor } from './tensor.ts';

/** The largest number of half precision. */
const FLOAT16_MAX = 65_504;

/**
 * The same encoder with its matrices and embedding tables in half precision (IEEE 754 binary16), and products of matrices
 * computed in it: a GPU does that several times as fast, and a CPU in single precision. Norms, softmax and everything
 * between stay in single precision.
 *
 * @param model - in plain operators
 * @throws {OnnxError} `FEATURE_UNSUPPORTED` for a weight that half precision can't hold
 */
export function halveWeights(model: Model): Model {
  const { initializers } = model.graph;
  const halves = new Map<string, string>();
  const toFloat = { to: int(elementCode('float32')) };
  const toHalf = { to: int(elementCode('float16')) };
  const half = (g: GraphBuilder, name: string, weight: Tensor): string => {
    const known = halves.get(name);
    if (known !== undefined) return known;
    const values = weight.data as Float32Array;
    const beyond = values.find((value) => !(Math.abs(value) <= FLOAT16_MAX));
    if (beyond !== undefined) {
      throw new OnnxError(
        'FEATURE_UNSUPPORTED',
        `weight "${name}" has ${beyond}, and half precision ends at ${FLOAT16_MAX}; choose int8`,
      );
    }
    const bits = toHalves(values);
    const made = g.initializer(g.fresh(`${name}_fp16`), tensor('float16', weight.dims, bits));
    halves.set(name, made);
    return made;
  };
  return rewriteNodes(model, (g, node, input) => {
    const [first = '', second = ''] = node.inputs;
    const [left, right] = [initializers.get(first), initializers.get(second)];
    if (node.op === 'MatMul' && left === undefined && isMatrix(right)) {
      const product = g.node('MatMul', [g.node('Cast', [input(0)], toHalf), half(g, second, right)]);
      return [g.node('Cast', [product], toFloat)];
    }
    if (node.op === 'Gather' && isMatrix(left) && attribute(node, 'axis', 'int', 0) === 0) {
      return [g.node('Cast', [g.node('Gather', [half(g, first, left), input(1)])], toFloat)];
    }
    return undefined;
  });
}

function isMatrix(weight: Tensor | undefined): weight is Tensor {
  return weight?.type === 'float32' && weight.dims.length === 2;
}
