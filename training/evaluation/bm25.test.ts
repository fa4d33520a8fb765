import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bm25 } from './bm25.ts';

const DOCUMENTS = [
  { id: 'bees', title: 'Bees', text: 'live in hives' },
  { id: 'hives', title: '', text: 'hives hives of bees and of other insects' },
  { id: 'stars', title: 'Stars', text: 'are far away' },
];

test('rare words count more than common ones, and what shares no word is not found', async () => {
  const { rank } = bm25(DOCUMENTS);
  assert.deepEqual(await rank('which bees live?', 10), ['bees', 'hives']);
  assert.deepEqual(await rank('insects', 10), ['hives']);
  assert.deepEqual(await rank('hives', 1), ['hives']);
  assert.deepEqual(await rank('FAR stars', 10), ['stars']);
  assert.deepEqual(await rank('nothing', 10), []);
});

test('scores are those of the formula', async () => {
  // Lengths 4, 8 and 4, average 16/3. "live" is in one document of three, once; "of" in another, twice.
  const idf = Math.log(1 + 2.5 / 1.5);
  const live = (idf * 2.2) / (1 + 1.2 * (0.25 + (0.75 * 4) / (16 / 3)));
  const of = (idf * 2 * 2.2) / (2 + 1.2 * (0.25 + (0.75 * 8) / (16 / 3)));
  assert.ok(of > live);
  assert.deepEqual(await bm25(DOCUMENTS).rank('live of', 10), ['hives', 'bees']);
});
