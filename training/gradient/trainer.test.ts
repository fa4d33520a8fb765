import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { GraphBuilder } from '../onnx/builder.ts';
import type { OnnxError } from '../onnx/errors.ts';
import { int, type Model } from '../onnx/model.ts';
import { toPlain } from '../onnx/rewrite/plain.ts';
import { runAsIs } from '../onnx/run.ts';
import { float32, int64, toNumbers, type Tensor } from '../onnx/tensor.ts';
import { noise } from '../testing/noise.ts';
import { TINY, tinyBatch, tinyBert, tinyLlama } from '../testing/tiny-models.ts';
import { pad } from '../padding.ts';
import { distillationLoss } from './losses.ts';
import { pool } from './pooling.ts';
import { buildStep, MEAN } from './step.ts';
import { checkGradients } from '../testing/gradients.ts';
import { Trainer } from './trainer.ts';

/** Pooled and compared with a teacher's vectors. */
function withLoss(encoder: Model, pooling: 'mean' | 'cls' | 'last'): Model {
  const g = new GraphBuilder(encoder);
  const student = pool(g, 'last_hidden_state', 'attention_mask', pooling);
  const teacher = g.input('teacher', 'float32', ['batch', TINY.width]);
  const documents = g.input('documents', 'float32', ['batch', TINY.width]);
  const weights = { mse: 0.7, cosine: 1.3, contrastive: 0.5, temperature: 0.5 };
  g.output('loss', distillationLoss(g, { student, teacher, documents }, weights));
  return g.build();
}

/** The same without the contrastive term: a mean over texts. */
function meanLoss(encoder: Model): Model {
  const g = new GraphBuilder(encoder);
  const student = pool(g, 'last_hidden_state', 'attention_mask', 'mean');
  const teacher = g.input('teacher', 'float32', ['batch', TINY.width]);
  g.output('loss', distillationLoss(g, { student, teacher }));
  return g.build();
}

/** Texts, with a teacher's vectors and documents for them. */
function batch(model: Model, texts = 3, length = 5, seed = 1): Record<string, Tensor> {
  const dims = [texts, TINY.width];
  return {
    ...tinyBatch(model, texts, length, seed),
    teacher: noise(dims, seed + 50),
    documents: noise(dims, seed + 51),
  };
}

function trainable({ graph }: Model): string[] {
  return [...graph.initializers.keys()].filter((name) => /weight|bias|embed/.test(name));
}

const FAMILIES = [
  ['BERT', tinyBert, 'mean'],
  ['BERT, first token', tinyBert, 'cls'],
  ['Llama', tinyLlama, 'last'],
] as const;

for (const [name, encoder, pooling] of FAMILIES) {
  describe(`a tiny encoder (${name})`, () => {
    test('has gradients that agree with finite differences, at every weight', async () => {
      const model = withLoss(await toPlain(encoder()), pooling);
      const weights = trainable(model);
      assert.ok(weights.length >= 20);
      await checkGradients(model, 'loss', weights, batch(model), { samples: 6, tolerance: 1e-6 });
    });

    test('learns: the loss falls over 50 steps of changing shape', async () => {
      const model = withLoss(await toPlain(encoder()), pooling);
      const optimizer = { rate: 0.02, steps: 50, warmup: 5 };
      const step = await buildStep(model, { loss: 'loss', weights: trainable(model), optimizer });
      const trainer = await Trainer.create(step, { threads: 1 });
      const batches = [batch(model, 3, 5, 1), batch(model, 2, 7, 2)];
      const losses: number[] = [];
      for (let i = 0; i < 50; i++) losses.push((await trainer.step(batches[i % 2]!)).loss);
      await trainer.close();
      const [before, after] = [losses[0]! + losses[1]!, losses[48]! + losses[49]!];
      assert.ok(after < before / 2, `${before} → ${after}`);
    });
  });
}

