import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { OnnxError } from '../onnx/errors.ts';
import type { Model } from '../onnx/model.ts';
import { withParameters } from '../onnx/parameters.ts';
import { toPlain } from '../onnx/rewrite/plain.ts';
import { runAsIs } from '../onnx/run.ts';
import { float32, toNumbers, type Tensor } from '../onnx/tensor.ts';
import { TINY, tinyBatch, tinyBert, tinyLlama, type TinyShape } from '../testing/tiny-models.ts';
import { findLayers, keepLayers, spread } from './layers.ts';
import { Trainer } from './trainer.ts';
import { cutTransformer, transformerStep, VECTORS } from './transformer.ts';

const OUTPUT = 'last_hidden_state';
function batch(model: Model, seed: number): Record<string, Tensor> {
  return tinyBatch(model, 8, 6, seed);
}

/** The same encoder with its layers' weights under the names that they have after other layers were dropped. */
function renumbered(model: Model, layers: readonly number[]): Map<string, Tensor> {
  const found = new Map<string, Tensor>();
  for (const [name, value] of model.graph.initializers) {
    const layer = /^layer\.(\d+)\.(.*)$/.exec(name);
    if (layer === null) {
      if (/^(embed|norm)/.test(name)) found.set(name, value);
      continue;
    }
    const position = layers.indexOf(Number(layer[1]));
    if (position >= 0) found.set(`layer.${position}.${layer[2]}`, value);
  }
  return found;
}

for (const [family, encoder] of [
  ['BERT', tinyBert],
  ['Llama', tinyLlama],
] as const) {
  describe(`layers of a ${family} encoder`, () => {
    const shape: TinyShape = { ...TINY, layers: 4 };

    test('are found by structure, with their weights and tables', async () => {
      const model = await toPlain(encoder(shape));
      const { boundaries, weights, tables } = await findLayers(model, OUTPUT);
      assert.equal(boundaries.length, 5);
      const named = [...model.graph.initializers.keys()].filter((name) =>
        /^(layer|norm|embeddings\.norm)/.test(name),
      );
      assert.deepEqual([...weights].sort(), named.sort());
      assert.ok(tables.length >= 1 && tables.every((name) => name.startsWith('embed')));
    });

    test('can be dropped: what is left is the encoder without them', async () => {
      const model = await toPlain(encoder(shape));
      const found = await findLayers(model, OUTPUT);
      for (const layers of [[0], [0, 3], [1, 2], [0, 1, 2, 3]]) {
        const kept = keepLayers(model, found, OUTPUT, layers);
        const small = await toPlain(encoder({ ...TINY, layers: layers.length }));
        const expected = withParameters(small, renumbered(model, layers));
        const feeds = batch(model, 1);
        const [a] = await runAsIs(kept, [feeds]);
        const [b] = await runAsIs(expected, [feeds]);
        assert.deepEqual(a, b);
      }
    });

    test('can be narrower than the teacher’s: vectors have as many components as before', async () => {
      const teacher = await toPlain(encoder({ ...shape, width: 16, heads: 4, sharedHeads: 2 }));
      const whole = await cutTransformer(teacher, 2);
      const { model, weights, tables } = await cutTransformer(teacher, 2, { width: 6 });
      for (const name of [...whole.weights, ...whole.tables]) {
        const [before, after] = [whole, { model }].map(
          ({ model }) => model.graph.initializers.get(name)!.dims,
        );
        // Whatever else has 16 components, such as four heads of four, keeps them.
        const narrowed = before!.map((size, axis) => (after![axis] === size ? 0 : after![axis]));
        assert.deepEqual(
          narrowed.filter((size) => size !== 0),
          /\.(q|k|v)\.bias|up\.bias/.test(name) ? [] : [6],
          name,
        );
      }
      assert.deepEqual(model.graph.initializers.get('projection')!.dims, [6, 16]);
      assert.ok(weights.includes('projection') && tables.length >= 1);
      const [vectors] = await runAsIs(model, [batch(model, 1)]);
      assert.deepEqual(vectors![OUTPUT]!.dims, [8, 6, 16]);
      for (const width of [0, 16, 2.5]) {
        await assert.rejects(cutTransformer(teacher, 2, { width }), /not between 1 and 15/);
      }
    });

    for (const width of [undefined, 6])
      test(`make a student that comes nearer to its teacher, and keeps the tables; width ${width}`, async () => {
        const teacher = await toPlain(encoder(shape));
        const student = await cutTransformer(teacher, 2, { width });
        assert.deepEqual(student.layers, [0, 3]);
        const teaching = await transformerStep(await cutTransformer(teacher, 4), {
          pooling: 'mean',
          optimizer: { rate: 1e-3, steps: 1 },
        });
        const optimizer = { rate: 0.02, steps: 60, warmup: 5, weightDecay: 0 };
        const step = await transformerStep(student, { pooling: 'mean', optimizer });
        const learner = await Trainer.create(step, { threads: 1 });
        const oracle = await Trainer.create(teaching, { threads: 1 });
        const teach = async (seed: number): Promise<Record<string, Tensor>> => {
          const texts = batch(student.model, seed);
          return { ...texts, teacher: (await oracle.observe(texts))[VECTORS]! };
        };
        const cosine = async (): Promise<number> => {
          const { teacher: target, ...texts } = await teach(99);
          return meanCosine((await learner.observe(texts))[VECTORS]!, target!);
        };
        const before = await cosine();
        for (let i = 0; i < 60; i++) await learner.step(await teach(i % 12));
        const after = await cosine();
        assert.ok(1 - after < (1 - before) / 2, `cosine ${before} → ${after} on texts that it did not see`);

        const exported = withParameters(student.model, learner.weights());
        for (const name of width === undefined ? student.tables : []) {
          assert.equal(exported.graph.initializers.get(name), teacher.graph.initializers.get(name));
        }
        await learner.close();
        await oracle.close();
      });
  });
}

