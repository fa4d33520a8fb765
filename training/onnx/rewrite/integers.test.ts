import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { differentiate } from '../../gradient/differentiate.ts';
import { noise } from '../../testing/noise.ts';
import { GraphBuilder } from '../builder.ts';
import type { OnnxError } from '../errors.ts';
import { int, MICROSOFT, type Model } from '../model.ts';
import { quantizeWeights } from '../quantize.ts';
import { runAsIs } from '../run.ts';
import { arrayOf, elementCode, float32, int64, scalar, tensor, toNumbers, type Tensor } from '../tensor.ts';
import { toPlain } from './plain.ts';

const [ROWS, COLUMNS] = [12, 5];
const x = noise([2, 3, ROWS]);

function bytes(type: 'int8' | 'uint8', dims: readonly number[], seed: number): Tensor {
  const offset = type === 'int8' ? -60 : 4;
  const values = Array.from(toNumbers(noise(dims, seed)), (value) => Math.floor(offset + 60 * (value + 1)));
  return tensor(type, dims, arrayOf(type, values));
}

/** W in numbers. */
function numbersOf(weight: Tensor, scales: readonly number[], zeros: readonly number[]): number[] {
  const columns = weight.dims.at(-1)!;
  return Array.from(toNumbers(weight), (value, i) => {
    const at = scales.length === 1 ? 0 : i % columns;
    return (value - (zeros[at] ?? 0)) * scales[at]!;
  });
}

/** The plain model has one product of numbers, which is x · W, and comes near to what the integers give. */
async function judge(model: Model, wanted: readonly number[], tolerance: number): Promise<void> {
  const plain = await toPlain(model, ['y']);
  const ops = plain.graph.nodes.map(({ op }) => op);
  assert.deepEqual(
    ops.filter((op) => op !== 'MatMul' && op !== 'Identity'),
    [],
  );
  const weights = [...plain.graph.initializers.values()].filter(({ dims }) => dims.length === 2);
  assert.equal(weights.length, 1);
  for (const [i, value] of wanted.entries()) {
    assert.ok(Math.abs((weights[0]!.data as Float32Array)[i]! - value) < 1e-5, `weight ${i}`);
  }
  const [[before], [after]] = [await runAsIs(model, [{ x }]), await runAsIs(plain, [{ x }])];
  const found = toNumbers(after!['y']!);
  for (const [i, value] of toNumbers(before!['y']!).entries()) {
    assert.ok(Math.abs(value - found[i]!) < tolerance, `${i}: ${value} in integers, ${found[i]} in numbers`);
  }
}

