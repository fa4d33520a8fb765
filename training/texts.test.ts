import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../towers/testing/tiny-tower.ts';
import { TrainingError } from './errors.ts';
import { seededRandom } from './random.ts';
import { keywords, readCorpus, readTexts, span, textsFromDocuments, type TextSet } from './texts.ts';

const SENTENCES = [
  'the wing of a plane bends in hot air .',
  'does it break at high speed ?',
  'it never does .',
];

function corpus(documents: number): string {
  return Array.from({ length: documents }, (_, index) =>
    JSON.stringify({
      _id: `d${index}`,
      title: `wing number ${index}`,
      text: `${SENTENCES.join(' ')} wing ${index} flies best`,
    }),
  ).join('\n');
}

function textsFromCorpus(path: string, seed: number): Promise<TextSet> {
  return textsFromDocuments(readCorpus(path), path, seed);
}

const rejects = (promise: Promise<unknown>, message: RegExp): Promise<void> =>
  assert.rejects(promise, (error) => {
    assert.ok(error instanceof TrainingError);
    assert.match(error.message, message);
    return true;
  });

test('a corpus in lower case still comes apart into sentences', async (context) => {
  const folder = temporaryFolder(context);
  writeFileSync(join(folder, 'corpus.jsonl'), corpus(12));
  const texts = (await textsFromCorpus(folder, 1)).texts.map(({ text }) => text);
  for (const expected of [...SENTENCES, 'wing number 3', 'wing 3 flies best'])
    assert.ok(texts.includes(expected), expected);
  assert.ok(texts.every((text) => text.length < 60));
});

test('texts are distinct, of documents, and the same for the same seed', async (context) => {
  const folder = temporaryFolder(context);
  writeFileSync(join(folder, 'corpus.jsonl'), corpus(12));
  const { texts } = await textsFromCorpus(folder, 1);
  assert.equal(new Set(texts.map(({ text }) => text.toLowerCase())).size, texts.length);
  assert.ok(texts.every(({ group }) => group >= 0 && group < 12));
  assert.deepEqual((await textsFromCorpus(folder, 1)).texts, texts);
  assert.notDeepEqual((await textsFromCorpus(folder, 2)).texts, texts);
});

test('a plain text file is a document a line', async (context) => {
  const file = join(temporaryFolder(context), 'notes.txt');
  writeFileSync(
    file,
    Array.from({ length: 30 }, (_, index) => `note ${index} says a thing. and one more ${index}`).join('\n'),
  );
  const { texts } = await textsFromCorpus(file, 1);
  assert.ok(texts.some(({ text, group }) => text === 'note 7 says a thing.' && group === 7));
});

test('query texts come one a line, cleaned, each once', async (context) => {
  const file = join(temporaryFolder(context), 'queries.txt');
  const lines = Array.from({ length: 25 }, (_, index) => `query  ${index}\t`);
  writeFileSync(file, [...lines, '', 'Query 3', '  '].join('\r\n'));
  const { texts } = await readTexts(file, 1);
  assert.deepEqual(
    texts.map(({ text }) => text),
    Array.from({ length: 25 }, (_, index) => `query ${index}`),
  );
});

test('too few texts, too long lines and what is not there are named', async (context) => {
  const folder = temporaryFolder(context);
  const file = join(folder, 'queries.txt');
  writeFileSync(file, '');
  await rejects(readTexts(file, 1), /queries\.txt gives 0 different texts; at least 20/);
  writeFileSync(file, 'one\n'.repeat(100));
  await rejects(readTexts(file, 1), /gives 1 different texts/);
  writeFileSync(file, `fine\n${'x'.repeat(10_001)}\n`);
  await rejects(readTexts(file, 1), /line 2 has 10001 characters/);
  await rejects(readTexts(join(folder, 'none'), 1), /can't read .*none/);
  await rejects(textsFromCorpus(join(folder, 'none'), 1), /there is no file or folder .*none/);
  await rejects(textsFromCorpus(folder, 1), /can't read .*corpus\.jsonl/);
});

test('keywords are in their order, without words that say nothing', () => {
  const random = seededRandom(3);
  for (let round = 0; round < 50; round++) {
    const words = keywords('what is the effect of heat on a thin wing', random).split(' ');
    assert.ok(words.length >= 2 && words.length <= 4);
    const places = words.map((word) => ['effect', 'heat', 'thin', 'wing'].indexOf(word));
    assert.ok(places.every((place, index) => place > (places[index - 1] ?? -1)));
  }
});

test('a span is a run of words', () => {
  const random = seededRandom(3);
  const words = 'a b c d e f g h i'.split(' ');
  const lengths = new Set<number>();
  for (let round = 0; round < 100; round++) {
    const found = span(words, 2, 4, random);
    assert.ok(words.join(' ').includes(found));
    lengths.add(found.split(' ').length);
  }
  assert.deepEqual([...lengths].sort(), [2, 3, 4]);
  assert.equal(span(['a'], 2, 4, random), 'a');
});
