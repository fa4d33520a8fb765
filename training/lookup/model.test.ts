import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InferenceSession, Tensor as RuntimeTensor } from '../../towers/session/onnxruntime.ts';
import { quantizeWeights } from '../onnx/quantize.ts';
import { float32, toNumbers, type Tensor } from '../onnx/tensor.ts';
import { noise } from '../testing/noise.ts';
import { encodeModel } from '../onnx/write.ts';
import { LOG_WEIGHTS, lookupModel, PAIR_VECTORS, POSITIONS, SEEKS, SHOWS, TOKEN_VECTORS } from './model.ts';
import { PairDictionary } from './pair-dictionary.ts';
import { LookupTrainer } from './trainer.ts';

const [TOKENS, DIMENSIONS] = [300, 12];

const TEXTS = [[5, 17, 290, 17, 5], [17, 290], [1], [0, 0, 299]];

/** Unit rows of the vectors that a graph makes of {@link TEXTS}, all in one batch, padded. */
async function run(model: ReturnType<typeof lookupModel>): Promise<number[][]> {
  const session = await InferenceSession.create(encodeModel(model), { logSeverityLevel: 3 });
  const length = Math.max(...TEXTS.map((ids) => ids.length));
  const ids = TEXTS.flatMap((text) => Array.from({ length }, (_, at) => BigInt(text[at] ?? 0)));
  const mask = TEXTS.flatMap((text) => Array.from({ length }, (_, at) => (at < text.length ? 1n : 0n)));
  const feed = (values: bigint[]): RuntimeTensor =>
    new RuntimeTensor('int64', values, [TEXTS.length, length]);
  const { sentence_embedding: output } = await session.run({
    input_ids: feed(ids),
    attention_mask: feed(mask),
  });
  await session.release();
  return unitRows(output!.data as Float32Array);
}

function unitRows(data: Float32Array): number[][] {
  return TEXTS.map((_, row) => {
    const vector = [...data.subarray(row * DIMENSIONS, (row + 1) * DIMENSIONS)];
    const length = Math.hypot(...vector);
    return vector.map((x) => x / length);
  });
}

/** What a trainer has learned: anything will do. */
function tables(pairs: number, positions = 0): Map<string, Tensor> {
  return new Map([
    [TOKEN_VECTORS, noise([TOKENS, DIMENSIONS], 1)],
    [LOG_WEIGHTS, noise([TOKENS], 2)],
    [SEEKS, noise([TOKENS, 32], 3)],
    [SHOWS, noise([TOKENS, 32], 4)],
    ...(pairs > 1 ? [[PAIR_VECTORS, withoutFirst(noise([pairs, DIMENSIONS], 5))] as const] : []),
    ...(positions > 0 ? [[POSITIONS, noise([positions], 6)] as const] : []),
  ]);
}

function withoutFirst({ dims, data }: Tensor): Tensor {
  const values = Float32Array.from(data as Float32Array);
  values.fill(0, 0, DIMENSIONS);
  return float32(dims, values);
}

for (const { limit, positions } of [
  { limit: 0, positions: 0 },
  { limit: 200, positions: 0 },
  { limit: 200, positions: 3 },
]) {
  test(`the graph is what the trainer trained, ${limit} pairs at the most, ${positions} positions, and nearly so in eight bits`, async (context) => {
    const seen = [...TEXTS, ...TEXTS, ...Array.from({ length: 300 }, (_, i) => [i % 50, (i * 7) % 50])];
    const dictionary = PairDictionary.of(seen, TOKENS, limit);
    assert.equal(dictionary.size > 5, limit > 0);
    const weights = tables(dictionary.size, positions);
    const trainer = await LookupTrainer.create({
      dimensions: DIMENSIONS,
      vectors: toNumbers(weights.get(TOKEN_VECTORS)!) as Float32Array,
      pairs: dictionary.size > 1 ? dictionary.size : 0,
      positions,
      optimizer: { rate: 1, steps: 1 },
      threads: 1,
    });
    context.after(() => trainer.close());
    const state = trainer.state();
    for (const [name, { data }] of weights) (state.get(name)!.data as Float32Array).set(data as Float32Array);
    const expected = unitRows(
      trainer.encode(TEXTS.map((tokens) => ({ tokens, pairs: dictionary.rowsOf(tokens) }))),
    );
    const model = lookupModel(trainer.weights(), dictionary);
    for (const [graph, tolerance] of [
      [model, 1e-5],
      [quantizeWeights(model), 0.02],
    ] as const) {
      const found = await run(graph);
      found.forEach((vector, row) =>
        vector.forEach((x, d) => {
          const error = Math.abs(x - expected[row]![d]!);
          assert.ok(error < tolerance, `text ${row}, dimension ${d}: ${x} is not ${expected[row]![d]}`);
        }),
      );
    }
  });
}

test('a text of one token alone has no pairs, and a vector all the same', async () => {
  const dictionary = PairDictionary.of([...TEXTS, ...TEXTS], TOKENS, 100);
  const model = lookupModel(tables(dictionary.size), dictionary);
  const session = await InferenceSession.create(encodeModel(model), { logSeverityLevel: 3 });
  const one = (value: bigint): RuntimeTensor => new RuntimeTensor('int64', [value], [1, 1]);
  const { sentence_embedding: output } = await session.run({ input_ids: one(7n), attention_mask: one(1n) });
  await session.release();
  const vector = toNumbers(tables(1).get(TOKEN_VECTORS)!).subarray(7 * DIMENSIONS, 8 * DIMENSIONS);
  const cosine = [...vector].reduce((sum, x, d) => sum + x * Number(output!.data[d]), 0);
  assert.ok(cosine / (Math.hypot(...vector) * Math.hypot(...(output!.data as Float32Array))) > 0.9999);
});
