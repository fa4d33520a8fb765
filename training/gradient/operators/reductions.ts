import { attribute, int } from '../../onnx/model.ts';
import type { Backward, Gradient, Gradients } from '../backward.ts';

interface Reduction {
  readonly b: Backward;
  readonly axes: readonly number[];
  /** Gives an output, or its gradient, the reduced axes back with size 1: it then broadcasts against the input. */
  readonly kept: (value: string) => string;
}

/** The gradient of a reduction. `dx` may return a value that broadcasts to the shape of the input. */
function reduction(dx: (r: Reduction, x: string, y: string, dy: string) => string): Gradient {
  return (b) => [
    () => {
      const x = b.x(0);
      const rank = b.dims(x).length;
      const listed = b.constant(1);
      if (b.x(1) !== '' && listed === undefined) throw b.refuse('for axes that are known at run time only');
      const none = listed === undefined || listed.length === 0;
      const all = attribute(b.node, 'noop_with_empty_axes', 'int', 0) === 0 ? rank : 0;
      const axes = none ? Array.from({ length: all }, (_, i) => i) : listed.map((axis) => b.axis(axis, x));
      const keeps = attribute(b.node, 'keepdims', 'int', 1) !== 0 || axes.length === 0;
      const kept = (value: string): string =>
        keeps ? value : b.g.node('Unsqueeze', [value, b.g.ints(axes)]);
      return dx({ b, axes, kept }, x, kept(b.y), kept(b.dy));
    },
  ];
}

function expand({ b }: Reduction, dy: string, x: string): string {
  return b.g.node('Expand', [dy, b.shape(x)]);
}

/** The number of elements that become one: a scalar. */
function count({ b, axes }: Reduction, x: string): string {
  const { g } = b;
  const sizes = axes.map((axis) => b.dims(x)[axis]!);
  if (sizes.every((size) => size >= 0)) return b.scalar(sizes.reduce((product, size) => product * size, 1));
  const picked = g.node('Gather', [g.node('Shape', [x]), g.ints(axes)]);
  return b.cast(g.node('ReduceProd', [picked], { keepdims: int(0) }), b.type);
}

const extreme = reduction(({ b }, x, y, dy) =>
  b.g.node('Where', [b.g.node('Equal', [x, y]), dy, b.scalar(0)]),
);

/** Sums, means, norms and extremes over axes. Of several equal extremes, each takes the whole gradient. */
export const REDUCTION: Gradients = {
  ReduceSum: reduction((r, x, _y, dy) => expand(r, dy, x)),
  ReduceMean: reduction((r, x, _y, dy) => expand(r, r.b.g.node('Div', [dy, count(r, x)]), x)),
  ReduceMax: extreme,
  ReduceMin: extreme,
  ReduceL1: reduction(({ b }, x, _y, dy) => b.mul(b.g.node('Sign', [x]), dy)),
  ReduceL2: reduction(({ b }, x, y, dy) => b.mul(x, b.g.node('Div', [dy, y]))),
  ReduceSumSquare: reduction(({ b }, x, _y, dy) => b.mul(x, b.mul(dy, b.scalar(2)))),
  ReduceLogSumExp: reduction(({ b }, x, y, dy) => b.mul(dy, b.g.node('Exp', [b.g.node('Sub', [x, y])]))),
};
