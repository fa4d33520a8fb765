import type { GraphBuilder } from '../builder.ts';
import { attribute, float, int, type Node } from '../model.ts';
import type { ElementType } from '../tensor.ts';
import { single, type Rewrites, type Rewriting } from './rewriting.ts';

function layerNormalization(g: GraphBuilder, node: Node, x: string, scale: string, bias: string): string {
  return g.node('LayerNormalization', bias === '' ? [x, scale] : [x, scale, bias], {
    axis: int(-1),
    epsilon: float(attribute(node, 'epsilon', 'float', 1e-12)),
  });
}

/** x / √(mean(x²) + ε) · scale over the last axes, from `axis` (negative) on. */
function rootMeanSquare(
  g: GraphBuilder,
  x: string,
  scale: string,
  options: { type: ElementType; axis: number; epsilon: number },
): string {
  const axes = g.ints(Array.from({ length: -options.axis }, (_, i) => i + options.axis));
  const mean = g.node('ReduceMean', [g.node('Mul', [x, x]), axes]);
  const root = g.node('Sqrt', [g.node('Add', [mean, g.scalar(options.epsilon, options.type)])]);
  return g.node('Mul', [g.node('Div', [x, root]), scale]);
}

const rmsNormalization = single(({ g, node, input, traced }) => {
  const { type, dims } = traced(0)!;
  const axis = attribute(node, 'axis', 'int', -1);
  return rootMeanSquare(g, input(0), input(1), {
    type,
    axis: axis < 0 ? axis : axis - dims.length,
    epsilon: attribute(node, 'epsilon', 'float', 1e-5),
  });
});

/** input + skip, plus a bias where there is one. */
function residual({ g, input }: Rewriting, bias: number): string {
  const sum = g.node('Add', [input(0), input(1)]);
  return input(bias) === '' ? sum : g.node('Add', [sum, input(bias)]);
}

/** ONNX Runtime's normalisations, and ONNX's RMSNormalization. */
export const NORMALIZATIONS: Rewrites = {
  SimplifiedLayerNormalization: rmsNormalization,
  RMSNormalization: rmsNormalization,

  'com.microsoft:SkipLayerNormalization'(r) {
    const sum = residual(r, 4);
    return [layerNormalization(r.g, r.node, sum, r.input(2), r.input(3)), '', '', sum];
  },

  'com.microsoft:SkipSimplifiedLayerNormalization'(r) {
    const sum = residual(r, 3);
    const epsilon = attribute(r.node, 'epsilon', 'float', 1e-12);
    const y = rootMeanSquare(r.g, sum, r.input(2), { type: r.result.type, axis: -1, epsilon });
    return [y, '', '', sum];
  },

  'com.microsoft:EmbedLayerNormalization'({ g, node, input }) {
    const ids = input(0);
    let positions = input(8);
    if (positions === '') {
      const length = g.node('Shape', [ids], { start: int(1), end: int(2) });
      const range = g.node('Range', [
        g.scalar(0, 'int64'),
        g.node('Squeeze', [length]),
        g.scalar(1, 'int64'),
      ]);
      positions = g.node('Unsqueeze', [range, g.ints([0])]);
    }
    let sum = g.node('Add', [g.node('Gather', [input(2), ids]), g.node('Gather', [input(3), positions])]);
    if (input(1) !== '') sum = g.node('Add', [sum, g.node('Gather', [input(4), input(1)])]);
    const normalized = layerNormalization(g, node, sum, input(5), input(6));
    if (input(7) === '') return [normalized, '', sum];
    // How many tokens each row has, for an Attention node that masks the rest.
    const mask = g.node('ReduceSum', [input(7), g.ints([1])], { keepdims: int(0) });
    return [normalized, mask, sum];
  },
};
