import type { GraphBuilder } from '../builder.ts';
import { attribute, constant, int, ints, type Node } from '../model.ts';
import { arrayOf, elementCode, tensor, type ElementType } from '../tensor.ts';
import { refuse, single, type Rewrites, type Rewriting } from './rewriting.ts';
import { range, rotate } from './rotary.ts';

/** What is added to a score that must not count: float32's lowest number, as exporters write it. */
const MASKED = -3.4028234663852886e38;

interface Attention {
  /** [batch, sequence, heads, size]. */
  readonly query: string;
  readonly key: string;
  readonly value: string;
  /** Heads of the queries, and of the keys and values: the first is a multiple of the second. */
  readonly heads: readonly [query: number, key: number];
  /** Elements of a head in queries and keys, and in values. */
  readonly sizes: readonly [key: number, value: number];
  /** Whether no token sees later ones. */
  readonly causal: boolean;
  /** Added to the scores: each broadcastable to [batch, heads, queries, keys], with one head when keys are shared. */
  readonly biases?: readonly (string | undefined)[];
}

/**
 * softmax(query · keyᵀ · scale + biases) · value (https://arxiv.org/abs/1706.03762), as [batch, sequence, heads · size].
 * When heads share keys (https://arxiv.org/abs/2305.13245), we broadcast the keys instead of copying them.
 */
function attend({ g, node, result: { type } }: Rewriting, a: Attention): string {
  const [all, shared] = a.heads;
  const [size, valueSize] = a.sizes;
  const causal = a.causal ? causalBias(g, a.query, a.key, type) : undefined;
  const [first, ...others] = [...(a.biases ?? []), causal].filter(
    (bias) => bias !== undefined && bias !== '',
  );
  const bias = others.reduce((sum, other) => g.node('Add', [sum!, other!]), first);
  const group = all / shared;
  const split = group > 1;
  const query = split ? g.node('Reshape', [a.query, g.ints([0, 0, shared, group, size])]) : a.query;
  const [key, value] = [a.key, a.value].map((x) => (split ? g.node('Unsqueeze', [x, g.ints([3])]) : x));
  const heads = split ? [0, 2, 3] : [0, 2];
  const width = heads.length + 1;
  const rows = { perm: ints([...heads, 1, width]) };
  const columns = { perm: ints([...heads, width, 1]) };
  const product = g.node('MatMul', [
    g.node('Transpose', [query], rows),
    g.node('Transpose', [key!], columns),
  ]);
  const scale = attribute(node, 'scale', 'float', 0) || 1 / Math.sqrt(size);
  let scores = g.node('Mul', [product, g.scalar(scale, type)]);
  if (bias !== undefined) {
    scores = g.node('Add', [scores, split ? g.node('Unsqueeze', [bias, g.ints([2])]) : bias]);
  }
  const weights = g.node('Softmax', [scores], { axis: int(-1) });
  const mixed = g.node('MatMul', [weights, g.node('Transpose', [value!], rows)]);
  const back = split ? [0, 3, 1, 2, 4] : [0, 2, 1, 3];
  return g.node('Reshape', [
    g.node('Transpose', [mixed], { perm: ints(back) }),
    g.ints([0, 0, all * valueSize]),
  ]);
}

function splitHeads(g: GraphBuilder, x: string, heads: number, size: number): string {
  return g.node('Reshape', [x, g.ints([0, 0, heads, size])]);
}

/** A mask of later tokens, [1, 1, queries, keys]. The sequence is axis 1 of both. */
function causalBias(g: GraphBuilder, query: string, key: string, type: ElementType): string {
  const length = (of: string): string => g.node('Shape', [of], { start: int(1), end: int(2) });
  const shape = g.node('Concat', [g.ints([1, 1]), length(query), length(key)], { axis: int(0) });
  const value = constant(tensor(type, [1], arrayOf(type, [MASKED])));
  return g.node('Trilu', [g.node('ConstantOfShape', [shape], { value }), g.scalar(1, 'int64')], {
    upper: int(1),
  });
}

/** A mask of any type, 0 where a key must not count, as an addition to the scores. */
function maskBias(
  g: GraphBuilder,
  mask: string,
  axes: readonly number[],
  masked: number,
  type: ElementType,
): string {
  const wide = g.node('Unsqueeze', [mask, g.ints(axes)]);
  const keep = g.node('Cast', [wide], { to: int(elementCode('bool')) });
  return g.node('Where', [keep, g.scalar(0, type), g.scalar(masked, type)]);
}

