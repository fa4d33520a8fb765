import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GraphBuilder } from '../onnx/builder.ts';
import { int } from '../onnx/model.ts';
import { prune } from '../onnx/prune.ts';
import { runAsIs } from '../onnx/run.ts';
import { int64, toNumbers } from '../onnx/tensor.ts';
import { assertClose, type Numbers, readReference, tensorOf } from '../testing/reference.ts';
import { differentiate } from './differentiate.ts';
import { pool } from './pooling.ts';

interface Reference {
  tokens: Numbers;
  /** What the vectors are multiplied by: the sum of the products is differentiated. */
  target: Numbers;
  cases: {
    side: 'right' | 'left';
    mask: number[][];
    pooling: 'mean' | 'cls' | 'last';
    vectors: Numbers;
    gradient: Numbers;
  }[];
}

const { tokens, target, cases } = readReference<Reference>('pooling');
// In training, padding is on the right.
for (const { mask, pooling, vectors, gradient } of cases.filter(({ side }) => side === 'right')) {
  test(`${pooling} pooling and its gradient are those of PyTorch`, async () => {
    const g = new GraphBuilder();
    g.input('tokens', 'float32', ['batch', 'sequence', 3]);
    g.input('mask', 'int64', ['batch', 'sequence']);
    g.input('target', 'float32', ['batch', 3]);
    const pooled = g.output('vectors', pool(g, 'tokens', 'mask', pooling));
    const product = g.node('Mul', [pooled, 'target']);
    g.output('loss', g.node('ReduceSum', [product], { keepdims: int(0) }));
    const { g: both, gradients } = await differentiate(g.build(), 'loss', ['tokens']);
    const by = both.output('gradient', gradients.get('tokens')!);
    const feeds = {
      tokens: tensorOf(tokens),
      mask: int64(mask.flat(), [mask.length, mask[0]!.length]),
      target: tensorOf(target),
    };
    const [found] = await runAsIs(prune(both.build(), ['vectors', by]), [feeds]);
    assert.deepEqual(found!['vectors']!.dims, [4, 3]);
    assertClose(toNumbers(found!['vectors']!), vectors, 'vectors', 1e-6);
    assertClose(toNumbers(found!['gradient']!), gradient, 'gradient', 1e-6);
  });
}