test('a table of tokens that is trained by the rows of each batch learns what it does as a whole', async () => {
  for (const encoder of [tinyBert, tinyLlama]) {
    const teacher = await toPlain(encoder());
    const student = await cutTransformer(teacher, 1);
    const tokens = student.tables.find((name) => /word|embed_tokens/.test(name));
    const optimizer = { rate: 0.01, steps: 20, weightDecay: 0 };
    const byRows = await transformerStep(student, { pooling: 'mean', optimizer, trainTables: true });
    assert.deepEqual(
      byRows.tables.map(({ table }) => table),
      [tokens],
    );
    // Unless tokens pick rows of the table itself, it is trained as a whole.
    const { graph } = student.model;
    const copy = {
      op: 'Identity',
      domain: '',
      name: 'copy',
      inputs: [tokens!],
      outputs: ['copy'],
      attributes: {},
    };
    const nodes = graph.nodes.map((node) =>
      node.inputs[0] === tokens ? { ...node, inputs: ['copy', node.inputs[1]!] } : node,
    );
    const copied = { ...student, model: { ...student.model, graph: { ...graph, nodes: [copy, ...nodes] } } };
    const whole = await transformerStep(copied, { pooling: 'mean', optimizer, trainTables: true });
    assert.deepEqual(whole.tables, []);
    const [a, b] = [
      await Trainer.create(byRows, { threads: 1 }),
      await Trainer.create(whole, { threads: 1 }),
    ];
    const step = async (trainer: Trainer, seed: number): Promise<number> => {
      const texts = batch(student.model, seed);
      const target = float32(
        [8, TINY.width],
        Array.from({ length: 8 * TINY.width }, (_, i) => Math.cos(i)),
      );
      return (await trainer.step({ ...texts, teacher: target })).loss;
    };
    // The same tokens in every step: a row that is not used stays as it is, and would be carried on as part of a whole.
    for (let i = 0; i < 5; i++) assert.ok(Math.abs((await step(a, 1)) - (await step(b, 1))) < 1e-4);
    const [rows, table] = [a, b].map((trainer) => toNumbers(trainer.weights().get(tokens!)!));
    rows!.forEach((x, i) => assert.ok(Math.abs(x - table![i]!) < 1e-4, `${x} is not ${table![i]}`));
    const before = student.model.graph.initializers.get(tokens!)!.data;
    assert.ok(rows!.some((x, i) => x !== before[i]) && rows!.some((x, i) => x === before[i]));
    const { [VECTORS]: seen } = await a.observe(batch(student.model, 2));
    const resumed = await Trainer.create(byRows, { threads: 1, state: structuredClone(a.state()) });
    assert.deepEqual((await resumed.observe(batch(student.model, 2)))[VECTORS], seen);
    assert.equal(await step(resumed, 3), await step(a, 3));
    assert.deepEqual(resumed.state(), a.state());
    for (const trainer of [a, b, resumed]) await trainer.close();
  }
});

function meanCosine(a: Tensor, b: Tensor): number {
  const [x, y] = [toNumbers(a), toNumbers(b)];
  const width = a.dims[1]!;
  let sum = 0;
  for (let row = 0; row < a.dims[0]!; row++) {
    let [xy, xx, yy] = [0, 0, 0];
    for (let i = row * width; i < (row + 1) * width; i++) {
      xy += x[i]! * y[i]!;
      xx += x[i]! ** 2;
      yy += y[i]! ** 2;
    }
    sum += xy / Math.sqrt(xx * yy);
  }
  return sum / a.dims[0]!;
}

test('of a space that is cut short, the first components are trained', async () => {
  const student = await cutTransformer(await toPlain(tinyBert()), 2);
  const options = { pooling: 'mean', optimizer: { rate: 0.01, steps: 20 }, dimensions: 3 } as const;
  const trainer = await Trainer.create(await transformerStep(student, options), { threads: 1 });
  const texts = batch(student.model, 1);
  const teacher = float32(
    [8, 3],
    Array.from({ length: 24 }, (_, i) => Math.cos(i)),
  );
  const first = await trainer.step({ ...texts, teacher });
  for (let i = 0; i < 18; i++) await trainer.step({ ...texts, teacher });
  const last = await trainer.step({ ...texts, teacher });
  assert.deepEqual((await trainer.observe(texts))[VECTORS]!.dims, [8, 3]);
  assert.ok(last.loss < first.loss, `${first.loss} → ${last.loss}`);
  await trainer.close();
});

test('layers are spread from the first to the last', () => {
  assert.deepEqual(spread(1, 6), [0]);
  assert.deepEqual(spread(2, 6), [0, 5]);
  assert.deepEqual(spread(4, 6), [0, 2, 3, 5]);
  assert.deepEqual(spread(6, 6), [0, 1, 2, 3, 4, 5]);
});

test('a student is refused that has more layers than its teacher, or layers out of order', async () => {
  const teacher = await toPlain(tinyBert());
  const refuses = (layers: number | number[], words: RegExp): Promise<void> =>
    assert.rejects(cutTransformer(teacher, layers), (error: OnnxError) => words.test(error.message));
  await refuses(3, /3 layers can't be cut from a teacher of 2/);
  await refuses(0, /0 layers/);
  await refuses([1, 0], /can't keep layers \[1, 0\] of 2/);
});
