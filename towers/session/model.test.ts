import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { TowerError } from '../errors.ts';
import { onnxModel, rawBytes, type Constant, type Graph } from '../testing/onnx.ts';
import {
  idPort,
  temporaryFolder,
  tinyModel,
  TINY_WIDTH,
  tinyVector,
  writeFiles,
} from '../testing/tiny-tower.ts';
import { Model } from './model.ts';
import type { ModelOptions, TokenBatch } from './protocol.ts';

const TABLE: Constant = {
  name: 'table',
  dims: [10, TINY_WIDTH],
  values: Float32Array.from(Array.from({ length: 10 }, (_, id) => tinyVector(id)).flat()),
};

const TOKENS = { type: 'float32' as const, dims: ['batch', 'length', TINY_WIDTH] };
const LOOK_UP = { op: 'Gather', inputs: ['table', 'input_ids'], outputs: ['tokens'] };

/** input_ids → table → one output of token vectors. */
function lookUpGraph(output = 'last_hidden_state', changes: Partial<Graph> = {}): Graph {
  return {
    inputs: [idPort('input_ids'), idPort('attention_mask')],
    outputs: [{ name: output, ...TOKENS }],
    constants: [TABLE],
    operators: [{ ...LOOK_UP, outputs: [output] }],
    ...changes,
  };
}

async function load(
  context: TestContext,
  model: Graph | Uint8Array,
  options: Partial<ModelOptions> = {},
  files: Record<string, Uint8Array> = {},
): Promise<Model> {
  const folder = temporaryFolder(context);
  writeFiles(folder, { 'model.onnx': model instanceof Uint8Array ? model : onnxModel(model), ...files });
  const loaded = await Model.load(
    {
      path: join(folder, 'model.onnx'),
      device: 'cpu',
      threads: 1,
      pooling: 'mean',
      normalize: false,
      dimensions: TINY_WIDTH,
      ...options,
    },
    () => undefined,
  );
  context.after(() => loaded.close());
  return loaded;
}

function batch(...inputs: number[][]): TokenBatch {
  return { ids: Int32Array.from(inputs.flat()), lengths: Int32Array.from(inputs, ({ length }) => length) };
}

function unsupported(pattern: RegExp): (error: unknown) => boolean {
  return (error) =>
    error instanceof TowerError && error.reason === 'TOWER_MODEL_UNSUPPORTED' && pattern.test(error.message);
}

test('golden: pooling of inputs of different lengths in one batch', async (context) => {
  const inputs = batch([1, 2, 3], [5], [4, 8]);
  const golden = {
    mean: [2, 1, -2, 1, 5, 1, -5, 2, 6, 1, -6, 1.5],
    cls: [1, 1, -1, 1, 5, 1, -5, 2, 4, 1, -4, 1],
    last: [3, 1, -3, 0, 5, 1, -5, 2, 8, 1, -8, 2],
  };
  for (const [pooling, expected] of Object.entries(golden)) {
    const model = await load(context, tinyModel(), { pooling: pooling as ModelOptions['pooling'] });
    assert.deepEqual([...(await model.run(inputs))], expected);
  }
});

test('the batch does not change a vector', async (context) => {
  const model = await load(context, tinyModel(), { normalize: true });
  const alone = await model.run(batch([1, 7]));
  const together = await model.run(batch([1, 2, 3, 4, 5], [1, 7]));
  assert.deepEqual(together.subarray(TINY_WIDTH), alone);
});

test('the Matryoshka cut comes before normalisation', async (context) => {
  const model = await load(context, tinyModel(), { normalize: true, dimensions: 2 });
  const [x, y] = await model.run(batch([1]));
  assert.ok(Math.abs(x! - Math.SQRT1_2) < 1e-6 && Math.abs(y! - Math.SQRT1_2) < 1e-6);
});

test('an input of no tokens has a vector of zeros', async (context) => {
  const model = await load(context, tinyModel(), { normalize: true });
  assert.deepEqual([...(await model.run(batch([])))], [0, 0, 0, 0]);
});

