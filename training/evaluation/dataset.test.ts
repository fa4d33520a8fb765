import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { temporaryFolder } from '../../towers/testing/tiny-tower.ts';
import { TrainingError } from '../errors.ts';
import { readDataset } from './dataset.ts';

const CORPUS = '{"_id": "d1", "title": "T", "text": "one"}\n{"_id": "d2", "text": "two"}\n';
const QUERIES =
  '{"_id": "q1", "text": "first"}\n{"_id": "q2", "text": "second"}\n{"_id": "q3", "text": "third"}\n';
const QRELS = 'query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq3\td2\t0\n';

function dataset(context: TestContext, files: Record<string, string>): string {
  const folder = temporaryFolder(context);
  mkdirSync(join(folder, 'qrels'));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  return folder;
}

const rejects = (folder: string, message: RegExp): Promise<void> =>
  assert.rejects(readDataset(folder), (error) => {
    assert.ok(error instanceof TrainingError);
    assert.equal(error.reason, 'DATASET_INVALID');
    assert.match(error.message, message);
    return true;
  });

test('queries without judgments are left out; one that has only grades of 0 is not', async (context) => {
  const folder = dataset(context, { 'corpus.jsonl': CORPUS, 'queries.jsonl': QUERIES, 'qrels.tsv': QRELS });
  const { documents, queries, judgments } = await readDataset(folder);
  assert.deepEqual(documents, [
    { id: 'd1', title: 'T', text: 'one' },
    { id: 'd2', title: '', text: 'two' },
  ]);
  assert.deepEqual(queries, [
    { id: 'q1', text: 'first' },
    { id: 'q3', text: 'third' },
  ]);
  assert.deepEqual(
    judgments,
    new Map([
      [
        'q1',
        new Map([
          ['d1', 2],
          ['d2', 0],
        ]),
      ],
      ['q3', new Map([['d2', 0]])],
    ]),
  );
});

test('judgments may be in qrels/test.tsv, with Windows line ends and no header', async (context) => {
  const folder = dataset(context, {
    'corpus.jsonl': CORPUS,
    'queries.jsonl': QUERIES,
    'qrels/test.tsv': 'q1\td1\t1\r\nq2\td2\t1\r\n',
  });
  const { queries } = await readDataset(folder);
  assert.deepEqual(
    queries.map(({ id }) => id),
    ['q1', 'q2'],
  );
});

test('a line ends where JSON Lines says: not at the line separators of Unicode', async (context) => {
  const folder = dataset(context, {
    'corpus.jsonl':
      '\uFEFF{"_id": "d1", "text": "one\u2028still one\u2029and still\u0085"}\r\n{"_id": "d2", "text": "two"}',
    'queries.jsonl': QUERIES,
    'qrels.tsv': QRELS,
  });
  const { documents } = await readDataset(folder);
  assert.deepEqual(
    documents.map(({ text }) => text),
    ['one\u2028still one\u2029and still\u0085', 'two'],
  );
});

test('what is wrong is named with its file and line', async (context) => {
  const good = { 'corpus.jsonl': CORPUS, 'queries.jsonl': QUERIES, 'qrels.tsv': QRELS };
  await rejects(join(temporaryFolder(context), 'none'), /neither qrels\.tsv nor/);
  await rejects(dataset(context, { ...good, 'qrels.tsv': `${QRELS}q1 d1 1\n` }), /qrels\.tsv, line 5/);
  await rejects(
    dataset(context, { ...good, 'corpus.jsonl': `${CORPUS}{"_id": \n` }),
    /corpus\.jsonl, line 3/,
  );
  await rejects(dataset(context, { ...good, 'corpus.jsonl': CORPUS + CORPUS }), /document "d1" twice/);
  for (const [judgments, message] of [
    ['q9\td1\t1\n', /query "q9" has judgments, but queries\.jsonl does not have it/],
    ['q1\td1\t0\n', /no query with a relevant document/],
    ['q1\td1\t1\nq1\td2\t0.5\n', /qrels\.tsv, line 2: .*whole number/],
    ['q1\td1\t1\nq1\td2\t\n', /qrels\.tsv, line 2: .*whole number/],
    ['q1\td1\t1\nq1\td1\t1\nq1\td1\t2\n', /line 3: document "d1" has another grade for query "q1"/],
  ] as const) {
    await rejects(dataset(context, { ...good, 'qrels.tsv': judgments }), message);
  }
  await rejects(dataset(context, { ...good, 'queries.jsonl': QUERIES + QUERIES }), /has query "q1" twice/);
  const latin1 = dataset(context, good);
  writeFileSync(join(latin1, 'corpus.jsonl'), `${CORPUS}{"_id": "caf\xe9"}\n`, 'latin1');
  await rejects(latin1, /corpus\.jsonl: line 3 holds bytes that are not UTF-8/);
  await rejects(
    dataset(context, { 'corpus.jsonl': CORPUS, 'qrels.tsv': QRELS }),
    /can't read .*queries\.jsonl/,
  );
});
