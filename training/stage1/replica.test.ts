import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test, type TestContext } from 'node:test';
import { TrainingError } from '../errors.ts';
import { GraphBuilder } from '../onnx/builder.ts';
import { OnnxError } from '../onnx/errors.ts';
import { TINY, tinyBert, tinyLlama } from '../testing/tiny-models.ts';
import { int, type Model } from '../onnx/model.ts';
import { toNumbers } from '../onnx/tensor.ts';
import { seededRandom } from '../random.ts';
import { Contrast, exclusions } from './contrast.ts';
import { LocalReplica, type Replica, type ReplicaPlan } from './replica.ts';
import { tinyBase } from '../testing/tiny-base.ts';
import { openReplicas, ReplicaGroup } from './replica-group.ts';

function planFor(directory: string, changes: Partial<ReplicaPlan> = {}): ReplicaPlan {
  return {
    directory,
    manifest: { pooling: 'mean', dimensions: TINY.width },
    shared: true,
    queryStudent: undefined,
    trainTables: false,
    optimizer: { rate: 0.01, steps: 4, weightDecay: 0 },
    threads: 1,
    ...changes,
  };
}

const random = seededRandom(5);
const someTexts = (count: number): number[][] =>
  Array.from({ length: count }, () =>
    Array.from({ length: 2 + Math.floor(random() * 9) }, () => Math.floor(random() * TINY.vocabulary)),
  );
// More texts of more lengths than fit into one run.
const [QUERIES, DOCUMENTS] = [someTexts(150), someTexts(170)];
const KEYS = [QUERIES, DOCUMENTS].map((texts) => texts.map((ids) => ids.join(' '))) as [string[], string[]];

async function openContrast(context: TestContext): Promise<Contrast> {
  const options = { dimensions: TINY.width, normalize: true, temperature: 0.2 };
  const contrast = await Contrast.open(options, 1);
  context.after(() => contrast.close());
  return contrast;
}

/** Loss and gradient of one batch. */
async function differentiateBatch(replica: Replica, contrast: Contrast) {
  const queries = await replica.encode('query', QUERIES);
  const documents = await replica.encode('document', DOCUMENTS);
  const found = await contrast.run(queries, documents, exclusions(...KEYS));
  await replica.accumulate('query', QUERIES, found.queries);
  await replica.accumulate('document', DOCUMENTS, found.documents);
  return { loss: found.loss, gradient: await replica.gradient() };
}

