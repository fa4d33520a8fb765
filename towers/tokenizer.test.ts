import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Tokenizer } from '@huggingface/tokenizers';
import * as fc from 'fast-check';
import { TowerError } from './errors.ts';
import { TINY_TOKENIZER, TINY_UNIGRAM, VOCABULARY } from './testing/tiny-tower.ts';
import { TextTokenizer } from './tokenizer.ts';

const { hello, world, star, '[CLS]': cls, '[SEP]': sep, '[UNK]': unknown, '##s': s } = VOCABULARY;

function tokenizer(maxTokens = 16, truncation: 'right' | 'left' = 'right'): TextTokenizer {
  return new TextTokenizer(TINY_TOKENIZER, {}, { maxTokens, truncation });
}

test('words become ids between special tokens', () => {
  assert.deepEqual(tokenizer().encode('Hello  WORLD stars'), {
    ids: [cls, hello, world, star, s, sep],
    truncated: false,
  });
  assert.deepEqual(tokenizer().encode(''), { ids: [cls, sep], truncated: false });
  assert.deepEqual(tokenizer().ids('hello ☃'), [hello, unknown]);
  assert.equal(tokenizer().room, 14);
});

test('what is too long is cut on its side, special tokens stay', () => {
  const text = 'hello world star hello';
  assert.deepEqual(tokenizer(5).encode(text), { ids: [cls, hello, world, star, sep], truncated: true });
  assert.deepEqual(tokenizer(5, 'left').encode(text), {
    ids: [cls, world, star, hello, sep],
    truncated: true,
  });
  assert.deepEqual(tokenizer(6).encode(text), {
    ids: [cls, hello, world, star, hello, sep],
    truncated: false,
  });
});

test('a huge text is cut as a short one would be', () => {
  const middle = 'star '.repeat(400_000);
  const text = `hello world ${middle} world hello`;
  assert.deepEqual(tokenizer(5).encode(text), { ids: [cls, hello, world, star, sep], truncated: true });
  assert.deepEqual(tokenizer(5, 'left').encode(text), {
    ids: [cls, star, world, hello, sep],
    truncated: true,
  });
});

test('text behind much white space is found', () => {
  const text = `${' '.repeat(3_000)}hello`;
  assert.deepEqual(tokenizer().encode(text), { ids: [cls, hello, sep], truncated: false });
});

test('a word of millions of letters is no harm', () => {
  for (const letter of ['a', '😀', '\ud800', '\0']) {
    const { ids, truncated } = tokenizer().encode(letter.repeat(2 << 20));
    assert.ok(ids.length <= 16);
    assert.equal(truncated, true);
    assert.deepEqual([ids[0], ids.at(-1)], [cls, sep]);
  }
});

test('a lone surrogate is an unknown character', () => {
  assert.deepEqual(tokenizer().ids('hello \ud800 world'), tokenizer().ids('hello \ufffd world'));
});

test('a tokenizer without special tokens adds none', () => {
  const bare = new TextTokenizer(TINY_UNIGRAM, {}, { maxTokens: 4, truncation: 'right' });
  assert.equal(bare.room, 4);
  assert.equal(bare.encode('hello').ids.length, bare.ids('hello').length);
});

test('special tokens of tokenizer.json are known without tokenizer_config.json', () => {
  assert.deepEqual(tokenizer().ids('hello [SEP] world'), [hello, sep, world]);
});

test('a tokenizer that has nothing for a letter is refused', () => {
  const empty = { ...TINY_TOKENIZER, normalizer: { type: 'Replace', pattern: { String: 'a' }, content: '' } };
  assert.throws(
    () => new TextTokenizer(empty, {}, { maxTokens: 4, truncation: 'right' }),
    (error) => error instanceof TowerError && error.reason === 'TOWER_MODEL_UNSUPPORTED',
  );
});

test('word by word comes to the same as all at once', () => {
  const whole = new Tokenizer(TINY_TOKENIZER, {});
  const cached = tokenizer();
  const piece = fc.oneof(
    fc.constantFrom(
      'hello',
      'World',
      'stars',
      ' ',
      '\t',
      '\n',
      '\u00a0',
      '\u3000',
      '[SEP]',
      '[',
      ']',
      '.',
      '\0',
      'é',
      'e\u0301',
      '中',
      '-',
    ),
    fc.string({ unit: 'binary', maxLength: 4 }),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const text = pieces.join('').toWellFormed();
      assert.deepEqual(cached.ids(text), whole.encode(text, { add_special_tokens: false }).ids);
    }),
    { numRuns: 2000 },
  );
});
