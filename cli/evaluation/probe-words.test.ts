import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FORMS, formOf, holds, probeWords, WordSample } from './probe-words.ts';

describe('the words of a probe', () => {
  const titles = [
    'dog',
    'Cat',
    'the dog',
    'elephants',
    'Astronomer ',
    'astronomer',
    'C3PO',
    'bee',
    'wolf',
    'tiger',
    'moose',
  ];

  test('are titles of one word, each once, and the same for the same seed in whatever order titles come', () => {
    const sample = (seed: number, all: readonly string[], count: number): string[] => {
      const words = new WordSample(seed, count);
      for (const title of all) words.add(title);
      return words.words();
    };
    assert.deepEqual(sample(1, titles, 100).toSorted(), [
      'astronomer',
      'elephants',
      'moose',
      'tiger',
      'wolf',
    ]);
    const two = sample(1, titles, 2);
    assert.equal(two.length, 2);
    assert.deepEqual(sample(1, titles.toReversed(), 2), two);
    const seeds = Array.from({ length: 10 }, (_, seed) => sample(seed, titles, 2).join());
    assert.ok(new Set(seeds).size > 1);
  });

  test('take forms: a plural, the first 70 % of the letters, and two neighbours swapped', () => {
    const forms = (word: string): string[] => FORMS.map((form) => formOf(word, form, 1));
    assert.deepEqual(forms('wolf').slice(0, 3), ['wolf', 'wolfs', 'wol']);
    assert.deepEqual(forms('astronomer')[2], 'astrono');
    const plurals = ['fox', 'church', 'city', 'day', 'glass'].map((word) => formOf(word, 'plural', 1));
    assert.deepEqual(plurals, ['foxes', 'churches', 'cities', 'days', 'glasses']);
    for (let seed = 0; seed < 20; seed++) {
      const mistyped = formOf('astronomer', 'transposed', seed);
      assert.notEqual(mistyped, 'astronomer');
      assert.equal(mistyped[0], 'a');
      assert.deepEqual([...mistyped].toSorted(), [...'astronomer'].toSorted());
    }
    assert.equal(formOf('aaaa', 'transposed', 1), 'aaaa', 'nothing to swap');
  });

  test('are held by titles as whole words', () => {
    assert.ok(holds('dog, domestic dog, Canis familiaris', 'canis'));
    assert.ok(!holds('doghouse', 'dog'));
  });
});

test('the table counts first places, the first ten, and empty answers', async () => {
  const table = await probeWords(['wolf', 'tiger'], 1, async (mode, query) => {
    if (mode === 'sparse') return query === 'wolf' ? ['wolf'] : [];
    return mode === 'dense' ? ['tiger', 'wolf'] : [...Array.from({ length: 10 }, () => 'x'), 'wolf'];
  });
  assert.deepEqual(table.exact.sparse, { first: 0.5, firstTen: 0.5, empty: 0.5 });
  assert.deepEqual(table.exact.dense, { first: 0.5, firstTen: 1, empty: 0 });
  assert.deepEqual(table.exact.hybrid, { first: 0, firstTen: 0, empty: 0 });
  assert.deepEqual(table.plural.sparse, { first: 0, firstTen: 0, empty: 1 });
});
