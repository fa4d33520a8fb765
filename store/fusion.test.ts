import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DEFAULT_FUSION, type Fusion, fuse, fusionOf, HYBRID_CANDIDATES, sharesOf } from './fusion.ts';
import type { Ranked } from './ranking.ts';

const leg = (...scores: number[]): Ranked[] =>
  scores.map((score, index) => ({ documentId: `d${index}`, score, passage: 0 }));

const scores = (denseWeight: number): Fusion => ({ method: 'scores', k: 60, denseWeight });

/** Each to six digits. */
const rounded = (values: readonly number[]): number[] => values.map((value) => Number(value.toFixed(6)));

describe('what a place in a leg adds', () => {
  test('by scores, it is a share of the highest, and more than nothing', () => {
    // The least is 1 / (100 + rank): 1/102 + 101/102 · 0.6 and 1/103 + 102/103 · 0.2, times 0.4 or 0.6.
    assert.deepEqual(rounded(sharesOf('dense', [10, 6, 2], scores(0.4))), [0.4, 0.241569, 0.083107]);
    assert.deepEqual(rounded(sharesOf('sparse', [10, 6, 2], scores(0.4))), [0.6, 0.362353, 0.12466]);
  });

  test('cosines below 0 keep their order, whatever the highest is', () => {
    for (const cosines of [
      [0.5, -0.1, -0.9],
      [-0.2, -0.3, -1],
      [0, -0.5],
    ]) {
      const shares = sharesOf('dense', cosines, scores(1));
      assert.equal(shares[0], 1);
      assert.ok(shares.every((share, index) => share > 0 && (index === 0 || share < shares[index - 1]!)));
    }
  });

  test('by distribution, it lies within three standard deviations of the mean', () => {
    // Mean 4, deviation 2: from −2 to 10. 1/101 + 100/101 · 8/12 and 1/102 + 101/102 · 4/12.
    const shares = sharesOf('dense', [6, 2], { method: 'distribution', k: 60, denseWeight: 1 });
    assert.deepEqual(rounded(shares), [0.669967, 0.339869]);
  });

  test('by ranks, it is (k + 1) / (k + rank)', () => {
    assert.deepEqual(
      rounded(sharesOf('dense', [9, 8], { method: 'ranks', k: 1, denseWeight: 0.5 })),
      [0.5, 0.333333],
    );
  });

  test('a leg of one document, or of equal scores, gives each its whole weight', () => {
    for (const method of ['scores', 'distribution'] as const) {
      for (const equal of [[3], [3, 3]]) {
        assert.ok(
          sharesOf('dense', equal, { ...scores(1), method }).every((share) => share === 1),
          method,
        );
      }
    }
  });

  test('it does not depend on how deep the leg is, and falls past the places that are compared', () => {
    const deep = Array.from({ length: 3 * HYBRID_CANDIDATES }, (_, index) => 1 / (1 + index));
    for (const method of ['scores', 'distribution'] as const) {
      const fusion = { ...scores(1), method };
      const all = sharesOf('dense', deep, fusion);
      const first = sharesOf('dense', deep.slice(0, HYBRID_CANDIDATES), fusion);
      assert.deepEqual(all.slice(0, HYBRID_CANDIDATES), first, method);
      assert.ok(
        all.every((share, index) => index === 0 || share <= all[index - 1]!),
        method,
      );
      assert.ok(all.at(-1)! > 0);
    }
  });
});

describe('fusion', () => {
  test('adds up both legs, and keeps the places in each', () => {
    const dense = leg(0.9, 0.5);
    const sparse = [{ documentId: 'd1', score: 7, passage: 3 }];
    const fused = fuse(dense, sparse, scores(0.5));
    assert.deepEqual(
      fused.map(({ documentId, passage, legs }) => [documentId, passage, legs]),
      [
        ['d1', 0, { dense: { rank: 2, score: 0.5 }, sparse: { rank: 1, score: 7 } }],
        ['d0', 0, { dense: { rank: 1, score: 0.9 } }],
      ],
    );
    assert.deepEqual(rounded(fused.map(({ score }) => score)), [0.779956, 0.5]);
  });

  test('of nothing is nothing, and of one leg is that leg', () => {
    assert.deepEqual(fuse([], [], DEFAULT_FUSION), []);
    const only = fuse([], leg(3, 2, 1), DEFAULT_FUSION).map(({ documentId }) => documentId);
    assert.deepEqual(only, ['d0', 'd1', 'd2']);
  });
});

test('the dense leg weighs less where a query is short, and where it is guessed at', () => {
  const own = { method: 'scores', k: 60, denseWeight: 0.6 } as const;
  const weight = (count: number, guessed: number): string =>
    fusionOf(own, { count, guessed }).denseWeight.toFixed(4);
  assert.deepEqual(fusionOf(own, undefined), own, 'nobody has read the words');
  assert.deepEqual([weight(1, 0), weight(2, 0), weight(10, 0)], ['0.5000', '0.5500', '0.5900']);
  assert.deepEqual([weight(1, 1), weight(2, 0.5), weight(0, 0)], ['0.3000', '0.4500', '0.5000']);
});
