import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openTower } from '../../towers/open.ts';
import { temporaryFolder, writeTinyTower } from '../../towers/testing/tiny-tower.ts';
import { LOG_WEIGHTS, TOKEN_VECTORS } from '../lookup/model.ts';
import { singleTokenVectors } from '../lookup/single-tokens.ts';
import { encodeModel } from '../onnx/write.ts';
import { planRuns } from '../padding.ts';
import { TINY, tinyBert } from '../testing/tiny-models.ts';
import { batchOf, type TrainingData } from './data.ts';
import { distill } from './distill.ts';
import { openStudentTokenizer } from './tokenizer.ts';
import { readFitCheckpoint } from './fit.ts';
import { planOf, type DistillRequest } from './request.ts';
import { cutStudent, openTransformer } from './transformer.ts';

test('the first step is that of a warm-up over a twentieth of the steps, and nothing decays', async (context) => {
  const folder = temporaryFolder(context);
  writeTinyTower(folder, { space: { normalize: true }, queryPrompt: '' });
  const options = { cacheDir: temporaryFolder(context), inline: true, normalize: false };
  const teacher = await openTower(folder, options);
  context.after(() => teacher.close());
  const texts = Array.from({ length: 60 }, (_, i) =>
    [i, 3 * i + 1, 7 * i + 2].map((code) => String.fromCodePoint(97 + (code % 26))).join(' '),
  );
  writeFileSync(join(folder, 'texts.txt'), texts.join('\n'));
  const interrupted = new AbortController();
  const { out } = await distill({
    teacher,
    student: { kind: 'lookup' },
    source: { texts: join(folder, 'texts.txt') },
    out: join(folder, 'student'),
    cacheDir: folder,
    threads: 1,
    steps: 100,
    rate: 0.01,
    signal: interrupted.signal,
    onProgress: () => interrupted.abort(),
  });
  const { progress, tensors } = await readFitCheckpoint(out, {});
  assert.equal(progress.step, 1);
  // Weights start at 0. Adam's first step is as long as its learning rate: here, a fifth of 0.01.
  const moved = [...(tensors.state.get(LOG_WEIGHTS)!.data as Float32Array)]
    .filter((x) => x !== 0)
    .map(Math.abs);
  assert.ok(moved.length > 10);
  for (const x of moved) assert.ok(x <= 0.002 * 1.0001, `${x}`);
  assert.ok(Math.abs(Math.max(...moved) - 0.002) < 2e-5, `${Math.max(...moved)}`);
  // Vectors start at the teacher's, and would move further if they decayed as well.
  const tokenizer = await openStudentTokenizer(teacher, undefined);
  const start = await singleTokenVectors(teacher, tokenizer, new Uint32Array(0), { cacheDir: folder });
  const vectors = tensors.state.get(TOKEN_VECTORS)!.data as Float32Array;
  const furthest = Math.max(...vectors.map((x, i) => Math.abs(x - start[i]!)));
  assert.ok(Math.abs(furthest - 0.002) < 1e-6, `${furthest}`);
});

test('a teacher whose vectors have unit length is refused', async (context) => {
  const folder = temporaryFolder(context);
  writeTinyTower(folder, { space: { normalize: true }, queryPrompt: '' });
  const teacher = await openTower(folder, { cacheDir: temporaryFolder(context), inline: true });
  context.after(() => teacher.close());
  const request = { teacher, source: { texts: 'none' }, out: join(folder, 'student') };
  await assert.rejects(
    distill({ ...request, student: { kind: 'lookup' } }),
    /open it with normalize: false, so that the MSE sees their lengths/,
  );
});

test('every student imitates by MSE + (1 − cosine) where nobody says otherwise', () => {
  for (const student of [{ kind: 'lookup' }, { kind: 'transformer', layers: 2 }] as const) {
    const request = { teacher: { manifest: { dimensions: 384 } }, student } as unknown as DistillRequest;
    const { loss } = planOf(request, 1_000);
    assert.deepEqual(loss, { mse: 1, cosine: 1 });
  }
});

test('a batch has the teacher’s vectors as they are, and the documents’ at unit length', () => {
  const file = (rows: number[][]) => ({
    dimensions: 2,
    read: (wanted: readonly number[]) => Float32Array.from(wanted.flatMap((row) => rows[row]!)),
  });
  const vectors = [
    [3, 4],
    [0, -2],
  ];
  const data = {
    ids: [[1], [2, 3]],
    groups: [1, 0],
    vectors: file(vectors),
    documents: file(vectors),
  } as unknown as TrainingData;
  const { texts, teacher, documents } = batchOf(data, [1, 0]);
  assert.deepEqual(texts, [[2, 3], [1]]);
  assert.deepEqual([...teacher], [0, -2, 3, 4]);
  assert.deepEqual(
    [...documents!].map((x) => x.toFixed(6)),
    ['0.600000', '0.800000', '0.000000', '-1.000000'],
  );
});

test('a step of a transformer student has the loss of its whole batch, in however many runs it is computed', async (context) => {
  const folder = temporaryFolder(context);
  const space = { normalize: true, dimensions: TINY.width };
  writeTinyTower(folder, { model: encodeModel(tinyBert()), space, queryPrompt: '' });
  const options = { cacheDir: temporaryFolder(context), inline: true, normalize: false };
  const teacher = await openTower(folder, options);
  context.after(() => teacher.close());
  const loss = { mse: 0.7, cosine: 1.3 };
  const optimizer = { rate: 0.01, steps: 10 };
  const cut = await cutStudent({ teacher, layers: 1, loss, optimizer });
  const student = await openTransformer(cut, { threads: 1 });
  context.after(() => student.close());
  const texts = Array.from({ length: 20 }, (_, i) =>
    Array.from({ length: i < 5 ? 14 : 2 }, (_, at) => (7 * i + 3 * at) % TINY.vocabulary),
  );
  assert.ok(planRuns(texts.map(({ length }) => length)).length > 1);
  const vectors = await Promise.all(texts.map((text) => student.encode([text])));
  const target = Float32Array.from({ length: 20 * TINY.width }, (_, i) => 2 * Math.sin(i));
  let expected = 0;
  for (const [row, vector] of vectors.entries()) {
    const wanted = target.subarray(row * TINY.width, (row + 1) * TINY.width);
    const product = vector.reduce((sum, x, d) => sum + x * wanted[d]!, 0);
    const square = vector.reduce((sum, x, d) => sum + (x - wanted[d]!) ** 2, 0);
    const cosine = product / Math.hypot(...vector) / Math.hypot(...wanted);
    expected += (0.7 * square) / TINY.width / 20 + (1.3 * (1 - cosine)) / 20;
  }
  const { loss: found } = await student.step({ texts, teacher: target });
  assert.ok(Math.abs(found - expected) < 1e-4, `${found} is not ${expected}`);
});
