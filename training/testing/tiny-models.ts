import { GraphBuilder } from '../onnx/builder.ts';
import { int, ints, type Model } from '../onnx/model.ts';
import { float32, int64, toNumbers, type Tensor } from '../onnx/tensor.ts';
import { noise } from './noise.ts';

/** Size of a tiny encoder with random weights, for tests. */
export interface TinyShape {
  readonly layers: number;
  readonly vocabulary: number;
  readonly width: number;
  readonly heads: number;
  /** Heads of keys and values in the Llama family. */
  readonly sharedHeads: number;
}

export const TINY: TinyShape = { layers: 2, vocabulary: 80, width: 8, heads: 2, sharedHeads: 1 };

/** What is added to scores that must not count, as PyTorch exports it. */
const LOWEST = -3.4028234663852886e38;

/** Writes with weights that are random and the same each time. */
class Writer {
  readonly g = new GraphBuilder();
  #seed = 0;

  weight(name: string, dims: readonly number[], scale = 1.5 / Math.sqrt(dims[0]!)): string {
    return this.g.initializer(name, noise(dims, ++this.#seed, scale));
  }

  /** Weights around 1, of norms. */
  gain(name: string, width: number): string {
    const { data } = noise([width], ++this.#seed, 0.3);
    return this.g.initializer(
      name,
      float32(
        [width],
        Float32Array.from(data as Float32Array, (x) => 1 + x),
      ),
    );
  }

  linear(name: string, x: string, from: number, to: number, bias: boolean): string {
    const product = this.g.node('MatMul', [x, this.weight(`${name}.weight`, [from, to])]);
    return bias ? this.g.node('Add', [this.weight(`${name}.bias`, [to], 0.3), product]) : product;
  }

  /** [batch, sequence, heads · size] to [batch, heads, sequence, size]. */
  heads(x: string, heads: number, size: number): string {
    const split = this.g.node('Reshape', [x, this.g.ints([0, 0, heads, size])]);
    return this.g.node('Transpose', [split], { perm: ints([0, 2, 1, 3]) });
  }

  attention(q: string, k: string, v: string, mask: string, width: number, heads: number): string {
    const { g } = this;
    const scores = g.node('MatMul', [q, g.node('Transpose', [k], { perm: ints([0, 1, 3, 2]) })]);
    const scaled = g.node('Div', [scores, g.scalar(Math.sqrt(width / heads))]);
    const weights = g.node('Softmax', [g.node('Add', [scaled, mask])], { axis: int(-1) });
    const mixed = g.node('Transpose', [g.node('MatMul', [weights, v])], { perm: ints([0, 2, 1, 3]) });
    return g.node('Reshape', [mixed, g.ints([0, 0, width])]);
  }

  /** The length of the sequence: an int64 without dimensions, computed as exporters do. */
  length(ids: string): string {
    return this.g.node('Gather', [this.g.node('Shape', [ids]), this.g.scalar(1, 'int64')]);
  }

  positions(ids: string): string {
    return this.g.node('Range', [this.g.scalar(0, 'int64'), this.length(ids), this.g.scalar(1, 'int64')]);
  }

  /** 0 for tokens, a very low number for padding: [batch, 1, 1, sequence]. */
  padding(mask: string): string {
    const { g } = this;
    const float = g.node('Cast', [g.node('Unsqueeze', [mask, g.ints([1, 2])])], { to: int(1) });
    return g.node('Mul', [g.node('Sub', [g.scalar(1), float]), g.scalar(LOWEST)]);
  }
}

/** A BERT-style encoder as PyTorch exports it before operator set 17: layer normalisation and Gelu decomposed. */
export function tinyBert(shape: TinyShape = TINY): Model {
  const { layers, vocabulary, width, heads } = shape;
  const w = new Writer();
  const { g } = w;
  const tokenDims = ['batch', 'sequence'];
  const ids = g.input('input_ids', 'int64', tokenDims);
  const mask = g.input('attention_mask', 'int64', tokenDims);
  const types = g.input('token_type_ids', 'int64', tokenDims);
  const normalized = (name: string, x: string): string => {
    const centred = g.node('Sub', [x, g.node('ReduceMean', [x, g.ints([-1])])]);
    const variance = g.node('ReduceMean', [g.node('Pow', [centred, g.scalar(2)]), g.ints([-1])]);
    const deviation = g.node('Sqrt', [g.node('Add', [variance, g.scalar(1e-6)])]);
    const scaled = g.node('Mul', [g.node('Div', [centred, deviation]), w.gain(`${name}.weight`, width)]);
    return g.node('Add', [scaled, w.weight(`${name}.bias`, [width], 0.3)]);
  };
  const positions = g.node('Unsqueeze', [w.positions(ids), g.ints([0])]);
  const embedded = g.node('Add', [
    g.node('Add', [
      g.node('Gather', [w.weight('embeddings.word', [vocabulary, width], 1), ids]),
      g.node('Gather', [w.weight('embeddings.type', [2, width], 1), types]),
    ]),
    g.node('Gather', [w.weight('embeddings.position', [16, width], 1), positions]),
  ]);
  let x = normalized('embeddings.norm', embedded);
  const padding = w.padding(mask);
  for (let i = 0; i < layers; i++) {
    const [q, k, v] = ['q', 'k', 'v'].map((name) =>
      w.heads(w.linear(`layer.${i}.${name}`, x, width, width, true), heads, width / heads),
    );
    const mixed = w.attention(q!, k!, v!, padding, width, heads);
    x = normalized(
      `layer.${i}.norm1`,
      g.node('Add', [w.linear(`layer.${i}.o`, mixed, width, width, true), x]),
    );
    const up = w.linear(`layer.${i}.up`, x, width, 2 * width, true);
    const erf = g.node('Erf', [g.node('Div', [up, g.scalar(Math.SQRT2)])]);
    const gelu = g.node('Mul', [g.node('Mul', [up, g.node('Add', [erf, g.scalar(1)])]), g.scalar(0.5)]);
    const down = w.linear(`layer.${i}.down`, gelu, 2 * width, width, true);
    x = normalized(`layer.${i}.norm2`, g.node('Add', [down, x]));
  }
  g.output('last_hidden_state', x, 'float32', ['batch', 'sequence', width]);
  return g.build();
}

/**
 * A Qwen- or Llama-style encoder as PyTorch exports it: RMSNorm before each block, rotary positions computed in the
 * graph, keys shared by copying them, a causal mask, a gated SiLU.
 */
export function tinyLlama(shape: TinyShape = TINY): Model {
  const { layers, vocabulary, width, heads, sharedHeads } = shape;
  const size = width / heads;
  const w = new Writer();
  const { g } = w;
  const ids = g.input('input_ids', 'int64', ['batch', 'sequence']);
  const mask = g.input('attention_mask', 'int64', ['batch', 'sequence']);
  const normalized = (name: string, x: string): string => {
    const mean = g.node('ReduceMean', [g.node('Pow', [x, g.scalar(2)]), g.ints([-1])]);
    const root = g.node('Sqrt', [g.node('Add', [mean, g.scalar(1e-6)])]);
    const scaled = g.node('Mul', [x, g.node('Reciprocal', [root])]);
    return g.node('Mul', [w.gain(`${name}.weight`, width), scaled]);
  };

  const frequencies = Float32Array.from({ length: size / 2 }, (_, i) => 100 ** ((-2 * i) / size));
  const inverse = g.initializer('rotary.frequencies', float32([1, size / 2], frequencies));
  const steps = g.node('Cast', [g.node('Unsqueeze', [w.positions(ids), g.ints([1])])], { to: int(1) });
  const angles = g.node('MatMul', [steps, inverse]);
  const both = g.node('Concat', [angles, angles], { axis: int(-1) });
  const [cos, sin] = [g.node('Cos', [both]), g.node('Sin', [both])];
  const rotated = (x: string): string => {
    const half = g.ints([size / 2]);
    const end = g.ints([Number.MAX_SAFE_INTEGER]);
    const first = g.node('Slice', [x, g.ints([0]), half, g.ints([3]), g.ints([1])]);
    const second = g.node('Slice', [x, half, end, g.ints([3]), g.ints([1])]);
    const turned = g.node('Concat', [g.node('Neg', [second]), first], { axis: int(-1) });
    return g.node('Add', [g.node('Mul', [x, cos]), g.node('Mul', [turned, sin])]);
  };
  const repeated = (x: string): string => {
    const copies = heads / sharedHeads;
    const wide = g.node('Unsqueeze', [x, g.ints([2])]);
    const sizes = g.node('Shape', [x]);
    const dim = (axis: number): string =>
      g.node('Unsqueeze', [g.node('Gather', [sizes, g.scalar(axis, 'int64')]), g.ints([0])]);
    const expand = g.node('Concat', [dim(0), dim(1), g.ints([copies]), dim(2), dim(3)], { axis: int(0) });
    const merge = g.node('Concat', [dim(0), g.ints([heads]), dim(2), dim(3)], { axis: int(0) });
    return g.node('Reshape', [g.node('Expand', [wide, expand]), merge]);
  };

  const length = g.node('Unsqueeze', [w.length(ids), g.ints([0])]);
  const square = g.node('Concat', [length, length], { axis: int(0) });
  const full = g.node('Expand', [g.scalar(LOWEST), square]);
  const later = g.node('Trilu', [full, g.scalar(1, 'int64')], { upper: int(1) });
  const bias = g.node('Max', [g.node('Add', [later, w.padding(mask)]), g.scalar(LOWEST)]);

  let x = g.node('Gather', [w.weight('embed_tokens', [vocabulary, width], 1), ids]);
  for (let i = 0; i < layers; i++) {
    const before = normalized(`layer.${i}.norm1`, x);
    const project = (name: string, count: number): string =>
      w.heads(w.linear(`layer.${i}.${name}`, before, width, count * size, false), count, size);
    const [q, k, v] = [
      rotated(project('q', heads)),
      rotated(project('k', sharedHeads)),
      project('v', sharedHeads),
    ];
    const mixed = w.attention(q, repeated(k), repeated(v), bias, width, heads);
    x = g.node('Add', [x, w.linear(`layer.${i}.o`, mixed, width, width, false)]);
    const after = normalized(`layer.${i}.norm2`, x);
    const gate = w.linear(`layer.${i}.gate`, after, width, 2 * width, false);
    const silu = g.node('Mul', [gate, g.node('Sigmoid', [gate])]);
    const up = w.linear(`layer.${i}.up`, after, width, 2 * width, false);
    const down = w.linear(`layer.${i}.down`, g.node('Mul', [silu, up]), 2 * width, width, false);
    x = g.node('Add', [x, down]);
  }
  g.output('last_hidden_state', normalized('norm', x), 'float32', ['batch', 'sequence', width]);
  return g.build();
}

/** Random texts of different lengths, with padding on the right: what a tiny encoder's token inputs are fed. */
export function tinyBatch(model: Model, texts: number, length: number, seed: number): Record<string, Tensor> {
  const numbers = toNumbers(noise([texts * length], seed));
  const ids = Array.from(numbers, (x) => Math.floor((x + 1) * 0.5 * TINY.vocabulary));
  const mask = ids.map((_, i) => (i % length < 2 + (Math.floor(i / length) % (length - 1)) ? 1 : 0));
  const types = ids.map((id) => id % 2);
  const inputs = { input_ids: ids, attention_mask: mask, token_type_ids: types };
  const names = new Set(model.graph.inputs.map(({ name }) => name));
  return Object.fromEntries(
    Object.entries(inputs).flatMap(([name, values]) =>
      names.has(name) ? [[name, int64(values, [texts, length])]] : [],
    ),
  );
}
