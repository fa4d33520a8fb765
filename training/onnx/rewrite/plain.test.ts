import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { GraphBuilder } from '../builder.ts';
import type { OnnxError } from '../errors.ts';
import { float, int, ints, MICROSOFT, text, type Attributes, type Model } from '../model.ts';
import { runAsIs } from '../run.ts';
import { arrayOf, float32, int64, tensor, toNumbers, type Tensor } from '../tensor.ts';
import { noise } from '../../testing/noise.ts';
import { toPlain } from './plain.ts';

function bytes(dims: readonly number[], seed = 1): Tensor {
  const values = Array.from(toNumbers(noise(dims, seed)), (x) => Math.floor(Math.abs(x) * 256));
  return tensor('uint8', dims, arrayOf('uint8', values));
}

/** Asserts that the plain model computes what ONNX Runtime computes with the original, and has plain operators only. */
async function same(model: Model, feeds: Record<string, Tensor>, tolerance = 2e-5): Promise<Model> {
  const plain = await toPlain(model);
  for (const { op, domain } of plain.graph.nodes) {
    assert.equal(domain, '', `${op} is left over`);
    assert.ok(!/^(SimplifiedLayer|RMSNorm|Rotary|Attention)/.test(op), `${op} is left over`);
  }
  const [[expected], [found]] = [await runAsIs(model, [feeds]), await runAsIs(plain, [feeds])];
  for (const [name, value] of Object.entries(expected!)) {
    assert.deepEqual(found![name]!.dims, value.dims);
    const values = toNumbers(found![name]!);
    const errors = Array.from(toNumbers(value), (each, i) => Math.abs(each - values[i]!));
    assert.ok(Math.max(...errors) <= tolerance, `output "${name}" differs by ${Math.max(...errors)}`);
  }
  return plain;
}

/** A graph of one node over inputs x0, x1, ... of type float32 and the given constants. */
function oneNode(
  op: string,
  inputs: readonly (readonly (number | string)[] | Tensor | undefined)[],
  attributes: Attributes = {},
  outputs = 1,
): Model {
  const g = new GraphBuilder();
  const names = inputs.map((input, i) => {
    if (input === undefined) return '';
    return 'data' in input ? g.initializer(`c${i}`, input) : g.input(`x${i}`, 'float32', input);
  });
  g.nodes(op, names, outputs, attributes).forEach((name, i) => {
    if (i === 0 || i === outputs - 1) g.output(`y${i}`, name);
  });
  return {
    ...g.build(),
    opsets: new Map([
      ['', 21],
      [MICROSOFT, 1],
    ]),
  };
}

const ms = (op: string): string => `${MICROSOFT}:${op}`;
const BATCH = 2;
const LENGTH = 5;
const rows = ['batch', 'sequence', 12];
const x = noise([BATCH, LENGTH, 12]);
const y = noise([BATCH, LENGTH, 12], 2);

/** The size of axis 1: a vector. */
function lengthOf(g: GraphBuilder, of: string): string {
  return g.node('Shape', [of], { start: int(1), end: int(2) });
}

