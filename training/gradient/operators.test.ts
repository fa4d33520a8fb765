import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { GraphBuilder } from '../onnx/builder.ts';
import type { OnnxError } from '../onnx/errors.ts';
import { float, int, ints, text, type Attributes, type Model } from '../onnx/model.ts';
import { float32, int64, toNumbers, type Tensor } from '../onnx/tensor.ts';
import { noise } from '../testing/noise.ts';
import { differentiate } from './differentiate.ts';
import { checkGradients, probe } from '../testing/gradients.ts';

/** A tensor of numbers from 0.5 to 1.5, for operators that want positive ones. */
function positive(dims: readonly number[], seed = 1): Tensor {
  return float32(
    dims,
    Float32Array.from(toNumbers(noise(dims, seed)), (x) => 1 + x / 2),
  );
}

/** Checks y = op(...) at every float operand; `undefined` is an absent one, vectors of integers are constants. */
async function check(
  op: string,
  operands: readonly (Tensor | readonly number[] | undefined)[],
  result: readonly number[],
  attributes: Attributes = {},
): Promise<void> {
  const g = new GraphBuilder();
  const weights: string[] = [];
  const names = operands.map((operand, i) => {
    if (operand === undefined) return '';
    if (!('data' in operand)) return g.ints(operand);
    const name = g.initializer(`w${i}`, operand);
    if (operand.type === 'float32') weights.push(name);
    return name;
  });
  probe(g, g.node(op, names, attributes), result);
  await checkGradients(g.build(), 'loss', weights);
}

const a = noise([2, 3, 4], 1);
const b = noise([2, 3, 4], 2);
const row = noise([4], 3);
const column = noise([3, 1], 4);
const one = noise([], 5);
const dims = [2, 3, 4];

