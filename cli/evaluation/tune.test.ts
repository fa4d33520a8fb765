import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEFAULT_FUSION } from '../../store/fusion.ts';
import type { SearchHit } from '../../store/queries.ts';
import { untitled } from './title-legs.ts';
import { tune, tuneByTitles } from './tune.ts';

const hit = (documentId: string, score: number): SearchHit => ({
  documentId,
  score,
  passage: 0,
  title: '',
  version: 0,
});

test('tuning finds the leg that is right, on half of the queries, and tries it on the others', () => {
  // By wording, "right" is first; by meaning, "wrong" is.
  const legs = Array.from({ length: 40 }, () => ({
    dense: [hit('wrong', 1), hit('right', 0.1), hit('last', 0)],
    sparse: [hit('right', 9), hit('wrong', 1), hit('last', 0)],
  }));
  const given = { ...DEFAULT_FUSION, denseWeight: 0.9 };
  const found = tune(legs, given, (_, hits) => Number(hits[0]!.documentId === 'right'));
  assert.ok(found.fusion.denseWeight < 0.6, JSON.stringify(found.fusion));
  assert.equal(found.development.measure, 1);
  assert.deepEqual([found.test.ndcg10, found.test.before], [1, 0]);
  assert.equal(found.development.queries + found.test.queries, 40);
  assert.ok(Math.min(found.development.queries, found.test.queries) > 8);
  const kept = tune(legs, given, () => 1);
  assert.deepEqual(kept.fusion, given, 'of equally good ones, the given one stays');
});

test('titles choose without labels, and labelled queries say what that is worth', () => {
  const titles = {
    legs: [{ dense: [hit('a', 1), hit('b', 0.1)], sparse: [hit('b', 9), hit('a', 1)] }],
    ids: ['b'],
  };
  const legs = [{ dense: [hit('x', 1), hit('y', 0.1)], sparse: [hit('y', 9), hit('x', 1)] }];
  const given = { ...DEFAULT_FUSION, denseWeight: 0.9 };
  const found = tuneByTitles(titles, legs, given, (_, hits) => Number(hits[0]!.documentId === 'x'));
  assert.ok(found.fusion.denseWeight < 0.6);
  assert.deepEqual(found.development, { queries: 1, measure: 1 });
  assert.deepEqual(found.test, { queries: 1, ndcg10: 0, before: 1 }, 'worse, and it says so');
});

test('a title is taken out of its document, and a document of nothing else is no question', () => {
  const asked = untitled([
    { id: 'a', title: 'Rye', text: 'Rye. Bread of rye.' },
    { id: 'b', title: '', text: 'The moon. It has tides.' },
    { id: 'c', title: 'Stars', text: ' stars ' },
    { id: 'd', title: '', text: 'one sentence' },
  ]);
  assert.deepEqual(
    asked.map(({ query, document: { id, title, text } }) => [query, id, title, text]),
    [
      ['Rye', 'a', '', 'Bread of rye.'],
      ['The moon.', 'b', '', 'It has tides.'],
    ],
  );
});
