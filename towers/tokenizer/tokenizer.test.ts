import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { TowerError } from '../errors.ts';
import { TINY_TOKENIZER, TINY_UNIGRAM, VOCABULARY } from '../testing/tiny-tower.ts';
import { nativeTokenizer } from './native.ts';
import { TextTokenizer, type TextLimits } from './tokenizer.ts';

const { hello, world, star, '[CLS]': cls, '[SEP]': sep, '[UNK]': unknown, '##s': s } = VOCABULARY;

function tokenizer(
  maxTokens = 16,
  truncation: TextLimits['truncation'] = 'right',
  file: object = TINY_TOKENIZER,
): Promise<TextTokenizer> {
  return TextTokenizer.load(JSON.stringify(file), { maxTokens, truncation });
}

test('words become ids between special tokens', async () => {
  const tiny = await tokenizer();
  assert.deepEqual(await tiny.encode('Hello  WORLD stars'), {
    ids: [cls, hello, world, star, s, sep],
    truncated: false,
  });
  assert.deepEqual(await tiny.encode(''), { ids: [cls, sep], truncated: false });
  assert.deepEqual(await tiny.ids('hello ☃'), [hello, unknown]);
  assert.equal(await tiny.count('hello ☃'), 2);
  assert.equal(tiny.room, 14);
});

test('a text of known words is answered at once', async () => {
  const tiny = await tokenizer();
  const first = tiny.encode('hello world');
  assert.ok(first instanceof Promise, 'not known yet');
  await first;
  assert.deepEqual(tiny.encode('world\thello'), { ids: [cls, world, hello, sep], truncated: false });
});

test('what is too long is cut on its side, special tokens stay', async () => {
  const text = 'hello world star hello';
  assert.deepEqual(await (await tokenizer(5)).encode(text), {
    ids: [cls, hello, world, star, sep],
    truncated: true,
  });
  assert.deepEqual(await (await tokenizer(5, 'left')).encode(text), {
    ids: [cls, world, star, hello, sep],
    truncated: true,
  });
  assert.deepEqual(await (await tokenizer(6)).encode(text), {
    ids: [cls, hello, world, star, hello, sep],
    truncated: false,
  });
});

test('a huge text is cut as a short one would be', async () => {
  const middle = 'star '.repeat(400_000);
  const text = `hello world ${middle} world hello`;
  assert.deepEqual(await (await tokenizer(5)).encode(text), {
    ids: [cls, hello, world, star, sep],
    truncated: true,
  });
  assert.deepEqual(await (await tokenizer(5, 'left')).encode(text), {
    ids: [cls, star, world, hello, sep],
    truncated: true,
  });
});

test('a text is never cut inside a word', async () => {
  // 150 letters are one unknown word; the first 90 of them would be 90 tokens.
  const text = `${'hello '.repeat(50)}${'a'.repeat(150)} ${'world '.repeat(400)}`;
  for (const truncation of ['right', 'left'] as const) {
    const turned = truncation === 'right' ? text : text.split(' ').toReversed().join(' ');
    for (let maxTokens = 20; maxTokens < 80; maxTokens++) {
      const { ids } = await (await tokenizer(maxTokens, truncation)).encode(turned);
      const whole = await (await tokenizer(1_000, truncation)).ids(turned);
      const room = maxTokens - 2;
      assert.deepEqual(
        ids.slice(1, -1),
        truncation === 'right' ? whole.slice(0, room) : whole.slice(whole.length - room),
      );
    }
  }
});

test('text behind much white space is found', async () => {
  const text = `${' '.repeat(3_000)}hello`;
  assert.deepEqual(await (await tokenizer()).encode(text), { ids: [cls, hello, sep], truncated: false });
});

test('a word of millions of letters is no harm', async () => {
  for (const letter of ['a', '😀', '\ud800', '\0']) {
    const { ids, truncated } = await (await tokenizer()).encode(letter.repeat(2 << 20));
    assert.ok(ids.length <= 16);
    assert.equal(truncated, true);
    assert.deepEqual([ids[0], ids.at(-1)], [cls, sep]);
  }
});

test('a lone surrogate is an unknown character', async () => {
  const tiny = await tokenizer();
  assert.deepEqual(await tiny.ids('hello \ud800 world'), await tiny.ids('hello \ufffd world'));
});

test('a tokenizer without special tokens adds none', async () => {
  const bare = await tokenizer(4, 'right', TINY_UNIGRAM);
  assert.equal(bare.room, 4);
  assert.equal((await bare.encode('hello')).ids.length, await bare.count('hello'));
});

test('special tokens of tokenizer.json are known without tokenizer_config.json', async () => {
  assert.deepEqual(await (await tokenizer()).ids('hello [SEP] world'), [hello, sep, world]);
});

test('truncation and padding of tokenizer.json give way to maxTokens', async () => {
  const file = {
    ...TINY_TOKENIZER,
    truncation: { max_length: 3, strategy: 'LongestFirst', stride: 0, direction: 'Right' },
    padding: {
      strategy: { Fixed: 8 },
      direction: 'Right',
      pad_to_multiple_of: null,
      pad_id: 0,
      pad_type_id: 0,
      pad_token: '[PAD]',
    },
  };
  assert.deepEqual(await (await tokenizer(16, 'right', file)).encode('hello world star'), {
    ids: [cls, hello, world, star, sep],
    truncated: false,
  });
});

for (const [what, file, why] of [
  [
    'has nothing for a letter',
    { ...TINY_TOKENIZER, normalizer: { type: 'Replace', pattern: { String: 'a' }, content: '' } },
    /no token for the letter "a"/,
  ],
  ['the reference does not know', { ...TINY_TOKENIZER, pre_tokenizer: { type: 'New' } }, /tokenizer\.json/],
] as const) {
  test(`a tokenizer that ${what} is refused`, async () => {
    await assert.rejects(
      tokenizer(4, 'right', file),
      (error) =>
        error instanceof TowerError && error.reason === 'TOWER_MODEL_UNSUPPORTED' && why.test(error.message),
    );
  });
}

test('word by word comes to the same as all at once', async () => {
  const whole = await nativeTokenizer(JSON.stringify(TINY_TOKENIZER));
  const cached = await tokenizer();
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
      'ΟΔΟΣ',
      '\u{20000}',
      '\u0301',
      '\u200d',
      '\u2028',
    ),
    fc.string({ unit: 'binary', maxLength: 4 }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { maxLength: 12 }), async (pieces) => {
      const text = pieces.join('').toWellFormed();
      assert.deepEqual(await cached.ids(text), await whole.ids(text));
    }),
    { numRuns: 2000 },
  );
});
