import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { TopDocuments } from './top-documents.ts';

const candidate = fc.record({
  documentId: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'),
  score: fc.integer({ min: 0, max: 4 }),
  passage: fc.nat(5),
});

describe('TopDocuments', () => {
  it('keeps what sorting everything would keep, for any order and number of offers', () => {
    const inputs = fc.record({
      candidates: fc.array(candidate, { maxLength: 40 }),
      capacity: fc.integer({ min: 1, max: 7 }),
      threshold: fc.constantFrom(-Infinity, 2),
    });
    fc.assert(
      fc.property(inputs, ({ candidates, capacity, threshold }) => {
        const top = new TopDocuments(capacity, threshold);
        for (const one of [...candidates, ...candidates.toReversed()]) top.offer(one);
        const best = new Map<string, (typeof candidates)[number]>();
        for (const one of candidates) {
          const known = best.get(one.documentId);
          if (
            !known ||
            one.score > known.score ||
            (one.score === known.score && one.passage < known.passage)
          ) {
            best.set(one.documentId, one);
          }
        }
        const sorted = [...best.values()]
          .filter(({ score }) => score >= threshold)
          .sort((a, b) => b.score - a.score || (a.documentId < b.documentId ? -1 : 1));
        assert.deepEqual(top.ranking, sorted.slice(0, capacity));
      }),
      { numRuns: 500 },
    );
  });
});
