import { unary, type Backward, type Gradients } from '../backward.ts';

/** dy where `keep` holds, 0 elsewhere. */
function masked(b: Backward, keep: string, dy: string): string {
  return b.g.node('Where', [keep, dy, b.scalar(0)]);
}

/** A broadcast maximum or minimum: each operand that equals the result takes the whole gradient. */
function extreme(b: Backward): (() => string)[] {
  return b.node.inputs.map((x, i) => () => b.sumTo(masked(b, b.g.node('Equal', [x, b.y]), b.dy), i));
}

function power(b: Backward): (() => string)[] {
  const { g, dy, y } = b;
  const [x, p] = [b.x(0), b.x(1)];
  const exponent = b.constant(1);
  const base = (): string => {
    const known = exponent?.length === 1 ? exponent[0]! : undefined;
    if (known === 2) return b.mul(b.mul(dy, b.scalar(2)), x);
    if (known === 0.5) return g.node('Div', [b.mul(dy, b.scalar(0.5)), y]);
    const scale = known === undefined ? b.cast(p, b.type) : b.scalar(known);
    const reduced = known === undefined ? g.node('Sub', [scale, b.scalar(1)]) : b.scalar(known - 1);
    return b.mul(b.mul(dy, scale), g.node('Pow', [x, reduced]));
  };
  return [() => b.sumTo(base(), 0), () => b.sumTo(b.mul(b.mul(dy, y), g.node('Log', [x])), 1)];
}

/** Arithmetic, element by element with broadcasting. */
export const ELEMENTWISE: Gradients = {
  Add: (b) => [() => b.sumTo(b.dy, 0), () => b.sumTo(b.dy, 1)],
  Sub: (b) => [() => b.sumTo(b.dy, 0), () => b.g.node('Neg', [b.sumTo(b.dy, 1)])],
  Mul: (b) => [() => b.sumTo(b.mul(b.dy, b.x(1)), 0), () => b.sumTo(b.mul(b.dy, b.x(0)), 1)],

  Div(b) {
    const quotient = (): string => b.g.node('Div', [b.dy, b.x(1)]);
    return [() => b.sumTo(quotient(), 0), () => b.g.node('Neg', [b.sumTo(b.mul(quotient(), b.y), 1)])];
  },

  Sum: (b) => b.node.inputs.map((_, i) => () => b.sumTo(b.dy, i)),
  Max: extreme,
  Min: extreme,
  Pow: power,

  Where: (b) => [
    undefined,
    () => b.sumTo(masked(b, b.x(0), b.dy), 1),
    () => b.sumTo(b.g.node('Where', [b.x(0), b.scalar(0), b.dy]), 2),
  ],

  Clip(b) {
    const bounds = [
      ['GreaterOrEqual', b.x(1)],
      ['LessOrEqual', b.x(2)],
    ] as const;
    const within = bounds.flatMap(([op, bound]) => (bound === '' ? [] : [b.g.node(op, [b.x(0), bound])]));
    const dx = (): string => {
      if (within.length === 0) return b.dy;
      return masked(b, within.length === 1 ? within[0]! : b.g.node('And', within), b.dy);
    };
    return [dx];
  },

  Identity: unary((_b, _x, _y, dy) => dy),
  Cast: unary((b, x, _y, dy) => b.cast(dy, b.typeOf(x))),
  Neg: unary((b, _x, _y, dy) => b.g.node('Neg', [dy])),
  Abs: unary((b, x, _y, dy) => b.mul(dy, b.g.node('Sign', [x]))),
  Exp: unary((b, _x, y, dy) => b.mul(dy, y)),
  Log: unary((b, x, _y, dy) => b.g.node('Div', [dy, x])),
  Sqrt: unary((b, _x, y, dy) => b.g.node('Div', [b.mul(dy, b.scalar(0.5)), y])),
  Reciprocal: unary((b, _x, y, dy) => b.g.node('Neg', [b.mul(dy, b.mul(y, y))])),
  Sin: unary((b, x, _y, dy) => b.mul(dy, b.g.node('Cos', [x]))),
  Cos: unary((b, x, _y, dy) => b.g.node('Neg', [b.mul(dy, b.g.node('Sin', [x]))])),
  Relu: unary((b, _x, y, dy) => masked(b, b.g.node('Greater', [y, b.scalar(0)]), dy)),
};
