import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bm25 } from './bm25.ts';
import type { Ranker } from './ranker.ts';

const DOCUMENTS = [
  { id: 'bees', title: 'Bees', text: 'live in hives' },
  { id: 'hives', title: '', text: 'hives hives of bees and of other insects' },
  { id: 'stars', title: 'Stars', text: 'are far away' },
];

async function idsOf({ rank }: Ranker, query: string, limit: number): Promise<string[]> {
  return (await rank(query, limit)).map(({ id }) => id);
}

test('rare words count more than common ones, and what shares no word is not found', async () => {
  const ranker = bm25(DOCUMENTS);
  assert.deepEqual(await idsOf(ranker, 'which bees live?', 10), ['bees', 'hives']);
  assert.deepEqual(await idsOf(ranker, 'insects', 10), ['hives']);
  assert.deepEqual(await idsOf(ranker, 'hives', 1), ['hives']);
  assert.deepEqual(await idsOf(ranker, 'FAR stars', 10), ['stars']);
  assert.deepEqual(await idsOf(ranker, 'nothing', 10), []);
});

test('scores are those of the formula, worked out by hand', async () => {
  // Lengths 4, 8 and 4; the empty document is none: N = 3, average 16/3. k1 = 1.2, b = 0.75.
  // "live" is in 1 of 3, once, in a document of 4: ln(1 + 2.5/1.5) = 0.980829; 1.2 (0.25 + 0.75 · 4/5.3333) = 0.975;
  //   0.980829 · 1 / 1.975 = 0.496622. Twice in the query: 0.993245.
  // "of" is in 1 of 3, twice, in a document of 8: 1.2 (0.25 + 0.75 · 1.5) = 1.65; 0.980829 · 2 / 3.65 = 0.537441.
  const { rank } = bm25([...DOCUMENTS, { id: 'empty', title: '', text: ' — ' }]);
  for (const [query, expected] of [
    ['live of', { hives: 0.537441, bees: 0.496622 }],
    ['live, of; LIVE', { bees: 0.993245, hives: 0.537441 }],
  ] as const) {
    const hits = await rank(query, 10);
    assert.deepEqual(
      hits.map(({ id, score }) => [id, score.toFixed(6)]),
      Object.entries(expected).map(([id, score]) => [id, score.toFixed(6)]),
    );
  }
});

test('equal scores keep the order of the documents', async () => {
  const twins = ['b', 'c', 'a'].map((id) => ({ id, title: '', text: 'same words' }));
  assert.deepEqual(await idsOf(bm25(twins), 'words', 2), ['b', 'c']);
});