/** Refuses what a decoder keeps for the next token, and what it kept of former ones: an encoder has neither. */
function refusePast({ node, used, traced }: Rewriting, ...inputs: number[]): void {
  if (node.outputs.some((_, i) => i > 0 && used(i))) {
    throw refuse(node, 'only its first output can be used, not what it keeps for a next token');
  }
  if (inputs.some((i) => traced(i)?.dims.includes(0) === false)) {
    throw refuse(node, 'keys and values of former tokens are not supported');
  }
}

function refuseAttributes(node: Node, ...names: string[]): void {
  for (const name of names) {
    const found = node.attributes[name];
    if (found !== undefined && found.value !== 0) throw refuse(node, `attribute "${name}" is not supported`);
  }
}

/** ONNX Runtime's attention with as many heads of keys as of queries. */
function attendAll(
  r: Rewriting,
  parts: readonly string[],
  widths: readonly number[],
  biases: readonly (string | undefined)[],
): string {
  const heads = attribute(r.node, 'num_heads', 'int', 0);
  const sizes = widths.map((width) => width / heads);
  const [query, key, value] = parts.map((part, i) => splitHeads(r.g, part, heads, sizes[i]!));
  return attend(r, {
    query: query!,
    key: key!,
    value: value!,
    heads: [heads, heads],
    sizes: [sizes[0]!, sizes[2]!],
    causal: attribute(r.node, 'unidirectional', 'int', 0) !== 0,
    biases,
  });
}

/** A mask as ONNX Runtime's operators take it. */
function filterBias({ g, node, result }: Rewriting, mask: string, axes: readonly number[]): string {
  return maskBias(g, mask, axes, attribute(node, 'mask_filter_value', 'float', -10000), result.type);
}

const multiHeadAttention = single((r) => {
  const { g, node, input, traced } = r;
  refusePast(r, 6, 7);
  if ([0, 1, 2].some((i) => traced(i)?.dims.length !== 3)) {
    throw refuse(node, 'query, key and value must be three tensors of three dimensions');
  }
  const widths = [0, 1, 2].map((i) => traced(i)!.dims[2]!);
  const parts = widths.map((width, i) => {
    if (input(3) === '') return input(i);
    const start = widths.slice(0, i).reduce((sum, each) => sum + each, 0);
    const bias = g.node('Slice', [input(3), g.ints([start]), g.ints([start + width]), g.ints([0])]);
    return g.node('Add', [input(i), bias]);
  });
  const padding = traced(4);
  if (padding !== undefined && padding.dims.length !== 2) {
    throw refuse(node, 'key_padding_mask must be of shape [batch, sequence]');
  }
  return attendAll(r, parts, widths, [padding && filterBias(r, input(4), [1, 2]), input(5)]);
});

/** ONNX Runtime's Attention: queries, keys and values come from one product. */
const packedAttention = single((r) => {
  const { g, node, input, traced } = r;
  refusePast(r, 4);
  refuseAttributes(node, 'do_rotary');
  const total = traced(1)!.dims[1]!;
  const widths = attribute(node, 'qkv_hidden_sizes', 'ints', [total / 3, total / 3, total / 3]);
  let projected = g.node('MatMul', [input(0), input(1)]);
  if (input(2) !== '') projected = g.node('Add', [projected, input(2)]);
  const parts = g.nodes('Split', [projected, g.ints(widths)], 3, { axis: int(-1) });
  const mask = (): string | undefined => {
    switch (traced(3)?.dims.length) {
      case undefined:
        return undefined;
      case 1: {
        // How many tokens each row has.
        const within = g.node('Less', [
          g.node('Cast', [range(g, input(0), 1)], { to: int(elementCode('int32')) }),
          g.node('Unsqueeze', [g.node('Cast', [input(3)], { to: int(elementCode('int32')) }), g.ints([1])]),
        ]);
        return filterBias(r, within, [1, 2]);
      }
      case 2:
        return filterBias(r, input(3), [1, 2]);
      case 3:
        return filterBias(r, input(3), [1]);
      default:
        throw refuse(node, 'a mask of four dimensions is not supported');
    }
  };
  return attendAll(r, parts, widths, [mask(), input(5)]);
});