describe('the gradient agrees with finite differences:', () => {
  for (const op of ['Add', 'Sub', 'Mul', 'Max', 'Min', 'Sum']) {
    test(`${op} with and without broadcasting`, async () => {
      await check(op, [a, b], dims);
      await check(op, [a, row], dims);
      await check(op, [column, a], dims);
      await check(op, [one, a], dims);
      await check(op, [noise([2, 1, 4], 6), noise([3, 1], 7)], dims);
      await check(op, [noise([1, 4], 6), noise([2, 3, 1], 7)], dims);
    });
  }

  test('Div and Pow', async () => {
    await check('Div', [a, positive(dims)], dims);
    await check('Div', [a, positive([4])], dims);
    await check('Div', [positive([3, 1]), positive(dims)], dims);
    await check('Pow', [positive(dims), row], dims);
    await check('Pow', [positive([3, 1]), a], dims);
  });

  test('Pow with constant exponents', async () => {
    for (const exponent of [2, 3, 0.5, -1.5]) {
      const g = new GraphBuilder();
      const w = g.initializer('w', positive(dims));
      probe(g, g.node('Pow', [w, g.scalar(exponent)]), dims);
      await checkGradients(g.build(), 'loss', ['w']);
    }
  });

  for (const op of [
    'Identity',
    'Neg',
    'Abs',
    'Exp',
    'Sin',
    'Cos',
    'Relu',
    'Tanh',
    'Sigmoid',
    'Erf',
    'Gelu',
    'Softmax',
    'LogSoftmax',
    'LpNormalization',
  ]) {
    test(op, () => check(op, [a], dims));
  }

  for (const op of ['Log', 'Sqrt', 'Reciprocal']) test(op, () => check(op, [positive(dims)], dims));

  test('Gelu by tanh, Softmax along another axis', async () => {
    await check('Gelu', [a], dims, { approximate: text('tanh') });
    await check('Softmax', [a], dims, { axis: int(1) });
    await check('LogSoftmax', [a], dims, { axis: int(0) });
    await check('LpNormalization', [a], dims, { axis: int(1) });
  });

  test('Clip with both bounds, one and none', async () => {
    const [low, high] = [float32([], [-0.4]), float32([], [0.3])];
    const g = new GraphBuilder();
    const w = g.initializer('w', a);
    const bounds = [g.initializer('low', low), g.initializer('high', high)];
    const clipped = [bounds, [bounds[0]!], ['', bounds[1]!], []].map((each) => g.node('Clip', [w, ...each]));
    probe(g, g.node('Concat', clipped, { axis: int(0) }), [8, 3, 4]);
    await checkGradients(g.build(), 'loss', ['w']);
  });

  test('Where with broadcasting', async () => {
    const g = new GraphBuilder();
    const mask = g.node('Greater', [g.initializer('mask', noise([3, 4], 9)), g.scalar(0)]);
    const [x, y] = [g.initializer('x', a), g.initializer('y', row)];
    probe(g, g.node('Where', [mask, x, y]), dims);
    await checkGradients(g.build(), 'loss', ['x', 'y']);
  });

  test('MatMul of matrices, batches and broadcast batches', async () => {
    await check('MatMul', [noise([3, 4], 1), noise([4, 2], 2)], [3, 2]);
    await check('MatMul', [a, noise([4, 5], 2)], [2, 3, 5]);
    await check('MatMul', [noise([5, 3], 2), a], [2, 5, 4]);
    await check('MatMul', [a, noise([2, 4, 5], 2)], [2, 3, 5]);
    await check('MatMul', [noise([2, 2, 3, 4], 1), noise([2, 1, 4, 3], 2)], [2, 2, 3, 3]);
    await check('MatMul', [noise([1, 3, 4], 1), noise([2, 2, 4, 3], 2)], [2, 2, 3, 3]);
  });

  test('Gemm with every combination of transposes', async () => {
    for (const transA of [0, 1]) {
      for (const transB of [0, 1]) {
        const [left, right] = [noise(transA ? [4, 3] : [3, 4], 1), noise(transB ? [2, 4] : [4, 2], 2)];
        const flags = { transA: int(transA), transB: int(transB), alpha: float(0.5), beta: float(2) };
        await check('Gemm', [left, right, noise([2], 3)], [3, 2], flags);
        await check('Gemm', [left, right], [3, 2], flags);
      }
    }
  });

  test('Einsum', () =>
    check('Einsum', [a, noise([2, 5, 4], 2)], [2, 3, 5], { equation: text('bij,bkj->bik') }));

  for (const op of [
    'ReduceSum',
    'ReduceMean',
    'ReduceMax',
    'ReduceMin',
    'ReduceL1',
    'ReduceL2',
    'ReduceSumSquare',
    'ReduceLogSumExp',
  ]) {
    test(`${op} along one axis, two and all`, async () => {
      await check(op, [a, [1]], [2, 1, 4]);
      await check(op, [a, [-1]], [2, 3], { keepdims: int(0) });
      await check(op, [a, [0, 2]], [3], { keepdims: int(0) });
      await check(op, [a], [], { keepdims: int(0) });
      await check(op, [a], dims, { noop_with_empty_axes: int(1) });
    });
  }

  test('LayerNormalization with and without bias, over one axis and two', async () => {
    await check('LayerNormalization', [a, positive([4]), row], dims, { epsilon: float(1e-3) });
    await check('LayerNormalization', [a, positive([4])], dims);
    await check('LayerNormalization', [a, positive([3, 4]), noise([3, 4], 8)], dims, { axis: int(-2) });
  });

  test('Reshape, Flatten, Squeeze, Unsqueeze, Expand', async () => {
    await check('Reshape', [a, [0, 2, -1]], [2, 2, 6]);
    await check('Flatten', [a], [2, 12]);
    await check('Squeeze', [noise([2, 1, 3], 1), [1]], [2, 3]);
    await check('Unsqueeze', [a, [0, -1]], [1, 2, 3, 4, 1]);
    await check('Expand', [column, [2, 3, 4]], dims);
  });

  test('Transpose and Trilu', async () => {
    await check('Transpose', [a], [4, 3, 2]);
    await check('Transpose', [a], [3, 4, 2], { perm: ints([1, 2, 0]) });
    await check('Trilu', [a], dims, { upper: int(0) });
    await check('Trilu', [a], dims);
  });

  test('Concat, and Split of which one part is unused', async () => {
    await check('Concat', [a, noise([2, 2, 4], 2), b], [2, 8, 4], { axis: int(-2) });
    const g = new GraphBuilder();
    const parts = g.nodes('Split', [g.initializer('w', a), g.ints([1, 2, 1])], 3, { axis: int(-1) });
    probe(g, g.node('Concat', [parts[1]!, parts[0]!], { axis: int(2) }), [2, 3, 3]);
    await checkGradients(g.build(), 'loss', ['w']);
  });

  test('Slice from either end, past the end, along several axes and with steps', async () => {
    await check('Slice', [a, [1], [3], [2]], [2, 3, 2]);
    await check('Slice', [a, [-2], [1000], [-1]], [2, 3, 2]);
    await check('Slice', [a, [-9], [2], [1]], [2, 2, 4]);
    await check('Slice', [a, [1, 0], [3, 1]], [1, 1, 4]);
    await check('Slice', [a, [1], [4], [2], [2]], [2, 3, 2]);
    await check('Slice', [a, [3], [-9], [2], [-1]], dims);
  });

  test('Gather of rows that repeat, of columns, of one, from small tables and large', async () => {
    const ids = int64([1, 0, 1, 1, -1, 1], [2, 3]);
    await check('Gather', [noise([5, 4], 1), ids], [2, 3, 4]);
    await check('Gather', [noise([90, 4], 1), ids], [2, 3, 4]);
    await check('Gather', [a, ids], [2, 2, 3, 4], { axis: int(1) });
    await check('Gather', [a, int64([2, 0, 2, -1])], [2, 4, 4], { axis: int(1) });
    await check('Gather', [a, int64([1], [])], [2, 4], { axis: int(1) });
    await check('Gather', [a, int64([1], [])], [3, 4]);
    await check('GatherElements', [a, int64([3, 3, 0, 1, 2, 3], [2, 3, 1])], [2, 3, 1], { axis: int(2) });
  });
});

