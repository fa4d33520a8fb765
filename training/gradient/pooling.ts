import type { GraphBuilder } from '../onnx/builder.ts';
import { int } from '../onnx/model.ts';
import { elementCode } from '../onnx/tensor.ts';

/**
 * Token vectors [batch, sequence, dimensions] to one vector each [batch, dimensions]: a product with the weight that
 * each token has, so that forward and backward take one pass. Padding is on the right.
 *
 * @param mask - int64 [batch, sequence], 1 for tokens and 0 for padding.
 * @param pooling - mean of the tokens, the first (`cls`) or the last.
 */
export function pool(
  g: GraphBuilder,
  tokens: string,
  mask: string,
  pooling: 'mean' | 'cls' | 'last',
): string {
  const weights = g.node('Unsqueeze', [tokenWeights(g, mask, pooling), g.ints([1])]);
  return g.node('Squeeze', [g.node('MatMul', [weights, tokens]), g.ints([1])]);
}

function tokenWeights(g: GraphBuilder, mask: string, pooling: 'mean' | 'cls' | 'last'): string {
  const float = { to: int(elementCode('float32')) };
  const along = g.ints([1]);
  if (pooling === 'mean') {
    const present = g.node('Cast', [mask], float);
    return g.node('Div', [present, g.node('ReduceSum', [present, along])]);
  }
  const length = g.node('Squeeze', [g.node('Shape', [mask], { start: int(1), end: int(2) })]);
  const positions = g.node('Range', [g.scalar(0, 'int64'), length, g.scalar(1, 'int64')]);
  const first = g.node('Mul', [g.node('ReduceMax', [mask, along]), g.scalar(0, 'int64')]);
  const last = g.node('Sub', [g.node('ReduceSum', [mask, along]), g.scalar(1, 'int64')]);
  return g.node('Cast', [g.node('Equal', [positions, pooling === 'cls' ? first : last])], float);
}
