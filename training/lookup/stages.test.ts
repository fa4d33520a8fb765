import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LookupEncoder } from '../../towers/lookup/encoder.ts';
import { parseStages } from '../../towers/lookup/stages.ts';
import type { Model } from '../onnx/model.ts';
import { quantizeWeights } from '../onnx/quantize.ts';
import { runAsIs } from '../onnx/run.ts';
import { float32, int64, toNumbers, type Tensor } from '../onnx/tensor.ts';
import { encodeModel } from '../onnx/write.ts';
import { seededRandom } from '../random.ts';
import { noise } from '../testing/noise.ts';
import {
  LOG_WEIGHTS,
  lookupModel,
  lookupStages,
  PAIR_VECTORS,
  POSITIONS,
  PROJECTION,
  SEEKS,
  SHOWS,
  TOKEN_VECTORS,
} from './model.ts';
import { PairDictionary } from './pair-dictionary.ts';

const [TOKENS, DIMENSIONS] = [300, 96];

const random = seededRandom(3);
const TEXTS = Array.from({ length: 40 }, (_, i) =>
  Array.from({ length: 1 + (i % 20) }, () => Math.floor(random() * (i % 2 === 0 ? 20 : TOKENS))),
);

/** What a trainer has learned: anything will do. */
function tables(width: number, pairs: number, positions: number): Map<string, Tensor> {
  const rows = noise([Math.max(1, pairs), width], 5);
  // The row of what is no pair.
  (rows.data as Float32Array).fill(0, 0, width);
  return new Map([
    [TOKEN_VECTORS, noise([TOKENS, width], 1)],
    [LOG_WEIGHTS, noise([TOKENS], 2)],
    [SEEKS, noise([TOKENS, 32], 3)],
    [SHOWS, noise([TOKENS, 32], 4)],
    ...(pairs > 1 ? [[PAIR_VECTORS, rows] as const] : []),
    ...(positions > 0 ? [[POSITIONS, noise([positions], 6)] as const] : []),
    ...(width < DIMENSIONS ? [[PROJECTION, noise([width, DIMENSIONS], 7)] as const] : []),
  ]);
}

async function byGraph(model: Model, ids: readonly number[]): Promise<number[]> {
  const feeds = {
    input_ids: int64([...ids], [1, ids.length]),
    attention_mask: int64(
      ids.map(() => 1),
      [1, ids.length],
    ),
  };
  const [found] = await runAsIs(model, [feeds]);
  const vector = [...toNumbers(found!['sentence_embedding']!)];
  const length = Math.hypot(...vector);
  return vector.map((x) => x / length);
}

for (const { kinds, limit, positions, width } of [
  { kinds: ['weights', 'tokens'], limit: 0, positions: 0, width: DIMENSIONS },
  { kinds: ['weights', 'tokens'], limit: 0, positions: 4, width: DIMENSIONS },
  { kinds: ['weights', 'tokens', 'pairs'], limit: 200, positions: 0, width: DIMENSIONS },
  { kinds: ['weights', 'tokens', 'projection'], limit: 0, positions: 0, width: 40 },
  { kinds: ['weights', 'tokens', 'pairs', 'projection'], limit: 200, positions: 3, width: 40 },
]) {
  test(`${kinds.join(', ')}: the stages give the graph's vectors to 1e-6; ${positions} positions`, async () => {
    const dictionary = PairDictionary.of([...TEXTS, ...TEXTS], TOKENS, limit);
    const weights = tables(width, dictionary.size, positions);
    const whole = lookupModel(weights, dictionary);
    for (const model of [
      whole,
      quantizeWeights(whole, [PROJECTION]),
      quantizeWeights(whole, [PROJECTION], 4),
    ]) {
      // As the manifest has it.
      const lookup = parseStages(JSON.parse(JSON.stringify(lookupStages(model, dictionary))));
      assert.deepEqual(
        lookup.stages.map(({ type }) => type),
        kinds,
      );
      const encoder = new LookupEncoder(encodeModel(model), {
        lookup,
        dimensions: DIMENSIONS,
        normalize: true,
      });
      let worst = 0;
      for (const ids of TEXTS) {
        const expected = await byGraph(model, ids);
        for (const [i, x] of encoder.vector(ids).entries())
          worst = Math.max(worst, Math.abs(x - expected[i]!));
      }
      assert.ok(worst < 1e-6, `${worst}`);
    }
  });
}

test('rows and a projection that do not fit are refused by name', () => {
  const weights = tables(40, 0, 0);
  weights.set(PROJECTION, float32([41, DIMENSIONS], new Float32Array(41 * DIMENSIONS)));
  const model = lookupModel(weights, PairDictionary.of([], TOKENS, 0));
  const lookup = lookupStages(model, PairDictionary.of([], TOKENS, 0));
  assert.throws(
    () => new LookupEncoder(encodeModel(model), { lookup, dimensions: DIMENSIONS, normalize: true }),
    /rows of "vectors" have 40 components, the rows of the projection 41/,
  );
});