test('every declared input is fed by its name and type', async (context) => {
  const position = {
    ...TABLE,
    name: 'positions',
    values: Float32Array.from(
      { length: 10 * TINY_WIDTH },
      (_, index) => 100 * tinyVector(Math.floor(index / TINY_WIDTH))[index % TINY_WIDTH]!,
    ),
  };
  const model = await load(
    context,
    {
      inputs: [
        idPort('position_ids'),
        idPort('token_type_ids'),
        idPort('attention_mask', 'int32'),
        idPort('input_ids', 'int32'),
      ],
      outputs: [{ name: 'token_embeddings', ...TOKENS }],
      constants: [
        TABLE,
        position,
        { name: 'minus', dims: [1], values: Float32Array.of(-1) },
        { name: 'axes', dims: [1], values: BigInt64Array.of(2n) },
      ],
      operators: [
        LOOK_UP,
        { op: 'Gather', inputs: ['positions', 'position_ids'], outputs: ['at'] },
        { op: 'Gather', inputs: ['table', 'token_type_ids'], outputs: ['typed'] },
        // Adds the mask, turned to minus one, to every component.
        { op: 'Cast', inputs: ['attention_mask'], outputs: ['mask'], attributes: { to: 1 } },
        { op: 'Mul', inputs: ['mask', 'minus'], outputs: ['negative'] },
        { op: 'Unsqueeze', inputs: ['negative', 'axes'], outputs: ['column'] },
        { op: 'Add', inputs: ['tokens', 'at'], outputs: ['a'] },
        { op: 'Add', inputs: ['a', 'typed'], outputs: ['b'] },
        { op: 'Add', inputs: ['b', 'column'], outputs: ['token_embeddings'] },
      ],
    },
    { pooling: 'last' },
  );
  // Token 5 at position 2, of type 0, with a mask of 1.
  const at = tinyVector(2).map((value) => value * 100);
  const expected = tinyVector(5).map((value, index) => value + at[index]! + tinyVector(0)[index]! - 1);
  assert.deepEqual([...(await model.run(batch([3, 4, 5], [1])))].slice(0, TINY_WIDTH), expected);
});

test('a decoder gets its caches empty', async (context) => {
  const cache = ['batch', 2, 'past', 3];
  const model = await load(
    context,
    lookUpGraph('last_hidden_state', {
      inputs: [
        idPort('input_ids'),
        idPort('attention_mask'),
        { name: 'past_key_values.0.key', type: 'float32', dims: cache },
        { name: 'past_key_values.0.value', type: 'float16', dims: cache },
      ],
      outputs: [
        { name: 'last_hidden_state', ...TOKENS },
        { name: 'present.0.key', type: 'float32', dims: cache },
      ],
      operators: [
        { ...LOOK_UP, outputs: ['last_hidden_state'] },
        { op: 'Identity', inputs: ['past_key_values.0.key'], outputs: ['present.0.key'] },
      ],
    }),
    { pooling: 'last' },
  );
  assert.deepEqual([...(await model.run(batch([1, 2], [6])))], [...tinyVector(2), ...tinyVector(6)]);
});

test('a lookup student: int8 table, scale, weighted mean in the graph', async (context) => {
  const model = await load(
    context,
    {
      inputs: [idPort('input_ids'), idPort('attention_mask')],
      outputs: [{ name: 'sentence_embedding', type: 'float32', dims: ['batch', 2] }],
      constants: [
        { name: 'table', dims: [3, 2], values: Int8Array.of(0, 0, 100, 0, 0, -100) },
        { name: 'scale', dims: [1], values: Float32Array.of(0.01) },
        { name: 'two', dims: [1], values: BigInt64Array.of(2n) },
        { name: 'one', dims: [1], values: BigInt64Array.of(1n) },
      ],
      operators: [
        { op: 'Gather', inputs: ['table', 'input_ids'], outputs: ['rows'] },
        { op: 'Cast', inputs: ['rows'], outputs: ['wide'], attributes: { to: 1 } },
        { op: 'Mul', inputs: ['wide', 'scale'], outputs: ['tokens'] },
        { op: 'Cast', inputs: ['attention_mask'], outputs: ['mask'], attributes: { to: 1 } },
        { op: 'Unsqueeze', inputs: ['mask', 'two'], outputs: ['column'] },
        { op: 'Mul', inputs: ['tokens', 'column'], outputs: ['masked'] },
        {
          op: 'ReduceSum',
          inputs: ['masked', 'one'],
          outputs: ['sentence_embedding'],
          attributes: { keepdims: 0 },
        },
      ],
    },
    { dimensions: 2, normalize: true },
  );
  const vectors = await model.run(batch([1, 2], [1], []));
  const expected = [Math.SQRT1_2, -Math.SQRT1_2, 1, 0, 0, 0];
  for (const [index, value] of vectors.entries()) assert.ok(Math.abs(value - expected[index]!) < 1e-6);
});

