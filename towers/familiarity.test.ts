import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeFamiliarity, Familiarity } from './familiarity.ts';

test('tokens that training saw often are known, others and those past the vocabulary are not', () => {
  const counts = Uint32Array.of(0, 1, 3, 4, 5, 1_000_000, 2 ** 32 - 1);
  const familiarity = new Familiarity(encodeFamiliarity(counts));
  assert.deepEqual(
    [...counts.keys(), 99].map((token) => familiarity.knows(token)),
    [false, false, false, true, true, true, true, false],
  );
  assert.equal(familiarity.unknown([0, 0, 5, 99, 6]), 3);
  assert.equal(familiarity.unknown([]), 0);
});

test('a vocabulary takes some kilobytes', () => {
  const counts = Uint32Array.from({ length: 30_000 }, (_, token) => 10_000_000 / (token + 1) ** 1.3);
  assert.ok(encodeFamiliarity(counts).length < 12_000);
});

test('what is no familiarity knows nothing', () => {
  assert.equal(new Familiarity('no base64 of anything').knows(1), false);
});
