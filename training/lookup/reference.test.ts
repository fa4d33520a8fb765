import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LossWeights } from '../gradient/losses.ts';
import type { OptimizerOptions } from '../gradient/optimizer.ts';
import { runAsIs } from '../onnx/run.ts';
import { int64, toNumbers, type Tensor } from '../onnx/tensor.ts';
import { assertClose, type Numbers, readReference, tensorOf } from '../testing/reference.ts';
import { lookupModel } from './model.ts';
import { PairDictionary } from './pair-dictionary.ts';
import { LookupTrainer } from './trainer.ts';

interface Reference {
  texts: number[][];
  /** First and second token of a pair, and its row. */
  pairs: [number, number, number][];
  pairRows: number[][];
  tables: Record<string, Numbers>;
  /** Vectors of the texts: as the graph makes them, and over the sum of the tokens' weights. */
  sums: Numbers;
  means: Numbers;
  scale: number;
  teacher: Numbers;
  optimizer: OptimizerOptions;
  loss: LossWeights;
  steps: { loss: number; rate: number; norm: number }[];
  after: Record<string, Numbers>;
}

const reference = readReference<Reference>('lookup');
const tables = new Map(Object.entries(reference.tables).map(([name, value]) => [name, tensorOf(value)]));

test('vectors of the graph are those of PyTorch: weights by token, position and context, pairs, padding', async () => {
  const { texts, pairs, sums } = reference;
  // As often as their order needs: the first row is that of the most frequent pair.
  const seen = pairs.flatMap(([first, second, row]) =>
    Array.from({ length: 10 - row }, () => [first, second]),
  );
  const dictionary = PairDictionary.of(seen, 6, 100);
  assert.deepEqual(
    pairs.map(([first, second]) => dictionary.rowsOf([first, second])),
    pairs.map(([, , row]) => [row]),
  );
  const length = Math.max(...texts.map((text) => text.length));
  const padded = (value: (text: number[], at: number) => number): Tensor =>
    int64(
      texts.flatMap((text) => Array.from({ length }, (_, at) => value(text, at))),
      [texts.length, length],
    );
  const feeds = {
    input_ids: padded((text, at) => text[at] ?? 0),
    attention_mask: padded((text, at) => (at < text.length ? 1 : 0)),
  };
  const [found] = await runAsIs(lookupModel(tables, dictionary), [feeds]);
  assertClose(toNumbers(found!['sentence_embedding']!), sums, 'vectors');
});

test('steps of the trainer are those of PyTorch: loss, gradient, clipping, warm-up, decay', async (context) => {
  const { texts, pairRows, scale, teacher, optimizer, loss, steps, after, means } = reference;
  const options = {
    dimensions: 4,
    vectors: toNumbers(tables.get('vectors')!) as Float32Array,
    pairs: 3,
    positions: 3,
    scale,
    optimizer,
    loss,
    threads: 1,
  };
  const fresh = await LookupTrainer.create(options);
  // A run that goes on from the reference's tables, with moments of 0.
  const state = new Map([...fresh.state()].map(([name, value]) => [name, tables.get(name) ?? value]));
  await fresh.close();
  const trainer = await LookupTrainer.create({ ...options, state });
  context.after(() => trainer.close());
  const batch = texts.map((tokens, index) => ({ tokens, pairs: pairRows[index]! }));
  assertClose(trainer.encode(batch), means, 'vectors');
  for (const [index, expected] of steps.entries()) {
    const report = await trainer.step(batch, tensorOf(teacher).data as Float32Array);
    assertClose([report.loss], expected.loss, `loss of step ${index + 1}`);
    // The third gradient is steep: what float32 loses in the weights it shows thirty times over.
    assertClose([report.gradientNorm], expected.norm, `gradient of step ${index + 1}`, 1e-4);
    assertClose([report.learningRate], expected.rate, `rate of step ${index + 1}`, 1e-7);
  }
  for (const [name, value] of trainer.weights())
    assertClose(toNumbers(value), after[name]!, `${name} after the steps`, 2e-5);
});