describe('a gradient is refused', () => {
  const refuses = (
    model: Model,
    weights: string[],
    reason: OnnxError['reason'],
    words: RegExp,
  ): Promise<void> =>
    assert.rejects(differentiate(model, 'loss', weights), (error: OnnxError) => {
      assert.equal(error.reason, reason);
      assert.match(error.message, words);
      return true;
    });

  function withNode(op: string, attributes: Attributes = {}): GraphBuilder {
    const g = new GraphBuilder();
    const w = g.initializer('w', a);
    g.output('loss', g.node('ReduceSum', [g.node(op, [w], attributes)], { keepdims: int(0) }));
    return g;
  }

  test('naming the operator and its node, when there is none', async () => {
    await refuses(
      withNode('HardSwish').build(),
      ['w'],
      'GRADIENT_MISSING',
      /HardSwish \(node "HardSwish_0"\)/,
    );
  });

  test('but not when the operator lies elsewhere', async () => {
    const g = withNode('Tanh');
    g.output('other', g.node('HardSwish', ['w']));
    const { gradients } = await differentiate(g.build(), 'loss', ['w']);
    assert.deepEqual([...gradients.keys()], ['w']);
  });

  test('for a weight that is not there, is not trainable, or has no influence', async () => {
    const g = withNode('Floor');
    g.initializer('ids', int64([1]));
    const model = g.build();
    await refuses(model, ['v'], 'REQUEST_INVALID', /no weight "v"/);
    await refuses(model, ['ids'], 'REQUEST_INVALID', /"ids" is of type int64/);
    await refuses(model, ['w'], 'REQUEST_INVALID', /"loss" does not depend on the weight "w"/);
  });

  test('for a loss with dimensions', async () => {
    const g = new GraphBuilder();
    g.output('loss', g.node('Tanh', [g.initializer('w', a)]));
    await refuses(g.build(), ['w'], 'REQUEST_INVALID', /"loss" has dimensions/);
  });
});
