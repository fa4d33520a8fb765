import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TrainingError } from '../errors.ts';
import { fileNameOf, toPerQuery, toQrels, toRun } from './trec.ts';

const answers = [
  {
    query: 'q1',
    hits: [
      { id: 'd2', score: Math.fround(1 / 3) },
      { id: 'd1', score: 1e-12 },
    ],
    measures: { ndcg10: 1, mrr10: 0.5, recall50: 1, recall100: 1, ndcg: { 3: 0.25 } },
  },
  { query: 'q2', hits: [], measures: { ndcg10: 0, mrr10: 0, recall50: 0, recall100: 0 } },
];

test('a run has six columns, and scores that float32 reads back as they were', () => {
  const run = toRun('BM25', answers);
  assert.equal(run, 'q1 Q0 d2 1 0.333333343 BM25\nq1 Q0 d1 2 1e-12 BM25\n');
  assert.equal(Math.fround(Number(run.split(' ')[4])), answers[0]!.hits[0]!.score);
});

test('qrels have every judgment, those of 0 and below as well', () => {
  const dataset = {
    name: 'set',
    documents: [{ id: 'd1', title: '', text: '' }],
    queries: [],
    judgments: new Map([
      [
        'q1',
        new Map([
          ['d1', 2],
          ['d2', 0],
        ]),
      ],
      ['q2', new Map([['d1', -1]])],
    ]),
  };
  assert.equal(toQrels(dataset), 'q1 0 d1 2\nq1 0 d2 0\nq2 0 d1 -1\n');
  for (const id of ['a b', '', 'a\tb', 'a\u00a0b']) {
    assert.throws(
      () => toQrels({ ...dataset, documents: [{ id, title: '', text: '' }] }),
      (error) =>
        error instanceof TrainingError && error.message.includes(`the id ${JSON.stringify(id)} can't`),
    );
  }
});

test('measures of each query are one line of JSON', () => {
  const lines = toPerQuery('set', 'a tower', answers).trimEnd().split('\n');
  assert.deepEqual(JSON.parse(lines[0]!), {
    dataset: 'set',
    queryTower: 'a tower',
    query: 'q1',
    ...answers[0]!.measures,
  });
  assert.equal(lines.length, 2);
});

test('names become names of files', () => {
  assert.equal(fileNameOf('my tower, through the services/1'), 'my-tower-through-the-services-1');
});
