import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openTower } from '../../towers/open.ts';
import { pullTower } from '../../towers/pull.ts';
import { temporaryFolder, TINY_TOKENIZER, writeTinyTower } from '../../towers/testing/tiny-tower.ts';
import { readDataset } from '../../training/evaluation/dataset.ts';
import { cutCorpus } from './corpus.ts';
import { medianInterval } from './query-cost.ts';
import { cutVocabulary } from './vocabulary.ts';
import { widen } from './wide.ts';

test('a widened tower keeps the inner products of its vectors', async (context) => {
  const folder = temporaryFolder(context);
  writeTinyTower(folder, { space: { normalize: false } });
  const options = { cacheDir: temporaryFolder(context), inline: true };
  const wide = await widen(await pullTower(folder, options), 32, join(folder, 'wide'), 3);
  const texts = ['hello world', 'stars', 'an astronomer', 'query: abc'];
  const grams: number[][] = [];
  for (const directory of [folder, wide.directory]) {
    const tower = await openTower(directory, options);
    context.after(() => tower.close());
    const vectors = await tower.encodeAll(await Promise.all(texts.map((text) => tower.tokenize(text))));
    const { dimensions } = tower.manifest;
    const row = (index: number): Float32Array =>
      vectors.subarray(index * dimensions, (index + 1) * dimensions);
    grams.push(
      texts.flatMap((_, a) =>
        texts.map((__, b) => row(a).reduce((sum, value, index) => sum + value * row(b)[index]!, 0)),
      ),
    );
  }
  const [narrow, widened] = grams;
  assert.notEqual(narrow![0], 0);
  for (const [index, value] of narrow!.entries())
    assert.ok(Math.abs(widened![index]! - value) < 1e-4 * Math.max(1, Math.abs(value)));
});

test('a cut vocabulary keeps special tokens, letters and the most frequent tokens, and spells the rest', async (context) => {
  const folder = temporaryFolder(context);
  writeTinyTower(folder);
  const tower = await pullTower(folder, { cacheDir: temporaryFolder(context) });
  const whole = TINY_TOKENIZER.model.vocab;
  const letters = Object.keys(whole).filter((token) => /^(##)?.$/.test(token));
  const out = join(folder, 'cut');
  const size = 4 + letters.length + 2;
  await cutVocabulary(tower, ['hello hello star', 'world hello star'], size, out);
  const { model } = JSON.parse(readFileSync(join(out, 'tokenizer.json'), 'utf8')) as {
    model: { vocab: Record<string, number> };
  };
  const kept = Object.keys(model.vocab);
  assert.deepEqual(
    kept.filter((token) => /^\w{2,}$/.test(token)),
    ['hello', 'star'],
  );
  for (const token of ['[PAD]', '[UNK]', '[CLS]', '[SEP]']) assert.equal(model.vocab[token], whole[token]);
  for (const letter of letters) assert.ok(kept.includes(letter), letter);
  assert.deepEqual(
    Object.values(model.vocab).sort((a, b) => a - b),
    kept.map((_, id) => id),
  );
});

test('a cut corpus has all judged documents, and texts that are no queries', async (context) => {
  const folder = temporaryFolder(context);
  const lines = (records: object[]): string => records.map((record) => JSON.stringify(record)).join('\n');
  const documents = Array.from({ length: 60 }, (_, id) => ({
    _id: `d${id}`,
    title: `Title number ${id}`,
    text: `Sentence ${id} has some words. Another sentence ${id} follows here.`,
  }));
  writeFileSync(join(folder, 'corpus.jsonl'), lines(documents));
  writeFileSync(
    join(folder, 'queries.jsonl'),
    lines([
      { _id: 'q', text: 'Title number 7' },
      { _id: 'r', text: 'Title number 8' },
    ]),
  );
  writeFileSync(join(folder, 'qrels.tsv'), 'q\td7\t1\nq\td50\t0\nr\td7\t1\nr\td50\t0\n');
  const corpus = await cutCorpus(
    folder,
    { queries: 1, documents: 40, texts: 100 },
    temporaryFolder(context),
    1,
  );
  const { documents: kept, queries, judgments } = await readDataset(corpus.folder);
  const ids = new Set(kept.map(({ id }) => id));
  assert.equal(kept.length, 40);
  assert.deepEqual(corpus.of, { queries: 2, documents: 60 });
  for (const id of ['d7', 'd50']) assert.ok(ids.has(id));
  const [query, ...others] = queries;
  assert.equal(others.length, 0);
  assert.deepEqual(
    judgments.get(query!.id),
    new Map([
      ['d7', 1],
      ['d50', 0],
    ]),
  );
  const texts = readFileSync(corpus.texts, 'utf8').trim().split('\n');
  assert.equal(texts.length, 100);
  for (const asked of ['Title number 7', 'Title number 8']) assert.ok(!texts.includes(asked));
});

test('the interval of a median holds it, and shrinks with more samples', () => {
  const samples = (count: number): number[] => Array.from({ length: count }, (_, index) => index / count);
  const [low, high] = medianInterval(samples(400));
  assert.ok(low < 0.5 && high > 0.5);
  assert.ok(Math.abs(low - 0.45) < 0.01 && Math.abs(high - 0.55) < 0.01);
  const [lower, higher] = medianInterval(samples(100));
  assert.ok(higher - lower > high - low);
});
