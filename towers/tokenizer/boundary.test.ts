import assert from 'node:assert/strict';
import { test } from 'node:test';
import { boundaryOf } from './boundary.ts';
import { nativeTokenizer } from './native.ts';
import { familyFiles, readReference } from './testing/families.ts';
import { TextTokenizer } from './tokenizer.ts';

const files = familyFiles();
const strings = readReference('strings') as string[];

type Json = Record<string, unknown>;

function parsed(name: string): Json {
  return JSON.parse(files[name]!) as Json;
}

/** Families that may be taken apart between words. */
const APART = Object.keys(files).filter((name) => boundaryOf(parsed(name)) !== undefined);

test('most families may be taken apart; those that look across words may not', () => {
  assert.deepEqual(
    Object.keys(files).filter((name) => !APART.includes(name)),
    ['gpt2', 'llama', 'splits'],
    'an added token with a space inside, Prepend, a split that is not known',
  );
});

for (const name of APART) {
  test(`${name}: words one by one come to the same as the whole, with hostile strings between`, async () => {
    const plain = await nativeTokenizer(files[name]!);
    const apart = await TextTokenizer.load(files[name]!, { maxTokens: 1_000_000, truncation: 'right' });
    const some = strings.filter((_, index) => index % 13 === 0);
    const texts = some.map(
      (text, index) =>
        `Hello, ${text} world. What? ${some[(index * 7) % some.length]!} is 42 x ${text} a; b ${text}`,
    );
    const whole = await plain.idsOfAll(texts);
    for (const [index, text] of texts.entries()) {
      assert.deepEqual(await apart.ids(text), whole[index], JSON.stringify(text));
    }
  });
}

test('without the rule for Prepend, ids would differ', async () => {
  const plain = await nativeTokenizer(files['llama']!);
  const [whole, first, second] = await plain.idsOfAll(['query tower', 'query', ' tower']);
  assert.notDeepEqual([...first!, ...second!], whole);
});

const qwen = parsed('qwen');
const metaspace = parsed('llama-metaspace');
for (const [what, file] of [
  ['a normaliser that is not known', { ...qwen, normalizer: { type: 'New' } }],
  ['white space stripped on the left', { ...qwen, normalizer: { type: 'Strip', strip_left: true } }],
  [
    'a replacement that may match at a space',
    { ...qwen, normalizer: { type: 'Replace', pattern: { Regex: '\\W+' }, content: ' ' } },
  ],
  [
    'a replacement of a letter',
    { ...qwen, normalizer: { type: 'Replace', pattern: { String: 'a' }, content: ' ' } },
  ],
  [
    'a split that is not known',
    {
      ...qwen,
      pre_tokenizer: { type: 'Split', pattern: { Regex: '.+' }, behavior: 'Isolated', invert: false },
    },
  ],
  ['no pre-tokenizer', { ...qwen, pre_tokenizer: null }],
  ['bytes without words', { ...qwen, pre_tokenizer: { type: 'ByteLevel', use_regex: false } }],
  ['an added token with a space inside', { ...qwen, added_tokens: [{ content: 'New York' }] }],
  [
    'an added token that takes the space after it',
    { ...qwen, added_tokens: [{ content: 'ab', rstrip: true }] },
  ],
  [
    'a token that ends in the next word',
    { ...metaspace, model: { type: 'BPE', vocab: { '▁': 0, 'a▁b': 1 } } },
  ],
] as const) {
  test(`${what}: the whole text is tokenised at once`, () => {
    assert.ok(boundaryOf(qwen) && boundaryOf(metaspace));
    assert.equal(boundaryOf(file), undefined);
  });
}
