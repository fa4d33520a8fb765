import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TINY_TOKENIZER, TINY_UNIGRAM } from '../testing/tiny-tower.ts';
import { probesOf } from './probes.ts';
import { tokenizerReport } from './report.ts';

test('thousands of probes, the same each time, of every kind', () => {
  const probes = probesOf(TINY_TOKENIZER);
  assert.deepEqual(probesOf(TINY_TOKENIZER), probes);
  assert.ok(probes.length > 1_500, String(probes.length));
  for (const piece of ['ΟΔΟΣ', '\u{20000}', '[SEP]', 'astronomer', '\u2581', '\0', '\u202e', '👨‍👩‍👧‍👦']) {
    assert.ok(
      probes.some((text) => text.includes(piece)),
      JSON.stringify(piece),
    );
  }
});

test('probes come from the vocabulary, of whatever form', () => {
  assert.ok(probesOf(TINY_UNIGRAM).some((text) => text.includes('▁hello')));
});

test('the report says what makes the ids, and that none differ', async () => {
  for (const file of [TINY_TOKENIZER, TINY_UNIGRAM]) {
    const { implementation, probes, differing } = await tokenizerReport(JSON.stringify(file), 'x');
    assert.deepEqual({ implementation, differing }, { implementation: 'native', differing: 0 });
    assert.equal(probes, probesOf(file).length);
  }
});