describe('a training step', () => {
  /** loss = mean of (w − x)², whose optimum is known. */
  async function quadratic(optimizer: Parameters<typeof buildStep>[1]['optimizer']): Promise<Trainer> {
    const g = new GraphBuilder();
    const difference = g.node('Sub', [
      g.initializer('w', float32([1, 2], [1, -3])),
      g.input('x', 'float32', [1, 2]),
    ]);
    const square = g.node('Mul', [difference, difference]);
    g.output('loss', g.node('ReduceMean', [square], { keepdims: int(0) }));
    const step = await buildStep(g.build(), { loss: 'loss', weights: ['w'], optimizer });
    return Trainer.create(step, { threads: 1 });
  }

  const x = float32([1, 2], [0, 0]);

  test('is AdamW with clipping, warm-up and cosine decay', async () => {
    const options = { rate: 0.1, steps: 6, warmup: 2, finalShare: 0.1, weightDecay: 0.05, maxNorm: 0.5 };
    const trainer = await quadratic(options);
    let w = [1, -3];
    let mean = [0, 0];
    let meanSquare = [0, 0];
    for (let t = 1; t <= 6; t++) {
      const { step, loss, gradientNorm, learningRate } = await trainer.step({ x });
      const norm = Math.hypot(...w);
      const clipped = w.map((each) => each * Math.min(1, options.maxNorm / norm));
      const share = t < 2 ? t / 2 : 0.1 + 0.45 * (1 + Math.cos((Math.PI * (t - 2)) / 4));
      const rate = options.rate * share;
      mean = mean.map((m, i) => 0.9 * m + 0.1 * clipped[i]!);
      meanSquare = meanSquare.map((v, i) => 0.999 * v + 0.001 * clipped[i]! ** 2);
      assert.equal(step, t);
      assert.ok(Math.abs(loss - (w[0]! ** 2 + w[1]! ** 2) / 2) < 1e-5);
      assert.ok(Math.abs(gradientNorm - norm) < 1e-5);
      assert.ok(Math.abs(learningRate - rate) < 1e-7);
      w = w.map((each, i) => {
        const direction = mean[i]! / (1 - 0.9 ** t) / (Math.sqrt(meanSquare[i]! / (1 - 0.999 ** t)) + 1e-8);
        return each * (1 - rate * options.weightDecay) - rate * direction;
      });
      toNumbers(trainer.weights().get('w')!).forEach((each, i) => assert.ok(Math.abs(each - w[i]!) < 1e-5));
    }
    await trainer.close();
  });

  test('goes on from a saved state as if it had never stopped', async () => {
    const model = withLoss(await toPlain(tinyBert()), 'mean');
    const optimizer = { rate: 0.01, steps: 6, warmup: 1 };
    const step = await buildStep(model, { loss: 'loss', weights: trainable(model), optimizer });
    const run = async (trainer: Trainer, from: number, to: number): Promise<void> => {
      for (let i = from; i < to; i++) await trainer.step(batch(model, 2, 6, i));
    };
    const whole = await Trainer.create(step, { threads: 1 });
    await run(whole, 0, 3);
    const state = new Map(
      [...whole.state()].map(([name, value]) => [name, { ...value, data: value.data.slice() }]),
    );
    await run(whole, 3, 6);
    const resumed = await Trainer.create(step, { threads: 1, state });
    await run(resumed, 3, 6);
    assert.deepEqual(resumed.state(), whole.state());
    await whole.close();
    await resumed.close();
  });

  test('in parts of different lengths is the step of the whole batch', async () => {
    const model = meanLoss(await toPlain(tinyBert()));
    const optimizer = { rate: 0.01, steps: 5 };
    const step = await buildStep(model, { loss: 'loss', weights: trainable(model), optimizer });
    const texts = [[5, 3, 2], [4, 6], [7, 2, 1, 3, 4], [1]];
    const teacher = [...toNumbers(noise([4, TINY.width], 3))];
    const feedsOf = (rows: readonly number[]): Record<string, Tensor> => {
      const { input_ids, attention_mask, token_type_ids } = pad(rows.map((row) => texts[row]!));
      const wanted = rows.flatMap((row) => teacher.slice(row * TINY.width, (row + 1) * TINY.width));
      return {
        input_ids: input_ids!,
        attention_mask: attention_mask!,
        token_type_ids: token_type_ids!,
        teacher: float32([rows.length, TINY.width], wanted),
      };
    };
    const whole = await Trainer.create(step, { threads: 1 });
    const parted = await Trainer.create(step, { threads: 1 });
    const expected = await whole.step(feedsOf([0, 1, 2, 3]));
    const found = await parted.step([
      { feeds: feedsOf([2]), share: 1 / 4 },
      { feeds: feedsOf([0, 1, 3]), share: 3 / 4 },
    ]);
    assert.ok(Math.abs(found.loss - expected.loss) < 1e-5, `${found.loss}, not ${expected.loss}`);
    assert.ok(Math.abs(found.gradientNorm / expected.gradientNorm - 1) < 1e-4);
    const [mine, theirs] = [parted.state(), whole.state()];
    for (const [name, value] of theirs) {
      if (!name.startsWith(MEAN)) continue;
      const other = toNumbers(mine.get(name)!);
      toNumbers(value).forEach((each, i) => assert.ok(Math.abs(each - other[i]!) < 1e-5, name));
    }
    await whole.close();
    await parted.close();
  });

  test('keeps the last good state when the loss is not finite', async () => {
    const trainer = await quadratic({ rate: 0.1, steps: 5 });
    await trainer.step({ x });
    const before = [...toNumbers(trainer.weights().get('w')!)];
    const report = await trainer.step({ x: float32([1, 2], [NaN, 0]) });
    assert.ok(Number.isNaN(report.loss));
    assert.deepEqual([...toNumbers(trainer.weights().get('w')!)], before);
    assert.equal((await trainer.step({ x })).step, 2);
    await trainer.close();
  });

  test('does not touch weights that are not trained', async () => {
    const model = withLoss(await toPlain(tinyBert()), 'mean');
    const optimizer = { rate: 0.01, steps: 5 };
    const step = await buildStep(model, { loss: 'loss', weights: ['layer.1.up.weight'], optimizer });
    const { graph } = step.graphs.get('')!.gradient;
    assert.ok(graph.initializers.has('layer.0.up.weight'));
    assert.ok(!graph.initializers.has('layer.1.up.weight'));
    // Layers before the trained one need no gradient.
    const products = graph.nodes.filter(({ op }) => op === 'FusedMatMul').length;
    assert.ok(products <= 4, `${products} products in the backward pass`);
  });

  test('is refused for options that can not be', async () => {
    const refuses = (options: Partial<Parameters<typeof quadratic>[0]>, words: RegExp): Promise<void> =>
      assert.rejects(quadratic({ rate: 0.1, steps: 5, ...options }), (error: OnnxError) =>
        words.test(error.message),
      );
    await refuses({ rate: 0 }, /learning rate is 0/);
    await refuses({ warmup: 6 }, /6 steps of warm-up do not fit into 5 steps/);
  });
});

test('pooling takes the mean, the first or the last token of each text', async () => {
  for (const [pooling, expected] of [
    ['mean', [1.5, 10]],
    ['cls', [1, 10]],
    ['last', [2, 10]],
  ] as const) {
    const g = new GraphBuilder();
    g.output('y', pool(g, g.input('x', 'float32', [2, 3, 1]), g.input('mask', 'int64', [2, 3]), pooling));
    const feeds = { x: float32([2, 3, 1], [1, 2, 3, 10, 20, 30]), mask: int64([1, 1, 0, 1, 0, 0], [2, 3]) };
    const [found] = await runAsIs(g.build(), [feeds]);
    assert.deepEqual([...toNumbers(found!['y']!)], expected);
  }
});
