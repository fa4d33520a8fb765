import assert from 'node:assert/strict';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import * as fc from 'fast-check';
import { InferenceSession, Tensor as RuntimeTensor } from '../../towers/session/onnxruntime.ts';
import { GraphBuilder } from './builder.ts';
import type { OnnxError } from './errors.ts';
import { attribute, constant, float, int, ints, text, type Model } from './model.ts';
import { decodeModel, readModel } from './read.ts';
import { arrayOf, byteLength, float32, int64, tensor, type ElementType } from './tensor.ts';
import { encodeModel, writeModel } from './write.ts';

const refuses =
  (reason: OnnxError['reason'], words: RegExp) =>
  (error: OnnxError): boolean => {
    assert.equal(error.reason, reason);
    assert.match(error.message, words);
    return true;
  };

/** y = gelu(x · w + 1) by its tanh formula, with a weight large enough for external data. */
function linear(): Model {
  const g = new GraphBuilder();
  const x = g.input('x', 'float32', ['batch', 16]);
  const weight = Float32Array.from({ length: 16 * 32 }, (_, i) => Math.sin(i));
  const w = g.initializer('w', float32([16, 32], weight));
  const sum = g.node('Add', [g.node('MatMul', [x, w]), g.scalar(1)]);
  g.output('y', g.node('com.microsoft:FastGelu', [sum]), 'float32', ['batch', 32]);
  return g.build();
}

async function run(bytes: Uint8Array | string): Promise<Float32Array> {
  const session = await (typeof bytes === 'string'
    ? InferenceSession.create(bytes)
    : InferenceSession.create(bytes));
  const x = Float32Array.from({ length: 48 }, (_, i) => Math.cos(i));
  const { y } = await session.run({ x: new RuntimeTensor('float32', x, [3, 16]) });
  await session.release();
  return y!.data as Float32Array;
}

