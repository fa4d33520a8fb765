import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeLoss } from '../distill/request.ts';
import { GraphBuilder } from '../onnx/builder.ts';
import { prune } from '../onnx/prune.ts';
import { runAsIs } from '../onnx/run.ts';
import { toNumbers } from '../onnx/tensor.ts';
import { assertClose, type Numbers, readReference, tensorOf } from '../testing/reference.ts';
import { differentiate } from './differentiate.ts';
import { distillationLoss, seesDocuments, type LossWeights } from './losses.ts';

interface Vectors {
  student: Numbers;
  teacher: Numbers;
  documents?: Numbers;
}

/** The loss, and its gradient by the student's vectors. */
async function lossOf(
  vectors: Vectors,
  weights?: LossWeights,
): Promise<{ loss: number; gradient: number[] }> {
  const g = new GraphBuilder();
  const width = (vectors.student[0] as Numbers).length;
  const needed = Object.entries(vectors).filter(
    ([name]) => name !== 'documents' || seesDocuments(weights ?? {}),
  );
  for (const [name] of needed) g.input(name, 'float32', ['batch', width]);
  const names = { student: 'student', teacher: 'teacher', documents: 'documents' };
  g.output('loss', distillationLoss(g, names, weights));
  const { g: both, gradients } = await differentiate(g.build(), 'loss', ['student']);
  const gradient = both.output('gradient', gradients.get('student')!);
  // What a loss that weighs a side by 0 does not read is no input any more.
  const model = prune(both.build(), ['loss', gradient]);
  const read = new Set(model.graph.inputs.map(({ name }) => name));
  const feeds = needed.filter(([name]) => read.has(name)).map(([name, value]) => [name, tensorOf(value)]);
  const [found] = await runAsIs(model, [Object.fromEntries(feeds)]);
  return { loss: toNumbers(found!['loss']!)[0]!, gradient: [...toNumbers(found!['gradient']!)] };
}

test('losses and gradients are those of PyTorch, for every combination of weights', async () => {
  const { cases, ...vectors } = readReference('losses') as Required<Vectors> & {
    cases: { weights: LossWeights; loss: number; gradient: Numbers }[];
  };
  assert.ok(cases.length >= 7);
  for (const { weights, loss, gradient } of cases) {
    const found = await lossOf(vectors, weights);
    assertClose([found.loss], loss, `loss of ${JSON.stringify(weights)}`);
    assertClose(found.gradient, gradient, `gradient of ${JSON.stringify(weights)}`);
  }
});

test('values that a head can check', async () => {
  const of = async (student: number[], teacher: number[], weights?: LossWeights): Promise<number> =>
    (await lossOf({ student: [student], teacher: [teacher] }, weights)).loss;
  // The same direction, half as long: the mean of 3² and 4² is 12.5, and 1 − cosine is 0. A teacher that were normalised
  // first, to (0.6, 0.8), would give the mean of 2.4² and 3.2²: 8.
  assertClose([await of([3, 4], [6, 8])], 12.5, 'half as long');
  // At right angles: (1² + 1²) / 2 + (1 − 0).
  assertClose([await of([1, 0], [0, 1])], 2, 'at right angles');
  // Opposite: (2² + 0²) / 2 + (1 − −1).
  assertClose([await of([1, 0], [-1, 0])], 4, 'opposite');
  assertClose([await of([1, 0], [-1, 0], { mse: 0.25, cosine: 3 })], 0.5 + 6, 'opposite, weighted');
  // Cosine 24/25 of (3, 4) and (4, 3), however long the teacher's vector is.
  for (const length of [1, 100])
    assertClose([await of([3, 4], [4 * length, 3 * length], { mse: 0 })], 0.04, '1 - 24/25');
});

test('in-batch negatives that a head can check', async () => {
  // Each text scores 1 / 0.5 = 2 with its own document and 0 with the other: ln(e² + 1) − 2 = 0.126928.
  const axes = [
    [1, 0],
    [0, 1],
  ];
  const vectors = { student: axes, teacher: axes, documents: axes };
  const weights = { mse: 0, cosine: 0, contrastive: 1 };
  assertClose([(await lossOf(vectors, { ...weights, temperature: 0.5 })).loss], 0.126928, 'temperature 0.5');
  // At the default, 0.05: ln(e²⁰ + 1) − 20 = 2.06e-9; with the documents swapped, 20 more.
  const swapped = { ...vectors, documents: axes.toReversed() };
  assertClose([(await lossOf(swapped, weights)).loss], 20, 'temperature 0.05');
});

test('how documents are ranked, so that a head can check it', async () => {
  const axes = [
    [1, 0],
    [0, 1],
  ];
  const weights = { mse: 0, cosine: 0, ranking: 1, temperature: 0.5 };
  const of = async (student: number[][], teacher: number[][]): Promise<number> =>
    (await lossOf({ student, teacher, documents: axes }, weights)).loss;
  assertClose([await of(axes, axes)], 0, 'the same');
  assertClose([await of([[2, 0]], [[5, 0]])], 0, 'the same, however long');
  // The teacher's shares are e² / (e² + 1) and 1 / (e² + 1), the student's the other way round: the difference of the
  // shares, 0.761594, times that of their logarithms, 2.
  assertClose([await of(axes.toReversed(), axes)], 1.523188, 'swapped');
  // A student that can't tell them: ln 2 less the teacher's entropy, 0.365335.
  assertClose([await of([[1, 1]], [[1, 0]])], 0.327812, 'undecided');
});

test('a vector of zeros has a loss, and a gradient of numbers', async () => {
  const { loss, gradient } = await lossOf({ student: [[0, 0]], teacher: [[3, 4]] });
  assertClose([loss], 12.5 + 1, 'loss');
  // Of the MSE: (0 − 3, 0 − 4), twice, over 2 elements. Of 1 − cosine: towards the teacher, (0.6, 0.8).
  assertClose(gradient, [-3 - 0.6, -4 - 0.8], 'gradient');
});

test('a vector shorter than 1e-12 has no direction', async () => {
  for (const [length, cosine] of [
    [1e-11, 1],
    [1e-13, 0],
  ] as const) {
    const vectors = { student: [[length, 0]], teacher: [[1, 0]] };
    assertClose([(await lossOf(vectors, { mse: 0 })).loss], 1 - cosine, `length ${length}`);
  }
});

test('a term that counts 0 is not computed', () => {
  const g = new GraphBuilder();
  for (const name of ['student', 'teacher']) g.input(name, 'float32', ['batch', 2]);
  g.output('loss', distillationLoss(g, { student: 'student', teacher: 'teacher' }, { cosine: 0 }));
  const operators = g.build().graph.nodes.map(({ op }) => op);
  assert.deepEqual(operators, ['Sub', 'Mul', 'ReduceMean', 'Mul']);
});

test('a loss is told as it is computed: nothing said is MSE + (1 − cosine), each once', () => {
  assert.equal(describeLoss({}), 'mse + (1 - cosine)');
  assert.equal(
    describeLoss({ mse: 0.5, cosine: 2, contrastive: 0.2 }),
    '0.5 * mse + 2 * (1 - cosine) + 0.2 * contrastive',
  );
});
