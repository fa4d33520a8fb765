import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { openTower } from '../../towers/open.ts';
import { temporaryFolder } from '../../towers/testing/tiny-tower.ts';
import { TrainingError } from '../errors.ts';
import { LookupTrainer } from '../lookup/trainer.ts';
import { letterPairs, linesFile, tinyBase } from '../testing/tiny-base.ts';
import { readEncoders, type ReplicaPlan } from './replica.ts';
import { openSides } from './sides.ts';
import { train } from './train.ts';

const WIDTH = 8;

const planFor = (directory: string, changes: Partial<ReplicaPlan>): ReplicaPlan => ({
  directory,
  manifest: { pooling: 'mean', dimensions: WIDTH },
  shared: false,
  queryStudent: { kind: 'transformer', layers: 1 },
  trainTables: false,
  optimizer: { rate: 0.01, steps: 4, weightDecay: 0 },
  threads: 1,
  ...changes,
});

test("a lookup's step by vectors is its step by a loss that is computed elsewhere", async (context) => {
  const vectors = Float32Array.from({ length: 20 * WIDTH }, (_, i) => Math.sin(i));
  const optimizer = { rate: 0.01, steps: 4, weightDecay: 0 };
  const open = async (): Promise<LookupTrainer> => {
    // The mean square error alone, whose derivative is known: 2 (student - teacher) / count.
    const loss = { mse: 1, cosine: 0 };
    const trainer = await LookupTrainer.create({ dimensions: WIDTH, vectors, optimizer, loss, threads: 1 });
    context.after(() => trainer.close());
    return trainer;
  };
  const texts = [
    { tokens: [1, 2, 3], pairs: [] },
    { tokens: [2, 2, 7], pairs: [] },
  ];
  const teacher = Float32Array.from({ length: 2 * WIDTH }, (_, i) => Math.cos(i));
  const [byLoss, byVectors, inParts] = [await open(), await open(), await open()];
  const report = await byLoss.step(texts, teacher);
  const upstream = byVectors.encode(texts).map((x, i) => (2 * (x - teacher[i]!)) / teacher.length);
  byVectors.accumulate(texts, upstream);
  for (const [row, text] of texts.entries()) {
    inParts.accumulate([text], upstream.subarray(row * WIDTH, (row + 1) * WIDTH));
  }
  for (const trainer of [byVectors, inParts]) {
    const found = trainer.update();
    assert.ok(Math.abs(found.gradientNorm - report.gradientNorm) < 1e-6 * report.gradientNorm);
    const expected = byLoss.weights();
    for (const [name, { data }] of trainer.weights()) {
      const other = expected.get(name)!.data as Float32Array;
      for (const [i, x] of (data as Float32Array).entries()) assert.ok(Math.abs(x - other[i]!) < 1e-5, name);
    }
  }
});

test('documents that stay as they are have the vectors of their tower, before and after steps', async (context) => {
  const base = tinyBase(context);
  const plan = planFor(base, { frozenDocuments: true });
  const replica = await openSides(plan, { encoders: await readEncoders(plan) });
  context.after(() => replica.close());
  const tower = await openTower(base, { normalize: false });
  context.after(() => tower.close());
  const tokens = await tower.tokenizeAll(['a b c', 'd', 'e f g h i']);
  const texts = tokens.map(({ ids }) => ids);
  const expected = await tower.encodeAll(tokens);
  const queries = await replica.encode('query', texts);
  for (let step = 0; step < 2; step++) {
    const found = await replica.encode('document', texts);
    for (const [i, x] of found.entries()) assert.ok(Math.abs(x - expected[i]!) < 1e-5);
    await replica.accumulate('query', texts, queries.map(Math.sign));
    await replica.accumulate('document', texts, found);
    await replica.update();
  }
  const moved = await replica.encode('query', texts);
  assert.ok(moved.some((x, i) => Math.abs(x - queries[i]!) > 1e-4));
});

test('a tower that starts from random weights is no relative of its base, and the same one for its seed', async (context) => {
  const base = tinyBase(context);
  const queryOf = async (changes: Partial<ReplicaPlan>) =>
    (await readEncoders(planFor(base, changes))).get('query')!;
  const [own, first, again, other] = [
    await queryOf({}),
    await queryOf({ queryStart: 'random', seed: 1 }),
    await queryOf({ queryStart: 'random', seed: 1 }),
    await queryOf({ queryStart: 'random', seed: 2 }),
  ];
  const weightsOf = ({ model }: typeof own, names: readonly string[]) =>
    names.map((name) => [...(model.graph.initializers.get(name)!.data as Float32Array)]);
  assert.ok(first.weights.length > own.weights.length, 'its tables are trained');
  const names = first.weights;
  assert.deepEqual(weightsOf(first, names), weightsOf(again, names));
  const matrices = names.filter((name) => first.model.graph.initializers.get(name)!.dims.length === 2);
  for (const [i, values] of weightsOf(first, matrices).entries()) {
    assert.notDeepEqual(values, weightsOf(own, matrices)[i]);
    assert.notDeepEqual(values, weightsOf(other, matrices)[i]);
    const deviation = Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);
    assert.ok(deviation > 0.01 && deviation < 0.03, `${matrices[i]}: ${deviation}`);
  }
  const flat = names.filter((name) => !matrices.includes(name));
  for (const values of weightsOf(first, flat)) assert.ok([0, 1].includes(values[0]!));
  assert.ok(
    weightsOf(first, flat).some(([x]) => x === 1),
    'norms have gains of 1',
  );
});

test('a lookup learns end to end, from the tokens of its base or from nothing', async (context) => {
  const folder = temporaryFolder(context);
  const request = {
    base: tinyBase(context),
    pairs: linesFile(context, letterPairs(600)),
    queryStudent: { kind: 'lookup' },
    steps: 40,
    batch: 32,
    rate: 0.02,
    threads: 1,
    cacheDir: folder,
  } as const;
  const own = await train({ ...request, out: join(folder, 'own') });
  assert.ok(own.heldOut.recall10.trained > own.heldOut.recall10.base);
  const random = await train({ ...request, queryStart: 'random', out: join(folder, 'random') });
  assert.ok(random.flops < own.flops, 'it does not read the vocabulary');
  assert.equal(random.parameters, own.parameters);
  const refuses = (changes: object, message: RegExp): Promise<void> =>
    assert.rejects(train({ ...request, ...changes, out: join(folder, 'none') }), (error) => {
      assert.ok(error instanceof TrainingError && error.reason === 'REQUEST_INVALID');
      assert.match(error.message, message);
      return true;
    });
  await refuses({ workers: 2 }, /are trained by one process: leave workers out/);
  await refuses({ precision: 'int8' }, /written in fp32: leave the precision out/);
  await refuses({ separate: false }, /has weights of its own/);
});
