import assert from 'node:assert/strict';
import { test } from 'node:test';
import { commonFirst } from './order.ts';
import { isPerson, readWordNet } from './wordnet.ts';

test('a part of the sample is the common words, of every kind, and what people ask for', async () => {
  const all = await readWordNet();
  const ordered = await commonFirst(all);
  assert.deepEqual(new Set(ordered), new Set(all));
  assert.equal(ordered.length, all.length);

  const first = ordered.slice(0, 3000);
  const has = (lemma: string): boolean => first.some(({ metadata }) => metadata.lemmas[0] === lemma);
  for (const lemma of ['water', 'house', 'walk', 'small', 'quickly', 'teacher', 'astronomer']) {
    assert.ok(has(lemma), `${lemma} is common`);
  }
  for (const lemma of ['mimetic', 'lanceolate', 'Penutian', 'El Cid']) {
    assert.ok(!has(lemma), `${lemma} is not`);
  }
  assert.deepEqual([...new Set(first.map(({ metadata }) => metadata.pos))].sort(), [
    'adjective',
    'adverb',
    'noun',
    'verb',
  ]);
  assert.equal(first.filter(isPerson).length, 750);
  assert.deepEqual(await commonFirst(all), ordered, 'each time the same');
});