describe('a plain model computes what the original does:', () => {
  for (const [bits, rowsOf, blockSize] of [
    [4, 64, 32],
    [4, 40, 16],
    [8, 32, 32],
  ] as const) {
    test(`MatMulNBits with ${bits} bits, ${rowsOf} rows in blocks of ${blockSize}`, async () => {
      const blocks = Math.ceil(rowsOf / blockSize);
      const packed = bytes([6, blocks, (blockSize * bits) / 8]);
      const scales = noise([6 * blocks], 3);
      const attributes = { K: int(rowsOf), N: int(6), bits: int(bits), block_size: int(blockSize) };
      const feeds = { x0: noise([2, 3, rowsOf]) };
      const input = ['batch', 'sequence', rowsOf];
      await same(
        oneNode(ms('MatMulNBits'), [input, packed, scales], attributes),
        feeds,
        2e-4 * 2 ** (bits - 4),
      );
      const zeros = bytes([6 * Math.ceil((blocks * bits) / 8)], 4);
      const plain = await same(
        oneNode(ms('MatMulNBits'), [input, packed, scales, zeros], attributes),
        feeds,
        2e-4 * 2 ** (bits - 4),
      );
      assert.ok(plain.graph.initializers.has('c1_dequantized_0'));
    });
  }

  test('GatherBlockQuantized', async () => {
    const attributes = { block_size: int(16), bits: int(4), quantize_axis: int(1), gather_axis: int(0) };
    const g = new GraphBuilder();
    const ids = g.input('input_ids', 'int64', ['batch', 'sequence']);
    const table = g.initializer('table', bytes([7, 16]));
    const scales = g.initializer('scales', noise([7, 2]));
    const zeros = g.initializer('zeros', bytes([7, 1]));
    g.output('y', g.node(ms('GatherBlockQuantized'), [table, ids, scales, zeros], attributes));
    g.output('z', g.node(ms('GatherBlockQuantized'), [table, ids, scales], attributes));
    await same(g.build(), { input_ids: int64([0, 6, 3, 3], [2, 2]) });
  });

  test('DequantizeLinear of a weight', async () => {
    const weight = tensor('int8', [12, 4], arrayOf('int8', bytes([12, 4]).data));
    const g = new GraphBuilder();
    const scale = g.initializer('scale', noise([4], 3));
    const w = g.node('DequantizeLinear', [g.initializer('w', weight), scale], { axis: int(1) });
    g.output('y', g.node('MatMul', [g.input('x', 'float32', rows), w]));
    const plain = await same(g.build(), { x }, 1e-3);
    assert.deepEqual(plain.graph.nodes.map(({ op }) => op).sort(), ['MatMul']);
  });

  test('MultiHeadAttention with bias, padding, scores and causal mask', async () => {
    const g = new GraphBuilder();
    const inputs = ['q', 'k', 'v'].map((name) => g.input(name, 'float32', rows));
    const bias = g.initializer('bias', noise([36], 5));
    const mask = g.node('Cast', [g.input('attention_mask', 'int64', ['batch', 'total'])], { to: int(6) });
    const heads = { num_heads: int(3) };
    g.output('plain', g.node(ms('MultiHeadAttention'), inputs, heads));
    g.output(
      'padded',
      g.node(ms('MultiHeadAttention'), [...inputs, bias, mask], { ...heads, scale: float(0.3) }),
    );
    const scores = g.initializer('scores', noise([1, 3, LENGTH, LENGTH], 6));
    const shape = g.node(
      'Concat',
      [
        g.ints([1, 3]),
        g.node(
          'Concat',
          [0, 1].map(() => lengthOf(g, inputs[0]!)),
          { axis: int(0) },
        ),
      ],
      { axis: int(0) },
    );
    const cut = g.node('Slice', [scores, g.ints([0, 0, 0, 0]), shape]);
    g.output('biased', g.node(ms('MultiHeadAttention'), [...inputs, '', '', cut], heads));
    const causal = { ...heads, unidirectional: int(1) };
    g.output('causal', g.node(ms('MultiHeadAttention'), inputs, causal));
    const model = g.build();
    const attention_mask = int64([1, 1, 1, 0, 0, 1, 1, 1, 1, 0], [BATCH, LENGTH]);
    const feeds = { q: x, k: y, v: noise([BATCH, LENGTH, 12], 7), attention_mask };
    await same(model, feeds);
  });

  test('Attention with each kind of mask', async () => {
    const g = new GraphBuilder();
    const input = g.input('x', 'float32', rows);
    const weight = g.initializer('w', noise([12, 36], 8));
    const bias = g.initializer('b', noise([36], 9));
    const mask = g.node('Cast', [g.input('attention_mask', 'int64', ['batch', 'sequence'])], { to: int(6) });
    const lengths = g.node('ReduceSum', [mask, g.ints([1])], { keepdims: int(0) });
    const square = g.node('Mul', [
      g.node('Unsqueeze', [mask, g.ints([1])]),
      g.node('Unsqueeze', [mask, g.ints([2])]),
    ]);
    const heads = { num_heads: int(2) };
    g.output('plain', g.node(ms('Attention'), [input, weight, bias], heads));
    g.output('causal', g.node(ms('Attention'), [input, weight, bias], { ...heads, unidirectional: int(1) }));
    for (const [name, value] of Object.entries({ mask, lengths, square })) {
      g.output(name, g.node(ms('Attention'), [input, weight, bias, value], heads));
    }
    await same(g.build(), { x, attention_mask: int64([1, 1, 1, 0, 0, 1, 1, 1, 1, 1], [BATCH, LENGTH]) });
  });

  for (const rotary of [0, 1]) {
    test(`GroupQueryAttention ${rotary ? 'with rotary embedding' : 'with packed input'}`, async () => {
      const g = new GraphBuilder();
      const mask = g.input('attention_mask', 'int64', ['batch', 'sequence']);
      const one = g.scalar(1, 'int64');
      const count = g.node('Sub', [g.node('ReduceSum', [mask, g.ints([1])], { keepdims: int(0) }), one]);
      const lengths = g.node('Cast', [count], { to: int(6) });
      const total = g.node('Cast', [g.node('Gather', [g.node('Shape', [mask]), one])], { to: int(6) });
      const attributes = { num_heads: int(4), kv_num_heads: int(2), do_rotary: int(rotary) };
      const inputs = rotary
        ? [
            g.input('q', 'float32', ['batch', 'sequence', 64]),
            g.input('k', 'float32', ['batch', 'sequence', 32]),
            g.input('v', 'float32', ['batch', 'sequence', 32]),
          ]
        : [g.input('q', 'float32', ['batch', 'sequence', 128]), '', ''];
      const past = ['past_k', 'past_v'].map((name) => g.input(name, 'float32', ['batch', 2, 'past', 16]));
      const caches = rotary
        ? [g.initializer('cos', noise([9, 8], 1)), g.initializer('sin', noise([9, 8], 2))]
        : [];
      const [result, present] = g.nodes(
        ms('GroupQueryAttention'),
        [...inputs, ...past, lengths, total, ...caches],
        3,
        attributes,
      );
      g.output('y', result!);
      g.output('present_key', present!);
      const model = g.build();
      const feeds = {
        q: noise([BATCH, LENGTH, rotary ? 64 : 128]),
        ...(rotary && { k: noise([BATCH, LENGTH, 32], 3), v: noise([BATCH, LENGTH, 32], 4) }),
        attention_mask: int64(
          Array.from({ length: BATCH * LENGTH }, () => 1),
          [BATCH, LENGTH],
        ),
      };
      const plain = await toPlain(model);
      assert.ok(plain.graph.inputs.every(({ name }) => !name.startsWith('past')));
      const empty = float32([BATCH, 2, 0, 16], []);
      const [expected] = await runAsIs(model, [{ ...feeds, past_k: empty, past_v: empty }]);
      const { attention_mask: _, ...used } = feeds;
      const [found] = await runAsIs(plain, [used]);
      const values = toNumbers(found!['y']!);
      toNumbers(expected!['y']!).forEach((value, i) => assert.ok(Math.abs(value - values[i]!) < 2e-5));
    });
  }

  test('Attention of ONNX 23', async () => {
    const g = new GraphBuilder();
    const q = g.input('q', 'float32', ['batch', 'sequence', 12]);
    const k = g.input('k', 'float32', ['batch', 'sequence', 6]);
    const v = g.input('v', 'float32', ['batch', 'sequence', 6]);
    const shared = { q_num_heads: int(4), kv_num_heads: int(2) };
    g.output('causal', g.node('Attention', [q, k, v], { ...shared, is_causal: int(1) }));
    const mask = g.node('Cast', [g.input('attention_mask', 'int64', ['batch', 'sequence'])], { to: int(9) });
    const wide = g.node('Unsqueeze', [mask, g.ints([1, 2])]);
    const shape = g.node('Concat', [g.ints([1, 1]), lengthOf(g, q), g.ints([1])], { axis: int(0) });
    g.output('masked', g.node('Attention', [q, k, v, g.node('Expand', [wide, shape])], shared));
    const model = { ...g.build(), irVersion: 10, opsets: new Map([['', 23]]) };
    await same(model, {
      q: x,
      k: noise([BATCH, LENGTH, 6], 3),
      v: noise([BATCH, LENGTH, 6], 4),
      attention_mask: int64([1, 1, 1, 0, 0, 1, 1, 1, 1, 1], [BATCH, LENGTH]),
    });
  });

  test('SkipLayerNormalization and SkipSimplifiedLayerNormalization, with the sum as an output', async () => {
    const [scale, shift, bias] = [noise([12], 3), noise([12], 4), noise([12], 5)];
    const epsilon = { epsilon: float(1e-3) };
    const feeds = { x0: x, x1: y };
    await same(oneNode(ms('SkipLayerNormalization'), [rows, rows, scale, shift, bias], epsilon, 4), feeds);
    await same(oneNode(ms('SkipLayerNormalization'), [rows, rows, scale], epsilon), feeds);
    await same(oneNode(ms('SkipSimplifiedLayerNormalization'), [rows, rows, scale, bias], epsilon, 4), feeds);
    await same(oneNode('SimplifiedLayerNormalization', [rows, scale], epsilon), { x0: x });
  });

  test('RMSNormalization over the last two axes', async () => {
    const model = oneNode('RMSNormalization', [['batch', 5, 12], noise([5, 12], 3)], { axis: int(1) });
    await same({ ...model, irVersion: 10, opsets: new Map([['', 23]]) }, { x0: x });
  });

  test('EmbedLayerNormalization feeding an Attention', async () => {
    const g = new GraphBuilder();
    const int32 = { to: int(6) };
    const ids = g.node('Cast', [g.input('input_ids', 'int64', ['batch', 'sequence'])], int32);
    const segments = g.node('Cast', [g.input('token_type_ids', 'int64', ['batch', 'sequence'])], int32);
    const mask = g.node('Cast', [g.input('attention_mask', 'int64', ['batch', 'sequence'])], int32);
    const weights = [
      g.initializer('words', noise([20, 12], 1)),
      g.initializer('positions', noise([8, 12], 2)),
      g.initializer('segments', noise([2, 12], 3)),
      g.initializer('scale', noise([12], 4)),
      g.initializer('shift', noise([12], 5)),
    ];
    const [embedded, lengths] = g.nodes(ms('EmbedLayerNormalization'), [ids, segments, ...weights, mask], 2);
    const qkv = [g.initializer('w', noise([12, 36], 8)), g.initializer('b', noise([36], 9))];
    g.output('y', g.node(ms('Attention'), [embedded!, ...qkv, lengths!], { num_heads: int(3) }));
    await same(g.build(), {
      input_ids: int64([1, 5, 19, 0, 3, 3], [2, 3]),
      token_type_ids: int64([0, 0, 1, 0, 1, 1], [2, 3]),
      attention_mask: int64([1, 1, 1, 1, 1, 0], [2, 3]),
    });
  });

  test('activations', async () => {
    const feeds = { x0: x };
    await same(oneNode(ms('Gelu'), [rows]), feeds);
    await same(oneNode(ms('BiasGelu'), [rows, noise([12], 3)]), feeds);
    await same(oneNode(ms('FastGelu'), [rows, noise([12], 3)]), feeds);
    await same(oneNode(ms('FastGelu'), [rows]), feeds);
    await same(oneNode(ms('QuickGelu'), [rows], { alpha: float(1.5) }), feeds);
  });

  test('FusedMatMul', async () => {
    const attributes = { transA: int(1), transB: int(1), alpha: float(0.5) };
    await same(oneNode(ms('FusedMatMul'), [[2, 5, 's'], noise([2, 4, 5], 3)], attributes), {
      x0: noise([2, 5, 3]),
    });
  });

  for (const interleaved of [0, 1]) {
    test(`RotaryEmbedding, ${interleaved ? 'interleaved' : 'in halves'}, whole and in part`, async () => {
      const g = new GraphBuilder();
      const input = g.input('x', 'float32', ['batch', 'sequence', 24]);
      const positions = g.input('position_ids', 'int64', ['batch', 'sequence']);
      const cache = (half: number): string[] => [
        g.initializer(`cos${half}`, noise([16, half], 1)),
        g.initializer(`sin${half}`, noise([16, half], 2)),
      ];
      const style = { interleaved: int(interleaved) };
      const four = g.node('Transpose', [g.node('Reshape', [input, g.ints([0, 0, 3, 8])])], {
        perm: ints([0, 2, 1, 3]),
      });
      const op = ms('RotaryEmbedding');
      g.output('whole', g.node(op, [four, positions, ...cache(4)], style));
      g.output('offset', g.node(op, [four, g.ints([2]), 'cos4', 'sin4'], style));
      const part = { ...style, rotary_embedding_dim: int(4), num_heads: int(3) };
      g.output('part', g.node(op, [input, positions, ...cache(2)], part));
      await same(g.build(), { x: noise([2, 3, 24]), position_ids: int64([0, 1, 2, 7, 8, 15], [2, 3]) });
    });
  }

  test('what older operator sets wrote otherwise', async () => {
    const g = new GraphBuilder();
    const input = g.input('x', 'float32', ['batch', 'sequence', 12]);
    g.output('softmax', g.node('Softmax', [input], { axis: int(2) }));
    g.output('flat', g.node('Softmax', [input]));
    g.output('mean', g.node('ReduceMean', [input], { axes: ints([1]), keepdims: int(0) }));
    g.output(
      'wide',
      g.node('Squeeze', [g.node('Unsqueeze', [input], { axes: ints([0, 3]) })], { axes: ints([0]) }),
    );
    const parts = g.nodes('Split', [input], 2, { axis: int(2), split: ints([5, 7]) });
    g.output('part', parts[1]!);
    g.output('half', g.nodes('Split', [input], 3, { axis: int(-1) })[2]!);
    g.output('slice', g.node('Slice', [input], { starts: ints([1]), ends: ints([4]), axes: ints([1]) }));
    g.output('clip', g.node('Clip', [input], { min: float(-0.5), max: float(0.25) }));
    g.output('dropped', g.node('Dropout', [input], { ratio: float(0.5) }));
    const c = g.node('Constant', [], { value: { kind: 'tensor', value: float32([1], [3]) } });
    g.output('sum', g.node('Add', [input, c]));
    await same({ ...g.build(), irVersion: 4, opsets: new Map([['', 9]]) }, { x });
  });

  test('half precision, which becomes single', async () => {
    const g = new GraphBuilder();
    const input = g.input('x', 'float32', ['batch', 'sequence', 12]);
    const weight = tensor(
      'float16',
      [12, 4],
      arrayOf(
        'float16',
        Array.from(toNumbers(bytes([12, 4])), (b) => b + 0x3a00),
      ),
    );
    const narrow = g.node('Cast', [input], { to: int(10) });
    const product = g.node('MatMul', [narrow, g.initializer('w', weight)]);
    g.output('y', g.node('Cast', [product], { to: int(1) }), 'float32');
    const plain = await same(g.build(), { x }, 0.05);
    assert.equal(plain.graph.initializers.get('w')!.type, 'float32');
    assert.ok(
      plain.graph.nodes.every(
        ({ attributes }) => attributes['to'] === undefined || attributes['to'].value === 1,
      ),
    );
  });
});

