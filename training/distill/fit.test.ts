import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { temporaryFolder } from '../../towers/testing/tiny-tower.ts';
import { float32, toNumbers } from '../onnx/tensor.ts';
import { VectorFile } from '../vectors.ts';
import type { TrainingData } from './data.ts';
import { fit, type FitCheckpoint, type FitResult } from './fit.ts';
import type { Student } from './student.ts';

/**
 * Runs a student whose held-out cosine is as given at each look, the first before its first step.
 * @param from - steps that were taken before: the run resumes there, with the best weights until then
 */
async function run(
  context: TestContext,
  cosines: readonly number[],
  patience: number,
  from = 0,
): Promise<FitResult> {
  const folder = temporaryFolder(context);
  const file = join(folder, 'vectors.f32');
  writeFileSync(file, Buffer.from(Float32Array.of(1, 0, 1, 0).buffer));
  const vectors = new VectorFile(file, 2, 2);
  context.after(() => vectors.close());
  const ids = [[1], [2]];
  const data: TrainingData = {
    ids,
    fitted: [0],
    heldOut: [1],
    vectors,
    documents: undefined,
    groups: [0, 1],
  };
  let step = from;
  const student: Student = {
    parameters: 1,
    padded: false,
    step: () => Promise.resolve({ step: ++step, loss: 1, gradientNorm: 1, learningRate: 1 }),
    encode: () => Promise.resolve(Float32Array.of(cosines[step]!, Math.sqrt(1 - cosines[step]! ** 2))),
    state: () => new Map(),
    weights: () => new Map([['step', float32([1], [step])]]),
    models: () => assert.fail('no model is asked for'),
    close: () => Promise.resolve(),
  };
  const steps = cosines.length - 1;
  const options = {
    steps,
    batch: 1,
    seed: 1,
    lookEvery: 1,
    patience,
    settings: {},
    folder,
    log: () => {},
    ...(from > 0 && { resumed: resumedAt(cosines, from) }),
  };
  return fit(student, data, options);
}

/** The checkpoint of a run that has looked after each step, and found the last look the best. */
function resumedAt(cosines: readonly number[], step: number): FitCheckpoint {
  const curve = cosines.slice(0, step + 1).map((heldOutCosine, at) => ({ step: at, heldOutCosine }));
  const best = new Map([['step', float32([1], [step])]]);
  return { progress: { step, elapsedMs: 0, curve }, tensors: { state: new Map(), best } };
}

const chosen = ({ best }: FitResult): number => toNumbers(best.get('step')!)[0]!;

test('of weights that are as good the last are taken, though others have a higher cosine by a hair', async (context) => {
  const result = await run(context, [0.1, 0.8, 0.9, 0.8995, 0.8993], 2);
  assert.equal(result.end, 'done');
  assert.equal(chosen(result), 4);
});

test('a student that gets worse is not taken, and after some looks ends the run', async (context) => {
  const result = await run(context, [0.1, 0.8, 0.9, 0.89, 0.88, 0.87, 0.86, 0.85], 3);
  assert.deepEqual([result.end, result.steps], ['early', 5]);
  assert.equal(chosen(result), 2);
});

test('a student that starts from another may lose at first', async (context) => {
  const result = await run(context, [0.9, 0.85, 0.86, 0.87, 0.88, 0.895, 0.91], 3);
  assert.deepEqual([result.end, result.steps], ['done', 6]);
  assert.equal(chosen(result), 6);
});

test('a student that loses a little at every look does not slip away', async (context) => {
  const result = await run(context, [0.9, 0.8995, 0.8987, 0.898, 0.8974], 9);
  assert.equal(chosen(result), 1);
});

test('a run that resumes keeps the best weights from before, and counts the looks from before', async (context) => {
  const cosines = [0.1, 0.9, 0.5, 0.4, 0.3, 0.2];
  const result = await run(context, cosines, 3, 1);
  assert.equal(chosen(result), 1);
  assert.deepEqual([result.end, result.steps], ['early', 4]);
  assert.deepEqual(
    result.curve.map(({ step }) => step),
    [0, 1, 2, 3, 4],
  );
});
