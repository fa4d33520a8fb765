import assert from 'node:assert/strict';
import { test } from 'node:test';
import { splitPassages } from './passages.ts';
import { rulesOf } from './testing/passage-rules.ts';

for (const [name, unit] of [
  ['one word', 'a'],
  ['one emoji', '😀'],
  ['white space', '\n'],
  ['control characters', '\0'],
  ['lone surrogates', '\ud800'],
  ['full stops', '.'],
  ['one-letter words', 'a '],
] as const) {
  test(`a megabyte of ${name} is split into passages of bounded length`, async () => {
    const text = unit.repeat((1 << 20) / unit.length);
    let covered = 0;
    for await (const passage of splitPassages(
      { title: '', text },
      await rulesOf({ window: 254, overlap: 0, maxTokens: 256 }),
    )) {
      assert.ok(passage.text.length <= 254 * 32);
      assert.ok(passage.tokens.ids.length <= 256);
      covered += passage.text.replaceAll(/\s/g, '').length;
    }
    assert.equal(covered, text.replaceAll(/\s/g, '').length);
  });
}
