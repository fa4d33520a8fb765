import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { quantizeWeights } from '../onnx/quantize.ts';
import { toPlain } from '../onnx/rewrite/plain.ts';
import { runAsIs } from '../onnx/run.ts';
import { int64, toNumbers, type Tensor } from '../onnx/tensor.ts';
import { noise } from '../testing/noise.ts';
import { LOG_WEIGHTS, lookupModel, PROJECTION, SEEKS, SHOWS, TOKEN_VECTORS } from './model.ts';
import { PairDictionary } from './pair-dictionary.ts';
import { ontoDirections, principalDirections } from './principal.ts';

const [TOKENS, WIDTH, DIMENSIONS] = [50, 40, 96];

function feeds(texts: readonly (readonly number[])[]): Record<string, Tensor> {
  const length = Math.max(...texts.map((text) => text.length));
  const fill = (value: (id: number | undefined) => number): Tensor =>
    int64(
      texts.flatMap((text) => Array.from({ length }, (_, place) => value(text[place]))),
      [texts.length, length],
    );
  return {
    input_ids: fill((id) => id ?? 0),
    attention_mask: fill((id) => (id === undefined ? 0 : 1)),
  };
}

describe('a lookup with a projection', () => {
  const model = lookupModel(
    new Map([
      [TOKEN_VECTORS, noise([TOKENS, WIDTH], 1)],
      [LOG_WEIGHTS, noise([TOKENS], 2)],
      [SEEKS, noise([TOKENS, 32], 3)],
      [SHOWS, noise([TOKENS, 32], 4)],
      [PROJECTION, noise([WIDTH, DIMENSIONS], 5)],
    ]),
    PairDictionary.of([], TOKENS, 0),
  );
  const eight = quantizeWeights(model, [PROJECTION]);
  const texts = [[1, 2, 3, 4], [7], [40, 41, 42]];

  test('is nearly the same in eight bits, and a text does not depend on the others of its batch', async () => {
    const bytes = (model: typeof eight): number =>
      [...model.graph.initializers.values()].reduce((sum, { data }) => sum + data.byteLength, 0);
    assert.ok(bytes(eight) < bytes(model) / 2);
    const [whole] = await runAsIs(model, [feeds(texts)]);
    const [together] = await runAsIs(eight, [feeds(texts)]);
    const found = toNumbers(together!['sentence_embedding']!);
    const scale = Math.max(...Array.from(toNumbers(whole!['sentence_embedding']!), Math.abs));
    for (const [i, value] of toNumbers(whole!['sentence_embedding']!).entries()) {
      assert.ok(Math.abs(value - found[i]!) < 0.02 * scale, `${i}: ${found[i]} is not ${value}`);
    }
    for (const [row, text] of texts.entries()) {
      const [alone] = await runAsIs(eight, [feeds([text])]);
      for (const [i, value] of toNumbers(alone!['sentence_embedding']!).entries()) {
        assert.ok(Math.abs(value - found[row * DIMENSIONS + i]!) < 1e-5, `text ${row} alone: ${value}`);
      }
    }
  });

  test('can be taken apart into float weights again', async () => {
    const plain = await toPlain(eight);
    assert.ok(plain.graph.nodes.every(({ domain }) => domain === ''));
  });
});

test('principal directions span what rows lie in, and are orthonormal', async () => {
  // Rows in a space of three dimensions of twelve.
  const basis = toNumbers(noise([3, 12], 1));
  const shares = toNumbers(noise([40, 3], 2));
  const rows = Float32Array.from({ length: 40 * 12 }, (_, i) =>
    [0, 1, 2].reduce((sum, at) => sum + shares[Math.floor(i / 12) * 3 + at]! * basis[at * 12 + (i % 12)]!, 0),
  );
  const directions = await principalDirections(rows, 12, 3, 1);
  const products = await ontoDirections(directions, directions, 12);
  for (const [i, value] of products.entries()) assert.ok(Math.abs(value - (i % 4 === 0 ? 1 : 0)) < 1e-5);
  const along = await ontoDirections(rows, directions, 12);
  for (let i = 0; i < rows.length; i++) {
    const [row, column] = [Math.floor(i / 12), i % 12];
    const back = [0, 1, 2].reduce((sum, at) => sum + along[row * 3 + at]! * directions[at * 12 + column]!, 0);
    assert.ok(Math.abs(back - rows[i]!) < 1e-4, `${back} is not ${rows[i]}`);
  }
  const more = await principalDirections(rows, 12, 5, 1);
  for (const [i, value] of (await ontoDirections(more, more, 12)).entries()) {
    assert.ok(Math.abs(value - (i % 6 === 0 ? 1 : 0)) < 1e-4, `${i}: ${value}`);
  }
});
