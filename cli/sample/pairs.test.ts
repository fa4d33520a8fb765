import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { readPairs } from '../../training/stage1/pairs.ts';
import { pairOf, writeWordNetPairs } from './pairs.ts';

test('a definition asks for words and examples, and is not among them', () => {
  const synset = (text: string) => ({
    id: 'wn31-v-1',
    title: 'amble, stroll',
    text,
    metadata: { pos: 'verb', lexfile: 'verb.motion', lemmas: ['amble', 'stroll'] },
  });
  assert.deepEqual(pairOf(synset('walk leisurely; "he ambled home"; "a \'slow\' stroll"')), {
    id: 'wn31-v-1',
    query: 'walk leisurely',
    document: "amble, stroll; he ambled home; a 'slow' stroll",
  });
  assert.equal(pairOf(synset('walk leisurely'))?.document, 'amble, stroll');
  assert.equal(pairOf(synset('"only an example"')), undefined);
});

test('WordNet makes more than a hundred thousand pairs, the same each time', async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'scalingnote-pairs-'));
  context.after(() => rmSync(folder, { recursive: true }));
  const out = join(folder, 'wordnet.jsonl');
  const written = await writeWordNetPairs(out, { heldOut: 2_000, seed: 1 });
  assert.equal(written.heldOut, 2_000);
  assert.ok(written.train > 115_000);
  const first = await readPairs(out, 1);
  assert.equal(first.heldOut.length, 2_000);
  assert.equal(
    first.train.length + Object.values(first.dropped).reduce((sum, n) => sum + n, 0),
    written.train,
  );
  assert.equal(first.dropped.empty + first.dropped.ownQuery, 0);
  await writeWordNetPairs(out, { heldOut: 2_000, seed: 1 });
  assert.equal((await readPairs(out, 1)).sha256, first.sha256);
});
