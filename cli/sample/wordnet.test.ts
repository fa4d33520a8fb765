import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseSynset, readWordNet } from './wordnet.ts';

test('a synset becomes a document with lemmas as title and the gloss as text', () => {
  assert.deepEqual(
    parseSynset(
      '09841955 18 n 03 astronomer 0 uranologist 0 star_gazer 1 002 @ 10679504 n 0000 + 06109100 n 0101 | a physicist who studies astronomy  ',
    ),
    {
      id: 'wn31-n-09841955',
      title: 'astronomer, uranologist, star gazer',
      text: 'a physicist who studies astronomy',
      metadata: { pos: 'noun', lexfile: 'noun.person', lemmas: ['astronomer', 'uranologist', 'star gazer'] },
    },
  );
});

test('markers of adjectives and the lines of the licence are not words', () => {
  assert.equal(
    parseSynset('00013910 00 s 01 galore(ip) 0 001 & 00013662 a 0000 | in great numbers')?.title,
    'galore',
  );
  assert.equal(parseSynset('  1 This software and database is being provided to you'), undefined);
});

test('the word count of a synset is hexadecimal', () => {
  const words = Array.from({ length: 16 }, (_, index) => `word${index} 0`).join(' ');
  assert.equal(parseSynset(`00000001 03 n 10 ${words} 000 | many`)?.metadata.lemmas.length, 16);
});

test('the whole of WordNet 3.1 is read, each synset once', async () => {
  const documents = await readWordNet();
  assert.equal(documents.length, 117791);
  assert.equal(new Set(documents.map(({ id }) => id)).size, 117791);
});
