import { attribute, int, text, type Attributes } from '../../onnx/model.ts';
import type { Backward, Gradients } from '../backward.ts';

/** A matrix product that may transpose its operands: ONNX Runtime's operator does so without a copy. */
function product(
  b: Backward,
  left: string,
  right: string,
  flags: { transA?: boolean; transB?: boolean },
): string {
  const attributes: Attributes = {
    ...(flags.transA && { transA: int(1) }),
    ...(flags.transB && { transB: int(1) }),
  };
  return b.g.node('com.microsoft:FusedMatMul', [left, right], attributes);
}

/** Y = A · B. We refuse vectors: encoders do not multiply any. */
function matMul(b: Backward): (() => string)[] {
  const [a, c] = [b.x(0), b.x(1)];
  const [left, right] = [b.dims(a), b.dims(c)];
  if (left.length < 2 || right.length < 2) throw b.refuse('for a vector operand');
  const [rows, inner, columns] = [left.at(-2)!, left.at(-1)!, right.at(-1)!];
  const batch = b.dims(b.y).slice(0, -2);
  return [
    () => b.sumTo(product(b, b.dy, c, { transB: true }), 0, [...batch, rows, inner]),
    () => {
      if (right.length === 2 && left.length > 2) {
        // One product over all rows, instead of one for each batch and a sum.
        const flat = (name: string, width: number): string =>
          b.g.node('Reshape', [name, b.g.ints([-1, width])]);
        if (inner >= 0 && columns >= 0)
          return product(b, flat(a, inner), flat(b.dy, columns), { transA: true });
      }
      return b.sumTo(product(b, a, b.dy, { transA: true }), 1, [...batch, inner, columns]);
    },
  ];
}

/** Y = α·A′·B′ + β·C, where ′ may transpose. */
function gemm(b: Backward): (() => string)[] {
  const { dy } = b;
  const flag = (name: string): boolean => attribute(b.node, name, 'int', 0) !== 0;
  const [transA, transB] = [flag('transA'), flag('transB')];
  const [a, c] = [b.x(0), b.x(1)];
  const scaled = (name: 'alpha' | 'beta', value: string): string => {
    const factor = attribute(b.node, name, 'float', 1);
    return factor === 1 ? value : b.mul(value, b.scalar(factor));
  };
  return [
    () =>
      scaled(
        'alpha',
        transA ? product(b, c, dy, { transA: transB, transB: true }) : product(b, dy, c, { transB: !transB }),
      ),
    () =>
      scaled(
        'alpha',
        transB ? product(b, dy, a, { transA: true, transB: transA }) : product(b, a, dy, { transA: !transA }),
      ),
    () => scaled('beta', b.sumTo(dy, 2)),
  ];
}

/** A sum of products over named axes. The gradient of each operand is such a sum too. */
function einsum(b: Backward): (() => string)[] {
  const equation = attribute(b.node, 'equation', 'string', '').replaceAll(' ', '');
  const [left, result] = equation.split('->');
  const terms = left!.split(',');
  if (result === undefined || equation.includes('.') || terms.length !== b.node.inputs.length) {
    throw b.refuse(`for the equation "${equation}": only those with "->" and without "..." have one`);
  }
  return terms.map((term, i) => () => {
    const others = terms.filter((_, j) => j !== i);
    const known = new Set([...others.join(''), ...result]);
    if (new Set(term).size !== term.length || [...term].some((axis) => !known.has(axis))) {
      throw b.refuse(`for the equation "${equation}": an axis is summed alone or repeated`);
    }
    const operands = b.node.inputs.filter((_, j) => j !== i);
    return b.g.node('Einsum', [b.dy, ...operands], {
      equation: text(`${[result, ...others].join(',')}->${term}`),
    });
  });
}

/** Products of matrices. */
export const MATRIX: Gradients = {
  MatMul: matMul,
  Gemm: gemm,
  Einsum: einsum,
};
