import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { cutRows, normalizeRows, pool } from './pooling.ts';

/** Two inputs of width 3: the first has its padding on the right, the second on the left. */
const tokens = {
  // Padding is the third token of the first input, and the first token of the second.
  data: Float32Array.from([1, 2, 3, 3, 4, 5, 90, 91, 92, 70, 71, 72, 7, 8, 9, 11, 10, 9]),
  batch: 2,
  length: 3,
  width: 3,
  mask: Uint8Array.from([1, 1, 0, 0, 1, 1]),
};

test('mean pooling leaves padding out, on either side', () => {
  assert.deepEqual([...pool(tokens, 'mean', 3)], [2, 3, 4, 9, 9, 9]);
});

test('cls pooling takes the first token that is none of padding', () => {
  assert.deepEqual([...pool(tokens, 'cls', 3)], [1, 2, 3, 7, 8, 9]);
});

test('last pooling takes the last token that is none of padding', () => {
  assert.deepEqual([...pool(tokens, 'last', 3)], [3, 4, 5, 11, 10, 9]);
});

test('a Matryoshka cut keeps the first components', () => {
  assert.deepEqual([...pool(tokens, 'mean', 2)], [2, 3, 9, 9]);
  assert.deepEqual([...cutRows(Float32Array.from([1, 2, 3, 4, 5, 6]), 3, 2)], [1, 2, 4, 5]);
});

test('an input without tokens has a vector of zeros', () => {
  const nothing = { data: new Float32Array([5, 5]), batch: 1, length: 1, width: 2, mask: new Uint8Array(1) };
  for (const pooling of ['mean', 'cls', 'last'] as const)
    assert.deepEqual([...pool(nothing, pooling, 2)], [0, 0]);
});

test('rows get unit length, zeros stay zeros', () => {
  const rows = Float32Array.from([3, 4, 0, 0, -5, 0]);
  normalizeRows(rows, 2);
  const expected = [0.6, 0.8, 0, 0, -1, 0];
  for (const [index, value] of rows.entries()) assert.ok(Math.abs(value - expected[index]!) < 1e-7);
});

test('vectors are those of PyTorch, with padding on either side', () => {
  // Worked out by training/reference/generate.py.
  const { tokens, cases } = JSON.parse(
    readFileSync(new URL('../../../training/reference/pooling.json', import.meta.url), 'utf8'),
  ) as {
    tokens: number[][][];
    cases: { mask: number[][]; pooling: 'mean' | 'cls' | 'last'; side: string; vectors: number[][] }[];
  };
  assert.equal(cases.length, 6);
  for (const { mask, pooling, side, vectors } of cases) {
    const found = pool(
      {
        data: Float32Array.from(tokens.flat(2)),
        batch: 4,
        length: 5,
        width: 3,
        mask: Uint8Array.from(mask.flat()),
      },
      pooling,
      3,
    );
    for (const [index, value] of vectors.flat().entries()) {
      const error = Math.abs(found[index]! - value);
      assert.ok(
        error < 1e-6,
        `${pooling}, ${side}: number ${index} is ${found[index]}, PyTorch has ${value}`,
      );
    }
  }
});
