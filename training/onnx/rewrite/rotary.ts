import type { GraphBuilder } from '../builder.ts';
import { attribute, int } from '../model.ts';
import { refuse, single, type Rewrites } from './rewriting.ts';

/** Heads of a tensor: [batch, sequence, heads, size] has them on axis 2, [batch, heads, sequence, size] on axis 1. */
export type HeadAxis = 1 | 2;

/**
 * Rotary position embedding (https://arxiv.org/abs/2104.09864) of a tensor of four dimensions. `cos` and `sin` are of
 * shape [batch or 1, sequence, half]; the first 2 · half elements of each head are turned, pairwise: neighbours when
 * `interleaved`, otherwise each with the one `half` further.
 */
export function rotate(
  g: GraphBuilder,
  x: string,
  options: { cos: string; sin: string; headAxis: HeadAxis; size: number; half: number; interleaved: boolean },
): string {
  const { headAxis, size, half, interleaved } = options;
  const axes = g.ints(interleaved ? [headAxis, -1] : [headAxis]);
  const cos = g.node('Unsqueeze', [options.cos, axes]);
  const sin = g.node('Unsqueeze', [options.sin, axes]);
  const rest = size - 2 * half;
  const parts = rest > 0 ? g.nodes('Split', [x, g.ints([2 * half, rest])], 2, { axis: int(-1) }) : [x];
  const turned = interleaved ? g.node('Reshape', [parts[0]!, g.ints([0, 0, 0, half, 2])]) : parts[0]!;
  const sizes = g.ints(interleaved ? [1, 1] : [half, half]);
  const [a, b] = g.nodes('Split', [turned, sizes], 2, { axis: int(-1) }) as [string, string];
  const first = g.node('Sub', [g.node('Mul', [a, cos]), g.node('Mul', [b, sin])]);
  const second = g.node('Add', [g.node('Mul', [b, cos]), g.node('Mul', [a, sin])]);
  const joined = g.node('Concat', [first, second], { axis: int(-1) });
  const flat = interleaved ? g.node('Reshape', [joined, g.ints([0, 0, 0, 2 * half])]) : joined;
  return rest > 0 ? g.node('Concat', [flat, parts[1]!], { axis: int(-1) }) : flat;
}

/** 0, 1, ... up to the length of an axis: a vector. */
export function range(g: GraphBuilder, of: string, axis: number): string {
  const length = g.node('Squeeze', [g.node('Shape', [of], { start: int(axis), end: int(axis + 1) })]);
  return g.node('Range', [g.scalar(0, 'int64'), length, g.scalar(1, 'int64')]);
}

/** RotaryEmbedding of ONNX Runtime and of ONNX 23: the same, but for the order of their inputs. */
function rotaryEmbedding(order: { positions: number; cos: number; sin: number }): Rewrites[string] {
  return single(({ g, node, input, traced }) => {
    const { dims } = traced(0)!;
    const headAxis: HeadAxis = dims.length === 4 ? 1 : 2;
    const cache = traced(order.cos)!.dims;
    const half = cache.at(-1)!;
    const heads = attribute(node, 'num_heads', 'int', 0);
    if (attribute(node, 'scale', 'float', 1) !== 1) throw refuse(node, 'attribute "scale" is not supported');
    if (attribute(node, 'is_packed_batching', 'int', 0) !== 0)
      throw refuse(node, 'packed batches are not supported');
    if (dims.length === 3 && heads === 0) throw refuse(node, 'attribute "num_heads" is missing');
    const size = dims.length === 4 ? dims[3]! : dims[2]! / heads;
    const x = dims.length === 4 ? input(0) : g.node('Reshape', [input(0), g.ints([0, 0, heads, size])]);
    const rows = (i: number): string => {
      if (cache.length === 3) return input(i);
      const positions = traced(order.positions);
      if (positions?.dims.length === 2) return g.node('Gather', [input(i), input(order.positions)]);
      // One number: the position of the first token.
      const steps = range(g, input(0), headAxis === 1 ? 2 : 1);
      const shifted = positions === undefined ? steps : g.node('Add', [steps, input(order.positions)]);
      return g.node('Unsqueeze', [g.node('Gather', [input(i), shifted]), g.ints([0])]);
    };
    const turned = rotate(g, x, {
      cos: rows(order.cos),
      sin: rows(order.sin),
      headAxis,
      size,
      half,
      interleaved: attribute(node, 'interleaved', 'int', 0) !== 0,
    });
    return dims.length === 4 ? turned : g.node('Reshape', [turned, g.ints([0, 0, heads * size])]);
  });
}

export const ROTARY: Rewrites = {
  'com.microsoft:RotaryEmbedding': rotaryEmbedding({ positions: 1, cos: 2, sin: 3 }),
  RotaryEmbedding: rotaryEmbedding({ positions: 3, cos: 1, sin: 2 }),
};
