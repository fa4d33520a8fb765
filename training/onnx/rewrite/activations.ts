import { attribute, ints, text } from '../model.ts';
import { refuse, single, type Rewrites, type Rewriting } from './rewriting.ts';

/** The input, plus the bias of an operator that adds one first. */
function biased({ g, input }: Rewriting): string {
  return input(1) === '' ? input(0) : g.node('Add', [input(0), input(1)]);
}

/** ONNX Runtime's activations and matrix products. */
export const ACTIVATIONS: Rewrites = {
  'com.microsoft:Gelu': single(({ g, input }) => g.node('Gelu', [input(0)])),
  'com.microsoft:BiasGelu': single((r) => r.g.node('Gelu', [biased(r)])),
  'com.microsoft:FastGelu': single((r) => r.g.node('Gelu', [biased(r)], { approximate: text('tanh') })),

  'com.microsoft:QuickGelu': single(({ g, node, input, result }) => {
    const alpha = g.scalar(attribute(node, 'alpha', 'float', 1.702), result.type);
    return g.node('Mul', [input(0), g.node('Sigmoid', [g.node('Mul', [input(0), alpha])])]);
  }),

  'com.microsoft:FusedMatMul': single(({ g, node, input, traced, result }) => {
    for (const name of ['transBatchA', 'transBatchB']) {
      if (attribute(node, name, 'int', 0) !== 0) throw refuse(node, `attribute "${name}" is not supported`);
    }
    const operand = (i: number, flag: string): string => {
      if (attribute(node, flag, 'int', 0) === 0) return input(i);
      const perm = traced(i)!.dims.map((_, axis) => axis);
      perm.push(...perm.splice(-2).reverse());
      return g.node('Transpose', [input(i)], { perm: ints(perm) });
    };
    const product = g.node('MatMul', [operand(0, 'transA'), operand(1, 'transB')]);
    const alpha = attribute(node, 'alpha', 'float', 1);
    return alpha === 1 ? product : g.node('Mul', [product, g.scalar(alpha, result.type)]);
  }),
};
