import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { TINY_TOKENIZER } from '../testing/tiny-tower.ts';
import { nativeTokenizer } from '../tokenizer/native.ts';
import { probesOf } from '../tokenizer/probes.ts';
import { familyFiles, readReference } from '../tokenizer/testing/families.ts';
import { TextTokenizer } from '../tokenizer/tokenizer.ts';
import { COUNTED_CHARACTERS } from './counted.ts';
import { LookupError } from './errors.ts';
import { WordPiece } from './wordpiece.ts';

const files = familyFiles();
const bert = files['bert']!;
const WHOLE = { maxTokens: 1_000_000, truncation: 'right' } as const;
/** Digits of a recorded hash. */
const DIGITS = 8;

/** The shipped tokenizer with other settings of its normaliser. */
function variant(settings: object): string {
  const json = JSON.parse(bert) as { normalizer: object };
  return JSON.stringify({ ...json, normalizer: { ...json.normalizer, ...settings } });
}

const VARIANTS: Record<string, string> = {
  shipped: bert,
  cased: variant({ lowercase: false, strip_accents: null }),
  'accents kept': variant({ strip_accents: false }),
  'accents alone': variant({ lowercase: false, strip_accents: true }),
  'not cleaned': variant({ clean_text: false, handle_chinese_chars: false }),
};

for (const [name, file] of Object.entries(VARIANTS)) {
  test(`${name}: ids are those of the reference tokenizer, for every probe`, async () => {
    const ours = new WordPiece(file, WHOLE);
    const reference = await nativeTokenizer(file);
    const texts = probesOf(JSON.parse(file) as object);
    assert.ok(texts.length > 2_000);
    const expected = await reference.idsOfAll(texts);
    const differing = texts.filter((text, i) => ours.ids(text).join() !== expected[i]!.join());
    assert.deepEqual(differing.slice(0, 10), []);
  });
}

test('recorded ids of two thousand hostile strings, as Python made them, whole and cut on either side', () => {
  const strings = readReference('strings') as string[];
  const { maxTokens, families } = readReference('ids') as {
    maxTokens: number;
    families: Record<string, { ids: string; right: string; left: string }>;
  };
  const recorded = families['bert']!;
  const whole = new WordPiece(bert, WHOLE);
  const right = new WordPiece(bert, { maxTokens, truncation: 'right' });
  const left = new WordPiece(bert, { maxTokens, truncation: 'left' });
  const differing: string[] = [];
  for (const [index, text] of strings.entries()) {
    const made = { ids: whole.ids(text), right: right.encode(text).ids, left: left.encode(text).ids };
    for (const what of ['ids', 'right', 'left'] as const) {
      const digest = hash('sha256', JSON.stringify(made[what])).slice(0, DIGITS);
      if (digest !== recorded[what].slice(index * DIGITS, (index + 1) * DIGITS)) {
        differing.push(`${what} of ${JSON.stringify(text)}`);
      }
    }
  }
  assert.deepEqual(differing, []);
});

test('any text at all: letters that combine, compose, reorder, and lone surrogates', async () => {
  const ours = new WordPiece(bert, WHOLE);
  const reference = await TextTokenizer.load(bert, WHOLE);
  const letter = fc.oneof(
    fc.integer({ min: 0, max: 0x1ffff }),
    fc.integer({ min: 0x300, max: 0x36f }),
    fc.constantFrom(0x345, 0x334, 0x1abf, 0x8ca, 0x11383, 0x16121, 0x3a3, 0x130, 0xd800, 0x20, 0x85, 0xfeff),
  );
  const text = fc.oneof(
    fc
      .array(letter, { maxLength: 24 })
      .map((codes) => codes.map((code) => String.fromCodePoint(code)).join('')),
    fc
      .array(fc.constantFrom('[CLS]', '[sep]', 'a', ' ', '[', 'é', 'e\u0301', '[MASK]', '##s'), {
        maxLength: 12,
      })
      .map((parts) => parts.join('')),
  );
  await fc.assert(
    fc.asyncProperty(text, async (value) => {
      assert.deepEqual(ours.ids(value), [...(await reference.ids(value))], JSON.stringify(value));
    }),
    { numRuns: 3_000 },
  );
});

test('a text that is cut says so, and keeps its special tokens', async () => {
  for (const truncation of ['right', 'left'] as const) {
    const limits = { maxTokens: 6, truncation };
    const ours = new WordPiece(bert, limits);
    const reference = await TextTokenizer.load(bert, limits);
    for (const text of ['', 'one two three four', 'one two three four five', 'x '.repeat(300_000)]) {
      assert.deepEqual(ours.encode(text), await reference.encode(text), `${truncation}, ${text.length}`);
    }
  }
});

test('tokenizers of other kinds, and settings that it does not know, are refused by name', () => {
  const refused = (change: object, why: RegExp): void => {
    const file = JSON.stringify({ ...TINY_TOKENIZER, ...change });
    assert.throws(
      () => new WordPiece(file, WHOLE),
      (error: unknown) => error instanceof LookupError && why.test(error.message),
      file.slice(-200),
    );
  };
  assert.ok(new WordPiece(JSON.stringify(TINY_TOKENIZER), WHOLE));
  refused({ normalizer: { type: 'NFC' } }, /normalizer is NFC; here only BertNormalizer/);
  refused({ normalizer: null }, /normalizer is none/);
  refused({ normalizer: { ...TINY_TOKENIZER.normalizer, fold: true } }, /normalizer\.fold is not known/);
  refused({ pre_tokenizer: { type: 'Metaspace' } }, /pre_tokenizer is Metaspace/);
  refused({ model: { type: 'Unigram' } }, /model is Unigram; here only WordPiece/);
  refused({ model: { ...TINY_TOKENIZER.model, dropout: 0.1 } }, /model\.dropout is not known/);
  refused({ post_processor: { type: 'RobertaProcessing' } }, /post_processor is RobertaProcessing/);
  const [token] = TINY_TOKENIZER.added_tokens;
  refused({ added_tokens: [{ ...token, lstrip: true }] }, /\[PAD\]\) has lstrip/);
  refused({ surprise: 1 }, /surprise is not known/);
  for (const [name, file] of Object.entries(files)) {
    const { model } = JSON.parse(file) as { model: { type: string } };
    if (model.type === 'WordPiece') continue;
    assert.throws(() => new WordPiece(file, WHOLE), LookupError, name);
  }
});

const LONG = [
  'animal '.repeat(4000),
  `${'a person who studies stars, '.repeat(800)}and no more`,
  '日本語の文章 '.repeat(1500),
  '日本語'.repeat(3000),
  'short and long enough to be cut at nine tokens of this window',
];

for (const truncation of ['right', 'left'] as const) {
  test(`what is cut on the ${truncation} has as many tokens as the reference counts, or says "at least"`, async () => {
    const limits = { maxTokens: 9, truncation };
    const ours = new WordPiece(bert, limits);
    const native = await TextTokenizer.load(bert, limits);
    const reference = await nativeTokenizer(bert);
    for (const text of LONG) {
      assert.ok(ours.encode(text).truncated);
      const counted = ours.countWhole(text);
      assert.deepEqual(counted, await native.countWhole(text), 'the two towers agree');
      const all = (await reference.ids(text, true)).length;
      if (text.length <= COUNTED_CHARACTERS) assert.deepEqual(counted, { tokens: all, atLeast: false });
      else assert.ok(counted.atLeast && counted.tokens <= all, `${counted.tokens} of ${all}`);
    }
    assert.ok(ours.countWhole(LONG[0]!).tokens > 1000);
  });
}