for (const [family, model, shared] of [
  ['BERT, shared weights', tinyBert(), true],
  ['Llama, weights for each side', tinyLlama(), false],
] as const) {
  test(`the cached gradient is that of the loss over the whole batch: ${family}`, async (context) => {
    const contrast = await openContrast(context);
    const plan = planFor(tinyBase(context, model), { shared });
    const replica = await LocalReplica.open(plan);
    context.after(() => replica.close());
    const { gradient } = await differentiateBatch(replica, contrast);
    const state = await replica.state();
    const names = [...state.keys()].filter((name) => /^(shared|query|document)\//.test(name));
    // Along the gradient itself the loss changes by its squared length.
    const length = Math.hypot(...gradient);
    const lossAt = async (step: number): Promise<number> => {
      const moved = new Map(state);
      let at = 0;
      for (const name of names) {
        const value = state.get(name)!;
        const data = Float32Array.from(toNumbers(value), (x) => x + (step * gradient[at++]!) / length);
        moved.set(name, { ...value, data });
      }
      assert.equal(at, gradient.length);
      const other = await LocalReplica.open(plan, { state: moved });
      const { loss } = await differentiateBatch(other, contrast);
      await other.close();
      return loss;
    };
    const slope = ((await lossAt(5e-3)) - (await lossAt(-5e-3))) / 1e-2;
    assert.ok(Math.abs(slope / length - 1) < 0.01, `slope ${slope}, gradient ${length}`);
  });
}

test('processes that share a batch take the step that one takes with the whole of it', async (context) => {
  const contrast = await openContrast(context);
  const plan = planFor(tinyBase(context), {
    shared: false,
    queryStudent: { kind: 'transformer', layers: 1 },
    trainTables: true,
  });
  const alone = await LocalReplica.open(plan);
  context.after(() => alone.close());
  const pooled = await openReplicas(plan, { workers: 3, encoders: new Map() });
  context.after(() => pooled.close());
  for (let step = 1; step <= 2; step++) {
    const one = await differentiateBatch(alone, contrast);
    const many = await differentiateBatch(pooled, contrast);
    assert.ok(Math.abs(one.loss - many.loss) < 1e-5);
    const length = Math.hypot(...one.gradient);
    const distance = Math.hypot(...one.gradient.map((x, i) => x - many.gradient[i]!));
    assert.ok(distance < 1e-5 * length, `gradients of length ${length} differ by ${distance}`);
    const [a, b] = [await alone.update(), await pooled.update()];
    assert.equal(a.step, step);
    assert.deepEqual([b.step, b.learningRate], [a.step, a.learningRate]);
  }
  const [a, b] = [await alone.encode('query', QUERIES), await pooled.encode('query', QUERIES)];
  assert.ok(a.every((x, i) => Math.abs(x - b[i]!) < 1e-3));
});

test('a process that dies is told at once, whoever waits for it', async (context) => {
  const children = `/proc/${process.pid}/task/${process.pid}/children`;
  if (!existsSync(children)) return context.skip('processes are not to be seen here');
  const pooled = await openReplicas(planFor(tinyBase(context)), { workers: 2, encoders: new Map() });
  context.after(() => pooled.close());
  const [first] = readFileSync(children, 'utf8').trim().split(' ').map(Number);
  const told = (error: unknown): boolean =>
    error instanceof TrainingError && error.reason === 'WORKER_FAILED' && /SIGKILL/.test(error.message);
  process.kill(first!, 'SIGKILL');
  await assert.rejects(pooled.encode('query', QUERIES), told);
  await assert.rejects(pooled.update(), told);
});

test('an upstream gradient that is no number leaves the weights as they are', async (context) => {
  const replica = await LocalReplica.open(planFor(tinyBase(context)));
  context.after(() => replica.close());
  const before = await replica.encode('query', QUERIES);
  await replica.accumulate('query', QUERIES, new Float32Array(before.length).fill(NaN));
  assert.ok(Number.isNaN((await replica.update()).gradientNorm));
  assert.deepEqual(await replica.encode('query', QUERIES), before);
});

test('a base with an operator that has no gradient is refused, and the operator is named', async (context) => {
  const g = new GraphBuilder(tinyBert());
  const { name } = g.build().graph.outputs[0]!;
  const wild = g.node('Hardmax', [name], {});
  const mixed = g.node('Mul', [wild, name]);
  g.output('sentence_embedding', g.node('ReduceMean', [mixed, g.ints([1])], { keepdims: int(0) }));
  const model: Model = g.build();
  const plan = planFor(tinyBase(context, model));
  const refusal = (error: unknown): boolean => {
    assert.ok(error instanceof Error);
    assert.match(error.message, /Hardmax .* has no gradient/);
    return true;
  };
  await assert.rejects(LocalReplica.open(plan), (error) => error instanceof OnnxError && refusal(error));
  await assert.rejects(openReplicas(plan, { workers: 2, encoders: new Map() }), refusal);
});

test('a group with fewer texts than replicas leaves some idle', async (context) => {
  const directory = tinyBase(context);
  const replicas = [await LocalReplica.open(planFor(directory)), await LocalReplica.open(planFor(directory))];
  const group = new ReplicaGroup(replicas);
  context.after(() => group.close());
  const one = QUERIES.slice(0, 1);
  assert.deepEqual(await group.encode('query', one), await replicas[0]!.encode('query', one));
});
