import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertClose, readReference } from '../testing/reference.ts';
import { bm25 } from './bm25.ts';
import { differenceInterval, ratioInterval } from './bootstrap.ts';
import { ndcg, recall, reciprocalRank } from './metrics.ts';
import { inTrecOrder } from './ranker.ts';

test('measures are those of trec_eval, ties, odd grades and odd ids included', () => {
  const { qrels, runs, measures } = readReference<{
    qrels: Record<string, Record<string, number>>;
    runs: Record<string, Record<string, number>>;
    measures: Record<string, Record<string, number>>;
  }>('measures');
  assert.equal(Object.keys(measures).length, 47);
  for (const [query, expected] of Object.entries(measures)) {
    const hits = Object.entries(runs[query]!).map(([id, score]) => ({ id, score }));
    // Whatever order they come in.
    for (const given of [hits, hits.toReversed()]) {
      const ranking = inTrecOrder(given).map(({ id }) => id);
      const grades = new Map(Object.entries(qrels[query]!));
      const found: Record<string, number> = {
        recip_rank: reciprocalRank(ranking, grades, Infinity),
        recip_rank_cut_3: reciprocalRank(ranking, grades, 3),
      };
      for (const k of [1, 3, 5, 10, 20]) found[`ndcg_cut_${k}`] = ndcg(ranking, grades, k);
      for (const k of [5, 10, 50, 100]) found[`recall_${k}`] = recall(ranking, grades, k);
      assert.deepEqual(Object.keys(found).sort(), Object.keys(expected).sort());
      for (const [measure, value] of Object.entries(expected))
        assertClose([found[measure]!], value, `${measure} of ${query}`, 1e-9);
    }
  }
});

test('equal scores go by ids, the highest first, as bytes', () => {
  const tied = ['a', 'c', 'b', '10', '9', '\uFFEE', '\u{10000}'].map((id) => ({ id, score: 1 }));
  assert.deepEqual(
    inTrecOrder(tied).map(({ id }) => id),
    ['\u{10000}', '\uFFEE', 'c', 'b', 'a', '9', '10'],
  );
});

test('scores of BM25 are those of bm25s with the method of Lucene, and so is their order', async () => {
  const { documents, queries, scores } = readReference<{
    documents: string[];
    queries: string[];
    scores: number[][];
  }>('bm25');
  assert.ok(queries.some((query) => /\b(w\d+)\b.*\b\1\b/.test(query)));
  const ranker = bm25([
    ...documents.map((text, index) => ({ id: `${index}`, title: '', text })),
    // Lucene counts documents that have a term: this one is not there.
    { id: 'empty', title: '', text: '' },
  ]);
  for (const [index, query] of queries.entries()) {
    const hits = await ranker.rank(query, 100);
    const found = new Map(hits.map(({ id, score }) => [id, score]));
    assertClose(
      documents.map((_, document) => found.get(`${document}`) ?? 0),
      scores[index]!,
      `scores of "${query}"`,
    );
    assert.ok(hits.every(({ score }, rank) => rank === 0 || score <= hits[rank - 1]!.score));
  }
});

test('bootstrap intervals are those of NumPy on the same draws, and of SciPy on its own', () => {
  const { values, baseline, ratio, difference } = readReference<{
    values: number[];
    baseline: number[];
    ratio: Record<'exact' | 'scipy', number[]>;
    difference: Record<'exact' | 'scipy', number[]>;
  }>('bootstrap');
  for (const [found, expected] of [
    [ratioInterval(values, baseline), ratio],
    [differenceInterval(values, baseline), difference],
  ] as const) {
    assertClose(found, expected.exact, 'ends', 1e-8);
    const width = expected.scipy[1]! - expected.scipy[0]!;
    assertClose(found, expected.scipy, 'ends by other draws', 0.03 * width);
  }
});