/**
 * Causal attention with shared keys. Padding must be on the right, as the operator itself wants it: then no token sees
 * it, and what the padding itself sees doesn't matter.
 */
const groupQueryAttention = single((r) => {
  const { g, node, input, traced } = r;
  refusePast(r, 3, 4);
  refuseAttributes(node, 'softcap', 'smooth_softmax', 'qk_output', 'k_quant_type', 'v_quant_type');
  if (attribute(node, 'local_window_size', 'int', -1) > 0)
    throw refuse(node, 'a sliding window is not supported');
  for (const i of [9, 10, 11]) if (input(i) !== '') throw refuse(node, `input ${i} is not supported`);
  const heads = attribute(node, 'num_heads', 'int', 0);
  const shared = attribute(node, 'kv_num_heads', 'int', heads);
  const packed = input(1) === '';
  const size = traced(0)!.dims[2]! / (packed ? heads + 2 * shared : heads);
  const widths = [heads, shared, shared].map((count) => count * size);
  const parts = packed
    ? g.nodes('Split', [input(0), g.ints(widths)], 3, { axis: int(-1) })
    : [input(0), input(1), input(2)];
  const [query, key, value] = parts.map((part, i) => splitHeads(g, part, i === 0 ? heads : shared, size));
  const turn = (x: string): string => {
    if (attribute(node, 'do_rotary', 'int', 0) === 0) return x;
    const positions = range(g, input(0), 1);
    const rows = (i: number): string =>
      g.node('Unsqueeze', [g.node('Gather', [input(i), positions]), g.ints([0])]);
    return rotate(g, x, {
      cos: rows(7),
      sin: rows(8),
      headAxis: 2,
      size,
      half: traced(7)!.dims[1]!,
      interleaved: attribute(node, 'rotary_interleaved', 'int', 0) !== 0,
    });
  };
  return attend(r, {
    query: turn(query!),
    key: turn(key!),
    value: value!,
    heads: [heads, shared],
    sizes: [size, size],
    causal: true,
  });
});

/** ONNX's own Attention (operator set 23). */
const onnxAttention = single((r) => {
  const { g, node, input, traced, result } = r;
  refusePast(r, 4, 5);
  refuseAttributes(node, 'softcap');
  if (input(6) !== '') throw refuse(node, 'input 6 is not supported');
  const { type } = result;
  const dims = [0, 1, 2].map((i) => traced(i)!.dims);
  const count = (i: number, name: string): number =>
    dims[i]!.length === 4 ? dims[i]![1]! : attribute(node, name, 'int', 0);
  const heads = [count(0, 'q_num_heads'), count(1, 'kv_num_heads'), count(2, 'kv_num_heads')];
  const sizes = dims.map((each, i) => (each.length === 4 ? each[3]! : each[2]! / heads[i]!));
  const [query, key, value] = dims.map((each, i) =>
    each.length === 4
      ? g.node('Transpose', [input(i)], { perm: ints([0, 2, 1, 3]) })
      : splitHeads(g, input(i), heads[i]!, sizes[i]!),
  );
  const mask = traced(3);
  if (mask !== undefined && heads[0] !== heads[1] && mask.dims.length === 4 && mask.dims[1] !== 1) {
    throw refuse(node, 'a mask per head is not supported where heads share keys');
  }
  const wide = mask && Array.from({ length: 4 - mask.dims.length }, (_, i) => i);
  const bias =
    mask?.type === 'bool'
      ? maskBias(g, input(3), wide!, MASKED, type)
      : mask && g.node('Unsqueeze', [input(3), g.ints(wide!)]);
  const mixed = attend(r, {
    query: query!,
    key: key!,
    value: value!,
    heads: [heads[0]!, heads[1]!],
    sizes: [sizes[0]!, sizes[2]!],
    causal: attribute(node, 'is_causal', 'int', 0) !== 0,
    biases: [bias],
  });
  if (dims[0]!.length === 3) return mixed;
  return g.node('Transpose', [splitHeads(g, mixed, heads[0]!, sizes[2]!)], { perm: ints([0, 2, 1, 3]) });
});

export const ATTENTIONS: Rewrites = {
  Attention: onnxAttention,
  'com.microsoft:Attention': packedAttention,
  'com.microsoft:MultiHeadAttention': multiHeadAttention,
  'com.microsoft:GroupQueryAttention': groupQueryAttention,
};