describe('a plain model is refused', () => {
  const refuses = (model: Model, reason: OnnxError['reason'], words: RegExp): Promise<void> =>
    assert.rejects(toPlain(model), (error: OnnxError) => {
      assert.equal(error.reason, reason);
      assert.match(error.message, words);
      return true;
    });

  test('with the operator and its node, when it has no plain form', async () => {
    const g = new GraphBuilder();
    const inputs = ['q', 'k', 'v'].map((name) => g.input(name, 'float32', rows));
    const [result, present] = g.nodes(ms('MultiHeadAttention'), inputs, 3, { num_heads: int(3) });
    g.output('y', result!);
    g.output('keys', present!);
    await refuses(
      g.build(),
      'OPERATOR_UNSUPPORTED',
      /MultiHeadAttention \(node "MultiHeadAttention_0"\): only its first/,
    );
  });

  test('for an operator set of the future', async () => {
    const model = oneNode('Relu', [rows]);
    await refuses({ ...model, opsets: new Map([['', 99]]) }, 'FEATURE_UNSUPPORTED', /operator set 99.*9 to/);
  });

  test('for an operator that ONNX Runtime does not know', async () => {
    await refuses(oneNode('Nonsense', [rows], { mode: text('x') }), 'REQUEST_INVALID', /Nonsense/);
  });
});
