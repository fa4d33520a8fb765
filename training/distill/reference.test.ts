import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openTower } from '../../towers/open.ts';
import { temporaryFolder, writeTinyTower } from '../../towers/testing/tiny-tower.ts';
import { LOG_WEIGHTS } from '../lookup/model.ts';
import { batchOf, type TrainingData } from './data.ts';
import { distill } from './distill.ts';
import { readFitCheckpoint } from './fit.ts';
import { planOf, type DistillRequest } from './request.ts';

test('the first step is that of a warm-up over a twentieth of the steps', async (context) => {
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
  // Weights start at 0. Adam's first step is as long as its learning rate: here, a fifth of 0.01, and nothing decays.
  const moved = [...(tensors.state.get(LOG_WEIGHTS)!.data as Float32Array)]
    .filter((x) => x !== 0)
    .map(Math.abs);
  assert.ok(moved.length > 10);
  for (const x of moved) assert.ok(x <= 0.002 * 1.0001, `${x}`);
  assert.ok(Math.abs(Math.max(...moved) - 0.002) < 2e-5, `${Math.max(...moved)}`);
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