describe('an ONNX model', () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'scalingnote-onnx-'));
  });
  after(() => rm(folder, { recursive: true }));

  test('comes back from bytes as it was', () => {
    const model = linear();
    assert.deepEqual(decodeModel(encodeModel(model)), model);
  });

  test('keeps dimensions without a size and without a name, and a size of 0', () => {
    const g = new GraphBuilder();
    g.input('x', 'float32', ['', 0, 'length', 3]);
    const model = g.build();
    assert.deepEqual(decodeModel(encodeModel(model)).graph.inputs, model.graph.inputs);
  });

  test('computes in ONNX Runtime what was written', async () => {
    const y = await run(encodeModel(linear()));
    assert.equal(y.length, 96);
    let sum = 1;
    for (let i = 0; i < 16; i++) sum += Math.cos(16 + i) * Math.sin(i * 32 + 5);
    const gelu = 0.5 * sum * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (sum + 0.044715 * sum ** 3)));
    assert.ok(Math.abs(y[32 + 5]! - gelu) < 1e-5);
  });

  test('keeps every element type, with any contents', () => {
    const types: ElementType[] = [
      'float32',
      'float64',
      'float16',
      'bfloat16',
      'int8',
      'uint8',
      'int16',
      'uint16',
      'int32',
      'uint32',
      'int64',
      'uint64',
      'bool',
      'int4',
      'uint4',
    ];
    fc.assert(
      fc.property(
        fc.constantFrom(...types),
        fc.array(fc.nat(4), { maxLength: 3 }),
        fc.infiniteStream(fc.nat(255)),
        (type, dims, bytes) => {
          const elements = byteLength(type, dims) / arrayOf(type, []).BYTES_PER_ELEMENT;
          const values = bytes.take(elements);
          const g = new GraphBuilder();
          g.initializer('value', tensor(type, dims, arrayOf(type, [...values])));
          const model = g.build();
          assert.deepEqual(decodeModel(encodeModel(model)), model);
        },
      ),
    );
  });

  test('keeps attributes of every kind, 64-bit ones included', () => {
    const g = new GraphBuilder();
    const x = g.input('x', 'float32', []);
    const inner = new GraphBuilder();
    inner.output('z', inner.initializer('c', float32([], [4])), 'float32', []);
    g.node('Op', [x, ''], {
      int: int(-(2 ** 53) + 1),
      float: float(0.5),
      text: text('größer'),
      ints: ints([0, -1, 2 ** 40]),
      floats: { kind: 'floats', value: [1, -0.25] },
      strings: { kind: 'strings', value: ['', 'ü'] },
      constant: constant(int64([2 ** 53 - 1, -1])),
      graph: { kind: 'graph', value: inner.build().graph },
    });
    const model = g.build();
    const back = decodeModel(encodeModel(model));
    assert.deepEqual(back, model);
    const node = back.graph.nodes[0]!;
    assert.equal(attribute(node, 'float', 'float', 1), 0.5);
    assert.equal(attribute(node, 'absent', 'int', 7), 7);
    assert.throws(
      () => attribute(node, 'text', 'int', 7),
      refuses('MODEL_INVALID', /Op .*"text" is of kind string, not int/),
    );
  });

  test('keeps its large tensors in a file of their own when asked', async () => {
    const file = path.join(folder, 'split.onnx');
    await writeModel(file, linear(), { externalData: 'split.onnx_data' });
    assert.equal((await stat(`${file}_data`)).size, 16 * 32 * 4);
    assert.ok((await stat(file)).size < 1000);
    assert.deepEqual(await readModel(file), linear());
    assert.deepEqual(await run(file), await run(encodeModel(linear())));
  });

  test('says which external file is missing, short or out of bounds', async () => {
    const file = path.join(folder, 'broken.onnx');
    await writeModel(file, linear(), { externalData: 'weights' });
    await writeFile(path.join(folder, 'weights'), 'short');
    await assert.rejects(readModel(file), refuses('EXTERNAL_DATA', /"weights" ends before tensor "w"/));
    await rm(path.join(folder, 'weights'));
    await assert.rejects(readModel(file), refuses('EXTERNAL_DATA', /"weights"/));
    const outside = path.join(await mkdtemp(path.join(folder, 'sub-')), 'outside.onnx');
    await writeModel(outside, linear(), { externalData: '../weights' });
    await assert.rejects(
      readModel(outside),
      refuses('EXTERNAL_DATA', /"..\/weights" lies outside of the model's folder/),
    );
  });

  test('is refused when it is none', () => {
    assert.throws(
      () => decodeModel(new TextEncoder().encode('{}')),
      refuses('MODEL_INVALID', /not an ONNX model/),
    );
    assert.throws(() => decodeModel(new Uint8Array()), refuses('MODEL_INVALID', /not an ONNX model/));
  });

  test('is refused when a tensor does not fill its shape', () => {
    const model = linear();
    const w = model.graph.initializers.get('w')!;
    const initializers = new Map([['w', { ...w, dims: [16, 33] }]]);
    const bytes = encodeModel({ ...model, graph: { ...model.graph, initializers } });
    assert.throws(() => decodeModel(bytes), refuses('MODEL_INVALID', /"w" .*\[16, 33\] has 2048 bytes/));
  });
});

describe('GraphBuilder', () => {
  test('keeps equal constants once', () => {
    const g = new GraphBuilder();
    assert.equal(g.ints([1, 2]), g.ints([1, 2]));
    assert.notEqual(g.ints([1, 2]), g.ints([12]));
    assert.equal(g.scalar(0.5), g.scalar(0.5));
    assert.notEqual(g.scalar(0.5), g.scalar(0.5, 'float64'));
    assert.equal(g.build().graph.initializers.size, 4);
  });

  test('gives no name twice', () => {
    const g = new GraphBuilder();
    g.input('x', 'float32', []);
    assert.throws(() => g.initializer('x', float32([], [1])), refuses('REQUEST_INVALID', /"x"/));
    const [first, second] = g.nodes('Split', ['x'], 2);
    assert.notEqual(first, second);
  });
});

test('a tensor checks its array and its length', () => {
  assert.throws(() => tensor('int64', [1], new Float32Array(1)), refuses('REQUEST_INVALID', /BigInt64Array/));
  assert.throws(
    () => tensor('float32', [2, 3], new Float32Array(5)),
    refuses('REQUEST_INVALID', /24 bytes, not 20/),
  );
});
