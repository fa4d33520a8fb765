import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { openTower } from '../../towers/open.ts';
import type { Tower } from '../../towers/tower.ts';
import { temporaryFolder, writeTinyTower } from '../../towers/testing/tiny-tower.ts';
import { TrainingError } from '../errors.ts';
import { seededRandom } from '../random.ts';
import { evaluate } from './evaluate.ts';

const random = seededRandom(11);
const letters = (count: number): string =>
  Array.from({ length: count }, () => String.fromCodePoint(97 + Math.floor(random() * 26))).join(' ');
const TEXTS = [...new Set(Array.from({ length: 400 }, () => letters(3 + Math.floor(random() * 6))))].slice(
  0,
  300,
);

async function open(context: TestContext, folder: string): Promise<Tower> {
  const tower = await openTower(folder, { cacheDir: temporaryFolder(context) });
  context.after(() => tower.close());
  return tower;
}

function teacherFolder(context: TestContext): string {
  const folder = temporaryFolder(context);
  writeTinyTower(folder, { space: { normalize: true }, queryPrompt: 'query: ' });
  return folder;
}

test('towers and rankers are measured against the document tower, which comes first', async (context) => {
  const teacher = await open(context, teacherFolder(context));
  const dataset = temporaryFolder(context);
  const documents = TEXTS.slice(0, 40).map((text, index) => ({ _id: `d${index}`, title: '', text }));
  const lines = (records: object[]): string => records.map((record) => JSON.stringify(record)).join('\n');
  writeFileSync(join(dataset, 'corpus.jsonl'), lines([...documents, { _id: 'empty', title: '', text: ' ' }]));
  writeFileSync(
    join(dataset, 'queries.jsonl'),
    lines(documents.map(({ text }, index) => ({ _id: `q${index}`, text }))),
  );
  writeFileSync(
    join(dataset, 'qrels.tsv'),
    documents.map((_, index) => `q${index}\td${index}\t1`).join('\n'),
  );

  const evaluation = await evaluate({
    dataset,
    documentTower: teacher,
    queryTowers: [teacher],
    cacheDir: dataset,
    speed: true,
    calibrate: true,
    rankers: [
      {
        name: 'oracle',
        rank: async (query) =>
          documents.filter(({ text }) => text === query).map(({ _id }) => ({ id: _id, score: 1 })),
      },
      { name: 'mute', rank: async () => [] },
    ],
  });
  assert.equal(evaluation.documents, 41);
  assert.equal(evaluation.queries, 40);
  assert.deepEqual(
    evaluation.results.map(({ queryTower }) => queryTower),
    ['tiny', 'tiny', 'oracle', 'mute', 'BM25'],
  );
  const [withPrompt, withoutPrompt, oracle, mute, wording] = evaluation.results;
  assert.deepEqual(withPrompt!.retention, {
    ndcg10: 1,
    recall50: 1,
    interval: [1, 1],
    recall50Interval: [1, 1],
  });
  assert.equal(withPrompt!.speed?.speedup, 1);
  for (const speed of [withPrompt!.speed, withoutPrompt!.speed!]) {
    assert.ok(speed.encodePerSecond > 0 && speed.p50Ms > 0 && speed.p99Ms >= speed.p50Ms);
  }
  assert.equal(oracle!.speed, undefined);
  for (const { calibration } of [withPrompt!, withoutPrompt!]) {
    assert.ok(calibration!.hnswEf >= 16 && calibration!.recall > 0.5 && calibration!.passages === 40);
  }
  // Documents are read without a prompt, so a query without one is its document's very vector.
  assert.ok(withoutPrompt!.mrr10 > 0.95, `${withoutPrompt!.mrr10}`);
  assert.ok(withPrompt!.mrr10 < withoutPrompt!.mrr10);
  assert.equal(oracle!.ndcg10, 1);
  assert.equal(oracle!.recall100, 1);
  assert.equal(mute!.retention.ndcg10, 0);
  assert.ok(wording!.mrr10 > 0.9, 'a query that is a document');
});

test('a query tower of another space is refused, both spaces named', async (context) => {
  const teacher = await open(context, teacherFolder(context));
  const folder = temporaryFolder(context);
  writeTinyTower(folder, {
    name: 'stranger',
    space: { normalize: true, passageWindow: { tokens: 9, overlap: 0 } },
  });
  const stranger = await open(context, folder);
  await assert.rejects(
    evaluate({ dataset: folder, documentTower: teacher, queryTowers: [stranger] }),
    (error) => {
      assert.ok(error instanceof TrainingError);
      assert.equal(error.reason, 'SPACE_MISMATCH');
      assert.ok(error.message.includes(teacher.manifest.space.fingerprint));
      assert.ok(error.message.includes(stranger.manifest.space.fingerprint));
      return true;
    },
  );
});
