import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cheapestPair, choose, operationsOf, targetsBetween, type SizeRange } from './cheapest.ts';
import type { TowerSolution } from './tower-law.ts';

const constants = { A: 9e4, alpha: 0.5, B: 2.7e5, beta: 0.35, C: 1.3e4, gamma: 0.6, delta: 1.1 };
const solution = (c: typeof constants = constants): TowerSolution => ({
  constants: c,
  at: ({ document, query, pairs }) =>
    (c.A / document) ** c.alpha + (c.B / query) ** c.beta + (c.C / pairs) ** c.gamma + c.delta,
});
const range: SizeRange = { document: [1e5, 1e7], query: [1e4, 1e7] };
const load = { documents: 1e6, tokensPerDocument: 200, tokensPerQuery: 12, days: 30 };
const pairs = 32_000;
const RATES = [0.001, 0.1, 1, 10, 1_000];

test('operations are two a weight and token, of documents once and of queries over the days', () => {
  const sizes = { document: 10, query: 3 };
  assert.equal(operationsOf(sizes, load, 0), 2 * 10 * 1e6 * 200);
  assert.equal(operationsOf(sizes, load, 2) - operationsOf(sizes, load, 0), 2 * 3 * 12 * 2 * 30 * 86_400);
});

test('the cheapest pair is that of trying all sizes, and its query tower shrinks as queries become more', () => {
  const law = solution();
  const steps = 1_200;
  const sizesOf = ([low, high]: readonly [number, number]): number[] =>
    Array.from({ length: steps + 1 }, (_, i) => low * (high / low) ** (i / steps));
  const [documents, queries] = [sizesOf(range.document), sizesOf(range.query)];
  for (const entropy of targetsBetween(law, range, pairs)) {
    let before: { document: number; query: number } | undefined;
    for (const rate of RATES) {
      const costOf = (sizes: { document: number; query: number }) => operationsOf(sizes, load, rate);
      const found = cheapestPair(law, { entropy, pairs }, range, costOf)!;
      assert.ok(law.at({ ...found, pairs }) <= entropy + 1e-4);
      let least = Infinity;
      // Of one size of documents the smallest query tower that does is the cheapest: sizes ascend.
      for (const document of documents) {
        const query = queries.find((each) => law.at({ document, query: each, pairs }) <= entropy);
        if (query !== undefined) least = Math.min(least, costOf({ document, query }));
      }
      const ratio = costOf(found) / least;
      assert.ok(ratio < 1.0005 && ratio > 0.985, `${rate} queries/s: ${ratio} of what trying all costs`);
      if (before !== undefined) {
        assert.ok(found.query <= before.query * 1.001, 'more queries, a smaller query tower');
        assert.ok(found.document >= before.document * 0.999, 'and a larger document tower');
      }
      before = found;
    }
  }
});

test('an entropy that the largest towers do not reach has no pair, and one that the smallest reach has those', () => {
  const law = solution();
  const costOf = (sizes: { document: number; query: number }) => operationsOf(sizes, load, 1);
  const at = (end: 0 | 1): number =>
    law.at({ document: range.document[end], query: range.query[end], pairs });
  assert.equal(cheapestPair(law, { entropy: at(1) - 0.001, pairs }, range, costOf), undefined);
  const easy = cheapestPair(law, { entropy: at(0) + 0.001, pairs }, range, costOf)!;
  assert.ok(Math.abs(easy.document / 1e5 - 1) < 1e-3 && Math.abs(easy.query / 1e4 - 1) < 1e-3);
});

test('a choice names the members of the family, ends of the range, and refits that do not reach it', () => {
  const members = (parameters: readonly number[]) =>
    parameters.map((each) => ({ name: `${each}`, parameters: each }));
  const family = { document: members([1e5, 1e6, 1e7]), query: members([1e4, 1e5, 1e6, 1e7]) };
  const law = solution();
  const entropies = [2.9, 3.6];
  const worse = solution({ ...constants, delta: 2 });
  const given = { load, range, family, pairs, entropies, rates: RATES };
  const choices = choose({ best: law, refits: [law, law, law, worse] }, given);
  assert.equal(choices.length, entropies.length * RATES.length);
  for (const choice of choices) {
    const { entropy, queriesPerSecond } = choice;
    const able = family.document.flatMap((document) =>
      family.query
        .filter(
          (query) => law.at({ document: document.parameters, query: query.parameters, pairs }) <= entropy,
        )
        .map((query) => ({
          document: document.name,
          query: query.name,
          operations: operationsOf(
            { document: document.parameters, query: query.parameters },
            load,
            queriesPerSecond,
          ),
        })),
    );
    const least = Math.min(...able.map(({ operations }) => operations));
    assert.equal(choice.family?.operations, least);
    assert.ok(choice.best!.operations <= least * 1.0005, 'sizes in between are never dearer');
    assert.equal(choice.reached, entropy < 3.5 ? 0.75 : 1);
    assert.ok(choice.best!.queryShare > 0 && choice.best!.queryShare < 1);
  }
  const hardest = choose({ best: law, refits: [law] }, { ...given, entropies: [1.5] });
  assert.ok(
    hardest.every(
      ({ best, family: none, reached }) => best === undefined && none === undefined && reached === 0,
    ),
  );
  const easiest = choose({ best: law, refits: [law] }, { ...given, entropies: [9] });
  assert.deepEqual(easiest[0]!.best!.atEnd, ['the smallest document tower', 'the smallest query tower']);
});
