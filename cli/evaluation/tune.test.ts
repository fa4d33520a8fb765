import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEFAULT_FUSION } from '../../store/fusion.ts';
import type { SearchHit } from '../../store/queries.ts';
import { tune } from './tune.ts';

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
  assert.equal(found.development.ndcg10, 1);
  assert.deepEqual([found.test.ndcg10, found.test.before], [1, 0]);
  assert.equal(found.development.queries + found.test.queries, 40);
  assert.ok(Math.min(found.development.queries, found.test.queries) > 8);
  const kept = tune(legs, given, () => 1);
  assert.deepEqual(kept.fusion, given, 'of equally good ones, the given one stays');
});
