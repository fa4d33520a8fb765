import { attribute, constant, float, int } from '../../onnx/model.ts';
import { arrayOf, tensor } from '../../onnx/tensor.ts';
import type { Backward, Gradients } from '../backward.ts';

/**
 * y = x̂ · scale + bias with x̂ = (x − mean) / deviation over the last axes (https://arxiv.org/abs/1607.06450):
 * dx = (dx̂ − mean(dx̂) − x̂ · mean(dx̂ · x̂)) / deviation with dx̂ = dy · scale.
 */
function layerNormalization(b: Backward): (() => string)[] {
  const { g, node, dy } = b;
  const [x, scale] = [b.x(0), b.x(1)];
  const rank = b.dims(x).length;
  const start = b.axis(attribute(node, 'axis', 'int', -1), x);
  const axes = g.ints(Array.from({ length: rank - start }, (_, i) => start + i));
  const axis = int(start - rank);
  // One node computes x̂ and 1 / deviation for all three gradients.
  let pass: { normalized: string; inverse: string } | undefined;
  const forward = (): { normalized: string; inverse: string } => {
    if (pass === undefined) {
      const ones = g.node('ConstantOfShape', [b.shape(scale)], {
        value: constant(tensor(b.type, [1], arrayOf(b.type, [1]))),
      });
      const [normalized, , inverse] = g.nodes('LayerNormalization', [x, ones], 3, {
        axis,
        epsilon: float(attribute(node, 'epsilon', 'float', 1e-5)),
      });
      pass = { normalized: normalized!, inverse: inverse! };
    }
    return pass;
  };
  const mean = (value: string): string => g.node('ReduceMean', [value, axes]);
  return [
    () => {
      const { normalized, inverse } = forward();
      const inner = b.mul(dy, scale);
      const along = b.mul(normalized, mean(b.mul(inner, normalized)));
      return b.mul(g.node('Sub', [g.node('Sub', [inner, mean(inner)]), along]), inverse);
    },
    () => b.sumTo(b.mul(dy, forward().normalized), 1),
    () => b.sumTo(dy, 2),
  ];
}

/** x / ‖x‖ along an axis: dx = (dy − y · Σ dy·y) / ‖x‖. */
function lpNormalization(b: Backward): (() => string)[] {
  const { g, dy, y } = b;
  if (attribute(b.node, 'p', 'int', 2) !== 2) throw b.refuse('unless attribute "p" is 2');
  const axes = g.ints([attribute(b.node, 'axis', 'int', -1)]);
  return [
    () => {
      const along = b.mul(y, g.node('ReduceSum', [b.mul(dy, y), axes]));
      return g.node('Div', [g.node('Sub', [dy, along]), g.node('ReduceL2', [b.x(0), axes])]);
    },
  ];
}

export const NORMALIZATION: Gradients = {
  LayerNormalization: layerNormalization,
  LpNormalization: lpNormalization,
};
