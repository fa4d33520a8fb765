import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assert as check, integer, nat, property, shuffledSubarray } from 'fast-check';
import { mean, ndcg, recall, reciprocalRank } from './metrics.ts';

const close = (actual: number, expected: number): void =>
  assert.ok(Math.abs(actual - expected) < 1e-12, `${actual} is not ${expected}`);

const grades = new Map([
  ['a', 3],
  ['b', 2],
  ['c', 1],
]);

test('nDCG has grades as gains and binary logarithms as discounts', () => {
  // DCG = 2/log2(2) + 0/log2(3) + 3/log2(4) = 3.5; ideal = 3 + 2/log2(3) + 1/2.
  close(ndcg(['b', 'x', 'a'], grades, 10), 3.5 / (3 + 2 / Math.log2(3) + 0.5));
});

test('nDCG of the ideal ranking is 1, of one without relevant documents 0', () => {
  close(ndcg(['a', 'b', 'c', 'x'], grades, 10), 1);
  assert.equal(ndcg(['x', 'y'], grades, 10), 0);
  assert.equal(ndcg([], grades, 10), 0);
});

test('the ideal of nDCG@k has k documents at the most, and nothing past k counts', () => {
  close(ndcg(['a', 'x'], grades, 1), 1);
  close(ndcg(['x', 'a'], grades, 1), 0);
  // Two of three relevant documents, in first and third place of two that count.
  close(ndcg(['a', 'x', 'b'], grades, 2), 3 / (3 + 2 / Math.log2(3)));
});

test('the ideal counts relevant documents that were not found', () => {
  close(ndcg(['c'], grades, 10), 1 / (3 + 2 / Math.log2(3) + 0.5));
});

test('the reciprocal rank is that of the first relevant document within k', () => {
  assert.equal(reciprocalRank(['x', 'c', 'a'], grades, 10), 1 / 2);
  assert.equal(reciprocalRank(['x', 'y', 'c'], grades, 2), 0);
  assert.equal(reciprocalRank([], grades, 10), 0);
});

test('recall is the share of all relevant documents within k', () => {
  assert.equal(recall(['a', 'x', 'b'], grades, 3), 2 / 3);
  assert.equal(recall(['a', 'x', 'b'], grades, 2), 1 / 3);
});

test('a grade of 0 and one below it are as good as none, whatever they would change', () => {
  // Two relevant documents: 1 in second place, 2 in third, of an ideal 2 + 1/log2(3).
  const mixed = new Map([
    ['bad', -1],
    ['a', 1],
    ['b', 2],
    ['none', 0],
  ]);
  const ranking = ['bad', 'a', 'b', 'none'];
  close(ndcg(ranking, mixed, 10), (1 / Math.log2(3) + 2 / 2) / (2 + 1 / Math.log2(3)));
  assert.equal(reciprocalRank(ranking, mixed, 10), 1 / 2);
  assert.equal(recall(ranking, mixed, 2), 1 / 2);
});

test('a query without a relevant document scores 0, as in trec_eval', () => {
  for (const judged of [new Map([['a', 0]]), new Map([['a', -2]])]) {
    assert.equal(ndcg(['a'], judged, 10), 0);
    assert.equal(reciprocalRank(['a'], judged, 10), 0);
    assert.equal(recall(['a'], judged, 10), 0);
  }
});

test('a mean of nothing is 0', () => {
  assert.equal(mean([]), 0);
  assert.equal(mean([1, 2, 6]), 3);
});

test('measures lie between 0 and 1, and swapping a relevant document upwards never lowers nDCG', () => {
  const ids = ['a', 'b', 'c', 'p', 'q', 'r', 's'];
  check(
    property(
      shuffledSubarray(ids, { minLength: 2 }),
      integer({ min: 1, max: 10 }),
      nat(),
      (ranking, k, place) => {
        for (const value of [
          ndcg(ranking, grades, k),
          reciprocalRank(ranking, grades, k),
          recall(ranking, grades, k),
        ]) {
          assert.ok(value >= 0 && value <= 1 + 1e-12);
        }
        const lower = 1 + (place % (ranking.length - 1));
        const better = [...ranking];
        [better[lower - 1], better[lower]] = [better[lower]!, better[lower - 1]!];
        if ((grades.get(ranking[lower]!) ?? 0) >= (grades.get(ranking[lower - 1]!) ?? 0)) {
          assert.ok(ndcg(better, grades, k) >= ndcg(ranking, grades, k) - 1e-12);
        }
      },
    ),
  );
});
