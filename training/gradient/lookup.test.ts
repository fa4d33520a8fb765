import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { OnnxError } from '../onnx/errors.ts';
import { toNumbers } from '../onnx/tensor.ts';
import { noise } from '../onnx/testing.ts';
import { LookupTrainer } from './lookup.ts';

const [ROWS, DIMENSIONS] = [40, 8];
const OPTIMIZER = { rate: 0.03, steps: 300, warmup: 10, weightDecay: 0 };

function texts(count: number, seed: number): number[][] {
  const numbers = Array.from(toNumbers(noise([count * 6], seed)), (x) => Math.floor((x + 1) * 0.5 * ROWS));
  return Array.from({ length: count }, (_, i) => numbers.slice(i * 6, i * 6 + 3 + (i % 4)));
}

/** Unit vectors of texts by a table of rows that are weighted already. */
function encode(table: Float32Array, batch: readonly (readonly number[])[]): Float32Array {
  const out = new Float32Array(batch.length * DIMENSIONS);
  for (const [i, rows] of batch.entries()) {
    const vector = out.subarray(i * DIMENSIONS, (i + 1) * DIMENSIONS);
    for (const row of rows) for (let d = 0; d < DIMENSIONS; d++) vector[d]! += table[row * DIMENSIONS + d]!;
    const length = Math.hypot(...vector);
    for (let d = 0; d < DIMENSIONS; d++) vector[d]! /= length;
  }
  return out;
}

/** A teacher that is a lookup itself, with weights that differ by orders of magnitude. */
function teacherTable(): Float32Array {
  const vectors = toNumbers(noise([ROWS, DIMENSIONS], 5));
  const weights = toNumbers(noise([ROWS], 6));
  return Float32Array.from(vectors, (x, i) => x * Math.exp(2 * weights[Math.floor(i / DIMENSIONS)]!));
}

describe('a lookup student', () => {
  test('learns vectors and weights of its tokens, and encodes texts that it did not see', async () => {
    const teacher = teacherTable();
    const start = toNumbers(noise([ROWS, DIMENSIONS], 9, 0.1)) as Float32Array;
    const trainer = await LookupTrainer.create({
      dimensions: DIMENSIONS,
      vectors: start,
      optimizer: OPTIMIZER,
      threads: 1,
    });
    const unseen = texts(50, 999);
    const cosine = (): number => {
      const [a, b] = [encode(trainer.table(), unseen), encode(teacher, unseen)];
      return a.reduce((sum, x, i) => sum + x * b[i]!, 0) / unseen.length;
    };
    const before = cosine();
    for (let i = 0; i < 300; i++) {
      const batch = texts(32, i);
      await trainer.step(batch, encode(teacher, batch));
    }
    assert.ok(before < 0.5 && cosine() > 0.97, `cosine ${before} → ${cosine()}`);
    await trainer.close();
  });

  test('changes the rows of a batch and no others', async () => {
    const start = toNumbers(noise([ROWS, DIMENSIONS], 9)) as Float32Array;
    const trainer = await LookupTrainer.create({
      dimensions: DIMENSIONS,
      vectors: start,
      optimizer: OPTIMIZER,
      threads: 1,
    });
    await trainer.step([[3, 3, 7], [7]], encode(teacherTable(), [[3], [7]]));
    const table = trainer.table();
    const changed = new Set<number>();
    table.forEach((x, i) => {
      if (x !== start[i]) changed.add(Math.floor(i / DIMENSIONS));
    });
    assert.deepEqual([...changed].sort(), [3, 7]);
    await trainer.close();
  });

  test('goes on from a saved state as if it had never stopped', async () => {
    const teacher = teacherTable();
    const options = { dimensions: DIMENSIONS, vectors: teacher, optimizer: OPTIMIZER, threads: 1 };
    const run = async (trainer: LookupTrainer, from: number, to: number): Promise<void> => {
      for (let i = from; i < to; i++) await trainer.step(texts(4, i), encode(teacher, texts(4, i + 1)));
    };
    const whole = await LookupTrainer.create(options);
    await run(whole, 0, 3);
    const state = structuredClone(whole.state());
    await run(whole, 3, 6);
    const resumed = await LookupTrainer.create({ ...options, state });
    await run(resumed, 3, 6);
    assert.deepEqual(resumed.state(), whole.state());
    await whole.close();
    await resumed.close();
  });

  test('refuses a text without tokens, and rows that are none', async () => {
    const refuses = (words: RegExp) => (error: OnnxError) => words.test(error.message);
    const options = { dimensions: DIMENSIONS, vectors: teacherTable(), optimizer: OPTIMIZER, threads: 1 };
    const trainer = await LookupTrainer.create(options);
    await assert.rejects(
      trainer.step([[1], []], new Float32Array(16)),
      refuses(/text 1 of the batch has no tokens/),
    );
    await trainer.close();
    await assert.rejects(
      LookupTrainer.create({ ...options, vectors: new Float32Array(12) }),
      refuses(/12 numbers are no rows of 8 dimensions/),
    );
  });
});
