import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { temporaryFolder } from '../../towers/testing/tiny-tower.ts';
import { TrainingError } from '../errors.ts';
import { readPairs } from './pairs.ts';
import { letterPairs, linesFile } from '../testing/tiny-base.ts';

const held = { query: 'held query', document: 'held document', split: 'held-out' };
const refuses = (promise: Promise<unknown>, message: RegExp): Promise<void> =>
  assert.rejects(promise, (error) => {
    assert.ok(error instanceof TrainingError && error.reason === 'PAIRS_INVALID', String(error));
    assert.match(error.message, message);
    return true;
  });

test('pairs are understood as data sets have them', async (context) => {
  const file = linesFile(context, [
    { query: 'a', document: 'b', negatives: ['c'], split: 'train', id: 7 },
    { query: 'd', positive: 'e', negative: 'f' },
    { anchor: 'g', positive: 'h' },
    { query: 'i', pos: ['j', 'k'], neg: ['l', ''] },
    held,
  ]);
  const { train, heldOut } = await readPairs(file, 1);
  assert.deepEqual(train, [
    { query: 'a', document: 'b', negatives: ['c'] },
    { query: 'd', document: 'e', negatives: ['f'] },
    { query: 'g', document: 'h', negatives: [] },
    { query: 'i', document: 'j', negatives: ['l'] },
  ]);
  assert.deepEqual(heldOut, [{ query: 'held query', document: 'held document', negatives: [] }]);
});

test('what teaches nothing is left out and counted', async (context) => {
  const file = linesFile(context, [
    { query: 'a', document: 'b' },
    { query: ' ', document: 'b' },
    { query: 'x', document: '' },
    { query: 'same  text', document: 'Same text' },
    { query: 'A', document: ' b ' },
    { query: 'Held Query', document: 'other' },
    { query: 'other', document: 'held document' },
    { query: 'c', document: 'd' },
    '',
    held,
  ]);
  const { train, heldOut, dropped } = await readPairs(file, 1);
  assert.deepEqual(
    train.map(({ query }) => query),
    ['a', 'c'],
  );
  assert.equal(heldOut.length, 1);
  assert.deepEqual(dropped, { empty: 2, ownQuery: 1, duplicate: 1, heldOut: 2 });
});

test('where nothing is held out, a part of the pairs is, the same each time', async (context) => {
  const file = linesFile(context, letterPairs(200));
  const first = await readPairs(file, 1);
  const again = await readPairs(file, 1);
  const other = await readPairs(file, 2);
  assert.ok(first.heldOut.length >= 9 && first.heldOut.length <= 10);
  assert.deepEqual(first, again);
  assert.notDeepEqual(first.heldOut, other.heldOut);
  const texts = new Set(first.heldOut.flatMap(({ query, document }) => [query, document]));
  assert.ok(first.train.every(({ query, document }) => !texts.has(query) && !texts.has(document)));
});

test('a gzipped file is read like any other, and a limit takes some of it', async (context) => {
  const folder = temporaryFolder(context);
  const lines = letterPairs(100).map((pair) => JSON.stringify(pair));
  writeFileSync(join(folder, 'pairs.jsonl'), lines.join('\n'));
  writeFileSync(join(folder, 'pairs.jsonl.gz'), gzipSync(lines.join('\n')));
  const plain = await readPairs(join(folder, 'pairs.jsonl'), 1, { train: 30 });
  const zipped = await readPairs(join(folder, 'pairs.jsonl.gz'), 1, { train: 30 });
  assert.deepEqual(zipped, plain);
  assert.equal(plain.train.length, 30);
});

test('a file that can teach nothing is refused in one line that says why', async (context) => {
  const one = linesFile(context, [{ query: 'a', document: 'b' }, { query: 'c', document: '' }, held]);
  await refuses(readPairs(one, 1), /to train on: 1, held out: 1; left out: 1 with an empty side/);
  await refuses(readPairs(linesFile(context, [{ query: 'a', document: 'b' }, '{']), 1), /line 2: no JSON/);
  await refuses(readPairs(linesFile(context, [{ text: 'a' }]), 1), /line 1: no pair: give \{"query"/);
  await refuses(readPairs('/nowhere/pairs.jsonl', 1), /there is no file \/nowhere\/pairs.jsonl/);
});
