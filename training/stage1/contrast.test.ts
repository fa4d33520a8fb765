import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toNumbers } from '../onnx/tensor.ts';
import { noise } from '../testing/noise.ts';
import { Contrast, EXCLUDED, exclusions } from './contrast.ts';

const DIMENSIONS = 5;
const rows = (count: number, seed: number): Float32Array =>
  toNumbers(noise([count, DIMENSIONS], seed)) as Float32Array;

/** The loss by its definition. */
function infoNce(
  queries: Float32Array,
  documents: Float32Array,
  excluded: Float32Array,
  temperature: number,
): number {
  const unit = (vectors: Float32Array, row: number): number[] => {
    const vector = [...vectors.subarray(row * DIMENSIONS, (row + 1) * DIMENSIONS)];
    return vector.map((x) => x / Math.hypot(...vector));
  };
  const [many, candidates] = [queries.length / DIMENSIONS, documents.length / DIMENSIONS];
  let sum = 0;
  for (let row = 0; row < many; row++) {
    const q = unit(queries, row);
    const terms = Array.from({ length: candidates }, (_, i) => {
      const d = unit(documents, i);
      const cosine = q.reduce((total, x, axis) => total + x * d[axis]!, 0);
      return excluded[row * candidates + i] === 0 ? Math.exp(cosine / temperature) : 0;
    });
    sum -= Math.log(terms[row]! / terms.reduce((total, term) => total + term, 0));
  }
  return sum / many;
}

test('the loss is InfoNCE by its definition, and its gradients are those of finite differences', async (context) => {
  const temperature = 0.3;
  const contrast = await Contrast.open({ dimensions: DIMENSIONS, normalize: true, temperature }, 1);
  context.after(() => contrast.close());
  const [queries, documents] = [rows(4, 1), rows(7, 2)];
  const excluded = new Float32Array(4 * 7);
  excluded[2] = EXCLUDED;
  excluded[7 + 6] = EXCLUDED;
  const found = await contrast.run(queries, documents, excluded);
  assert.ok(Math.abs(found.loss - infoNce(queries, documents, excluded, temperature)) < 1e-5);
  for (const [values, gradient] of [
    [queries, found.queries],
    [documents, found.documents],
  ] as const) {
    for (let i = 0; i < values.length; i++) {
      const shifted = (step: number): number => {
        const before = values[i]!;
        values[i] = before + step;
        const loss = infoNce(queries, documents, excluded, temperature);
        values[i] = before;
        return loss;
      };
      const expected = (shifted(1e-3) - shifted(-1e-3)) / 2e-3;
      assert.ok(Math.abs(gradient[i]! - expected) < 2e-3 * Math.max(1, Math.abs(expected)));
    }
  }
});

test('the same document elsewhere in a batch is no negative, nor is one of the same query', () => {
  const excluded = exclusions(['q', 'r', 'q'], ['a', 'b', 'c', 'b', 'd']);
  const none = [0, 1, 2].map((row) =>
    [0, 1, 2, 3, 4].filter((column) => excluded[row * 5 + column] === EXCLUDED),
  );
  assert.deepEqual(none, [[2], [3], [0]]);
});