test('outputs are found by name, and a sole one by being alone', async (context) => {
  for (const output of ['last_hidden_state', 'token_embeddings', 'whatever']) {
    const model = await load(context, lookUpGraph(output));
    assert.deepEqual([...(await model.run(batch([7])))], tinyVector(7));
  }
  const pooled = { name: 'sentence_embedding', type: 'float32' as const, dims: ['batch', TINY_WIDTH] };
  const model = await load(
    context,
    lookUpGraph('token_embeddings', {
      outputs: [{ name: 'token_embeddings', ...TOKENS }, pooled],
      constants: [TABLE, { name: 'one', dims: [1], values: BigInt64Array.of(1n) }],
      operators: [
        { ...LOOK_UP, outputs: ['token_embeddings'] },
        { op: 'ReduceMax', inputs: ['token_embeddings'], outputs: ['deep'], attributes: { keepdims: 1 } },
        { op: 'Add', inputs: ['token_embeddings', 'deep'], outputs: ['shifted'] },
        {
          op: 'ReduceSum',
          inputs: ['shifted', 'one'],
          outputs: ['sentence_embedding'],
          attributes: { keepdims: 0 },
        },
      ],
    }),
  );
  assert.deepEqual(
    [...(await model.run(batch([7])))],
    tinyVector(7).map((value) => value + 7),
  );
});

test('external data is read from beside the model', async (context) => {
  const model = await load(
    context,
    lookUpGraph('last_hidden_state', { constants: [{ ...TABLE, external: 'model_q4.onnx_data' }] }),
    {},
    { 'model_q4.onnx_data': rawBytes(TABLE) },
  );
  assert.deepEqual([...(await model.run(batch([9])))], tinyVector(9));
});

test('graphs that we cannot run are refused with the reason', async (context) => {
  await assert.rejects(
    load(
      context,
      lookUpGraph('last_hidden_state', { inputs: [idPort('input_ids'), idPort('pixel_values')] }),
    ),
    unsupported(/input "pixel_values" is none of input_ids, attention_mask/),
  );
  await assert.rejects(
    load(
      context,
      lookUpGraph('last_hidden_state', {
        inputs: [idPort('input_ids'), { ...idPort('attention_mask'), type: 'float32' }],
      }),
    ),
    unsupported(/"attention_mask" is float32; int64 and int32 are understood/),
  );
  await assert.rejects(
    load(
      context,
      lookUpGraph('a', {
        outputs: [
          { name: 'a', ...TOKENS },
          { name: 'b', ...TOKENS },
        ],
        operators: [
          { ...LOOK_UP, outputs: ['a'] },
          { ...LOOK_UP, outputs: ['b'] },
        ],
      }),
    ),
    unsupported(/none of its outputs \(a, b\)/),
  );
  await assert.rejects(load(context, Buffer.from('no model')), unsupported(/can't load/));
  const narrow = await load(context, tinyModel(), { dimensions: 5 });
  await assert.rejects(
    narrow.run(batch([1])),
    unsupported(/4 components, fewer than the manifest's dimensions: 5/),
  );
  const flat = await load(
    context,
    lookUpGraph('ids', {
      outputs: [idPort('ids')],
      operators: [{ op: 'Identity', inputs: ['input_ids'], outputs: ['ids'] }],
    }),
  );
  await assert.rejects(flat.run(batch([1])), unsupported(/output "ids" is int64/));
});

test('a run that fails is an error of the run, and the next one goes on', async (context) => {
  const model = await load(context, tinyModel());
  await assert.rejects(
    model.run(batch([1_000_000])),
    (error) => error instanceof TowerError && error.reason === 'ENCODER_FAILED',
  );
  assert.deepEqual([...(await model.run(batch([1])))], tinyVector(1));
});