describe('a product of integers becomes one of numbers:', () => {
  for (const type of ['int8', 'uint8'] as const) {
    for (const perColumn of [false, true]) {
      test(`what is quantised as it comes, ${type}, a scale ${perColumn ? 'a column' : 'for all'}`, async () => {
        const count = perColumn ? COLUMNS : 1;
        const weight = bytes(type, [ROWS, COLUMNS], 2);
        const scales = Array.from({ length: count }, (_, i) => 0.01 + 0.002 * i);
        const zeros = Array.from({ length: count }, (_, i) => 3 + i);
        const wanted = numbersOf(weight, scales, zeros);
        const points = tensor(type, perColumn ? [count] : [], arrayOf(type, zeros));
        const factors = float32(perColumn ? [count] : [], scales);
        const start = (): { g: GraphBuilder; quantized: string[]; constants: string[] } => {
          const g = new GraphBuilder();
          const input = g.input('x', 'float32', ['batch', 'sequence', ROWS]);
          const quantized = g.nodes('DynamicQuantizeLinear', [input], 3);
          const constants = [
            g.initializer('w', weight),
            g.initializer('scales', factors),
            g.initializer('zeros', points),
          ];
          return { g, quantized, constants };
        };
        {
          const { g, quantized, constants } = start();
          const [w, s, z] = constants;
          const product = g.node('MatMulInteger', [quantized[0]!, w!, quantized[2]!, z!]);
          const both = g.node('Mul', [quantized[1]!, s!]);
          g.output(
            'y',
            g.node('Mul', [g.node('Cast', [product], { to: int(elementCode('float32')) }), both]),
          );
          await judge(g.build(), wanted, 0.05);
        }
        {
          const { g, quantized, constants } = start();
          const [w, s, z] = constants;
          g.output(
            'y',
            g.node(`${MICROSOFT}:MatMulIntegerToFloat`, [
              quantized[0]!,
              w!,
              quantized[1]!,
              s!,
              quantized[2]!,
              z!,
            ]),
          );
          await judge(g.build(), wanted, 0.05);
        }
        {
          const { g, constants } = start();
          const [w, s, z] = constants;
          g.output('y', g.node(`${MICROSOFT}:DynamicQuantizeMatMul`, ['x', w!, s!, z!]));
          await judge(g.build(), wanted, 0.05);
        }
      });
    }
  }

  test('what is quantised by fixed scales, apart and in one operator', async () => {
    const weight = bytes('int8', [ROWS, COLUMNS], 2);
    const wanted = numbersOf(weight, [0.01], [0]);
    const start = (): { g: GraphBuilder; quantized: string } => {
      const g = new GraphBuilder();
      g.input('x', 'float32', ['batch', 'sequence', ROWS]);
      g.initializer('w', weight);
      for (const [name, value] of [
        ['sx', 0.01],
        ['sw', 0.01],
        ['sy', 0.05],
      ] as const)
        g.initializer(name, float32([], [value]));
      g.initializer('zx', scalar('uint8', 128));
      g.initializer('zw', scalar('int8', 0));
      return { g, quantized: g.node('QuantizeLinear', ['x', 'sx', 'zx']) };
    };
    {
      const { g, quantized } = start();
      const back = g.node('DequantizeLinear', [quantized, 'sx', 'zx']);
      g.output('y', g.node('MatMul', [back, g.node('DequantizeLinear', ['w', 'sw', 'zw'])]));
      await judge(g.build(), wanted, 0.05);
    }
    {
      const { g, quantized } = start();
      const product = g.node('QLinearMatMul', [quantized, 'sx', 'zx', 'w', 'sw', 'zw', 'sy', 'zx']);
      g.output('y', g.node('DequantizeLinear', [product, 'sy', 'zx']));
      await judge(g.build(), wanted, 0.1);
    }
  });

  test('rows of a table, with one scale and with a scale each', async () => {
    const table = bytes('uint8', [7, 4], 3);
    const ids = int64([0, 6, 3, 3], [2, 2]);
    const g = new GraphBuilder();
    g.input('input_ids', 'int64', ['batch', 'sequence']);
    for (const [name, value] of [
      ['t', table],
      ['s', float32([], [0.02])],
      ['z', scalar('uint8', 9)],
    ] as const)
      g.initializer(name, value);
    g.initializer('each', float32([7, 1], [1, 2, 3, 4, 5, 6, 7]));
    g.output('one', g.node('DequantizeLinear', [g.node('Gather', ['t', 'input_ids']), 's', 'z']));
    const cast = g.node('Cast', [g.node('Gather', ['t', 'input_ids'])], { to: int(elementCode('float32')) });
    const model = g.build();
    const own = new GraphBuilder(model);
    own.output('own', own.node('Mul', [cast, own.node('Gather', ['each', 'input_ids'])]));
    for (const [name, built] of [
      ['one', model],
      ['own', own.build()],
    ] as const) {
      const plain = await toPlain(built, [name]);
      assert.deepEqual(
        plain.graph.nodes.map(({ op }) => op).filter((op) => op !== 'Identity'),
        ['Gather'],
      );
      const feeds = [{ input_ids: ids }];
      const [[before], [after]] = [await runAsIs(built, feeds), await runAsIs(plain, feeds)];
      assert.deepEqual(after![name]!.data, before![name]!.data);
    }
  });

  test('our own towers in eight bits, back to what they were but for the rounding', async () => {
    const g = new GraphBuilder();
    const input = g.input('x', 'float32', ['batch', 'sequence', 64]);
    g.output('y', g.node('MatMul', [input, g.initializer('w', noise([64, 32], 5))]));
    const model = g.build();
    const plain = await toPlain(quantizeWeights(model), ['y']);
    assert.deepEqual(
      plain.graph.nodes.map(({ op }) => op),
      ['MatMul'],
    );
    const weight = [...plain.graph.initializers.values()].find(({ dims }) => dims.join() === '64,32');
    const errors = Array.from(toNumbers(noise([64, 32], 5)), (value, i) =>
      Math.abs(value - (weight!.data as Float32Array)[i]!),
    );
    assert.ok(Math.max(...errors) < 0.005, `${Math.max(...errors)}`);
  });
});

for (const scaled of [true, false])
  test(`a product of integers in another form is refused by name when it is to be trained; scaled: ${scaled}`, async () => {
    const g = new GraphBuilder();
    const input = g.input('x', 'float32', ['batch', 'sequence', ROWS]);
    const before = g.node('Mul', [input, g.initializer('gain', noise([ROWS], 8))]);
    const [values, scale, zero] = g.nodes('DynamicQuantizeLinear', [before], 3);
    const product = g.node('MatMulInteger', [
      values!,
      g.initializer('w', bytes('int8', [ROWS, COLUMNS], 2)),
      zero!,
    ]);
    const cast = g.node('Cast', [product], { to: int(elementCode('float32')) });
    // A residual besides: without a word, half of the gradient would be missing.
    const sum = g.node('Add', [
      g.node('ReduceSum', [cast], { keepdims: int(0) }),
      g.node('ReduceSum', [before], { keepdims: int(0) }),
    ]);
    g.output('loss', scaled ? g.node('Mul', [sum, scale!]) : sum);
    const plain = await toPlain(g.build(), ['loss']);
    await assert.rejects(differentiate(plain, 'loss', ['gain']), (error: OnnxError) => {
      assert.match(error.message, /DynamicQuantizeLinear \(node .*has no gradient/);
      return true;
    });
  });
