import { attribute, int } from '../../onnx/model.ts';
import { unary, type Backward, type Gradients } from '../backward.ts';

/** 1 − x², which is the derivative of tanh by its own value. */
function oneMinusSquare(b: Backward, x: string): string {
  return b.g.node('Sub', [b.scalar(1), b.mul(x, x)]);
}

/** x·Φ(x) has the derivative Φ(x) + x·φ(x), here ½ · (1 + erf(x/√2) + x·exp(−x²/2)·√(2/π)). */
function exactGelu(b: Backward, x: string, dy: string): string {
  const { g } = b;
  const density = g.node('Exp', [b.mul(b.mul(x, x), b.scalar(-0.5))]);
  const slope = b.mul(b.mul(x, density), b.scalar(Math.sqrt(2 / Math.PI)));
  const erf = g.node('Erf', [b.mul(x, b.scalar(Math.SQRT1_2))]);
  const twice = g.node('Add', [g.node('Add', [erf, slope]), b.scalar(1)]);
  return b.mul(b.mul(dy, twice), b.scalar(0.5));
}

/** ½x·(1 + t) with t = tanh(u), u = √(2/π)·(x + 0.044715·x³), has the derivative ½ · (1 + t + x·(1 − t²)·u′). */
function tanhGelu(b: Backward, x: string, dy: string): string {
  const { g } = b;
  const k = Math.sqrt(2 / Math.PI);
  const square = b.mul(x, x);
  const polynomial = (constant: number, quadratic: number): string =>
    g.node('Add', [b.mul(square, b.scalar(quadratic)), b.scalar(constant)]);
  const t = g.node('Tanh', [b.mul(x, polynomial(k, k * 0.044715))]);
  const slope = b.mul(b.mul(x, oneMinusSquare(b, t)), polynomial(k, 3 * k * 0.044715));
  const twice = g.node('Add', [g.node('Add', [t, slope]), b.scalar(1)]);
  return b.mul(b.mul(dy, twice), b.scalar(0.5));
}

function sumOverAxis(b: Backward, value: string): string {
  return b.g.node('ReduceSum', [value, b.g.ints([attribute(b.node, 'axis', 'int', -1)])], {
    keepdims: int(1),
  });
}

/** Activations and softmax. */
export const ACTIVATION: Gradients = {
  Tanh: unary((b, _x, y, dy) => b.mul(dy, oneMinusSquare(b, y))),
  Sigmoid: unary((b, _x, y, dy) => b.mul(dy, b.mul(y, b.g.node('Sub', [b.scalar(1), y])))),
  Softplus: unary((b, x, _y, dy) => b.mul(dy, b.g.node('Sigmoid', [x]))),

  Erf: unary((b, x, _y, dy) => {
    const density = b.g.node('Exp', [b.g.node('Neg', [b.mul(x, x)])]);
    return b.mul(b.mul(dy, density), b.scalar(2 / Math.sqrt(Math.PI)));
  }),

  Gelu: unary((b, x, _y, dy) =>
    attribute(b.node, 'approximate', 'string', 'none') === 'tanh' ? tanhGelu(b, x, dy) : exactGelu(b, x, dy),
  ),

  Softmax: unary((b, _x, y, dy) => {
    const mean = sumOverAxis(b, b.mul(dy, y));
    return b.mul(b.g.node('Sub', [dy, mean]), y);
  }),

  LogSoftmax: unary((b, _x, y, dy) => b.g.node('Sub', [dy, b.mul(b.g.node('Exp', [y]), sumOverAxis(b, dy))])),
};
