import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { splitPassages, type PassageRules } from './passages.ts';
import { allOf, rulesOf } from './testing/passage-rules.ts';
import { TINY_TOKENIZER, TINY_UNIGRAM } from './testing/tiny-tower.ts';
import type { Passage } from './tower.ts';

function split(text: string, rules: PassageRules, title = ''): Promise<Passage[]> {
  return allOf(splitPassages({ title, text }, rules));
}

function texts(passages: readonly Passage[]): string[] {
  return passages.map(({ text }) => text);
}

test('a short document is one passage: title, a space, text', async () => {
  const rules = await rulesOf();
  const [passage, ...more] = await split('  hello world. \n', rules, ' star ');
  assert.equal(more.length, 0);
  assert.equal(passage!.text, 'hello world.');
  assert.deepEqual(passage!.tokens, await rules.encode('star hello world.'));
});

test('a document without text is one passage of its title', async () => {
  const rules = await rulesOf({ prompt: 'query: ' });
  for (const text of ['', ' \n\t ']) {
    const span = { start: 0, end: 0 };
    assert.deepEqual(await split(text, rules, 'hello'), [
      { text: '', span, tokens: await rules.encode('hello') },
    ]);
  }
  const span = { start: 0, end: 0 };
  assert.deepEqual(await split('', rules), [{ text: '', span, tokens: await rules.encode('') }]);
});

test('passages end where sentences end, and begin with the last sentences of the one before', async () => {
  // 3 tokens each with the full stop; 12 to a window; one sentence of overlap.
  const text = 'Hello world. World hello. Hello star. Star world. World star. Star hello. Hello hello.';
  assert.deepEqual(texts(await split(text, await rulesOf())), [
    'Hello world. World hello. Hello star. Star world.',
    'Star world. World star. Star hello. Hello hello.',
  ]);
});

test('overlap holds as many whole sentences as fit, none where the last one does not', async () => {
  const text = 'Hello. World. Star star star star star star star. Hello world star hello. World.';
  assert.deepEqual(texts(await split(text, await rulesOf({ window: 12, overlap: 5 }))), [
    'Hello. World. Star star star star star star star.',
    'Hello world star hello. World.',
  ]);
  assert.deepEqual(texts(await split(text, await rulesOf({ window: 8, overlap: 4 }))), [
    'Hello. World.',
    'Star star star star star star star.',
    'Hello world star hello. World.',
  ]);
});

test('no overlap, no repetition', async () => {
  const text = 'Hello world. World hello. Hello star. Star world. World star. Star hello.';
  assert.equal(texts(await split(text, await rulesOf({ overlap: 0 }))).join(' '), text);
});

test('a sentence longer than the window is divided at words, and words are repeated', async () => {
  const words = Array.from(
    { length: 90 },
    (_, index) => `${'abcdefghi'[index % 9]}${'klmnopqrst'[index % 10]}`,
  );
  const passages = await split(`${words.join(' ')}.`, await rulesOf({ window: 24, overlap: 8 }));
  const wordsOf = passages.map(({ text }) => text.replace(/\.$/, '').split(' '));
  for (const [index, { tokens }] of passages.entries()) {
    for (const word of wordsOf[index]!) assert.ok(words.includes(word), word);
    assert.equal(tokens.truncated, false);
    assert.ok(tokens.ids.length <= 26);
    if (index === 0) continue;
    const before = wordsOf[index - 1]!;
    const repeated = before.slice(before.indexOf(wordsOf[index]![0]!));
    assert.ok(repeated.length >= 1 && repeated.length <= 4);
    assert.deepEqual(wordsOf[index]!.slice(0, repeated.length), repeated);
  }
  assert.deepEqual([...new Set(wordsOf.flat())], words);
});

test('the title counts in the first window only', async () => {
  const text = 'Hello world. World hello. Hello star. Star world. World star.';
  const rules = await rulesOf({ overlap: 0 });
  const passages = await split(text, rules, 'hello star');
  assert.deepEqual(texts(passages), ['Hello world. World hello. Hello star.', 'Star world. World star.']);
  assert.deepEqual(
    passages[0]!.tokens,
    await rules.encode('hello star Hello world. World hello. Hello star.'),
  );
  assert.deepEqual(passages[1]!.tokens, await rules.encode('Star world. World star.'));
});

test('a sentence that the title leaves no room for is divided', async () => {
  const rules = await rulesOf({ overlap: 0 });
  const text = 'hello world star hello world star hello world star hello. Hello world.';
  const passages = await split(text, rules, 'star star star star');
  assert.equal(texts(passages).join(' '), text);
  for (const { tokens } of passages) assert.equal(tokens.truncated, false);
});

test('a title longer than half the window is cut at a word, and that is said', async () => {
  const passages = await split(
    'Hello world. World hello. Hello star.',
    await rulesOf(),
    'star '.repeat(2_000),
  );
  assert.equal(passages[0]!.tokens.truncated, true);
  assert.ok(passages[0]!.tokens.ids.length <= 14);
  assert.equal(passages.at(-1)!.tokens.truncated, false);
  assert.ok(passages.at(-1)!.text.endsWith('Hello star.'));
  const alone = await split('', await rulesOf(), 'star '.repeat(2_000));
  assert.equal(alone.length, 1);
  assert.equal(alone[0]!.tokens.truncated, true);
});

/** What is encoded of a document. */
async function encoded(
  text: string,
  rules: PassageRules,
  title = '',
): Promise<{ seen: string[]; passages: Passage[] }> {
  const seen: string[] = [];
  const encode: PassageRules['encode'] = (stretch) => (seen.push(stretch), rules.encode(stretch));
  return { seen, passages: await split(text, { ...rules, encode }, title) };
}

test('as many words of a title are kept as fit half the window exactly', async () => {
  const text = 'Hello world. World hello. Hello star.';
  const { seen, passages } = await encoded(text, await rulesOf(), 'star '.repeat(7));
  assert.ok(seen.includes(`star star star star star star ${passages[0]!.text}`));
  assert.deepEqual(
    passages.map(({ tokens }) => tokens.truncated),
    [true, false],
  );
  const { seen: whole, passages: fits } = await encoded(text, await rulesOf(), 'star '.repeat(6));
  assert.ok(whole.includes(`star star star star star star ${fits[0]!.text}`));
  assert.equal(fits[0]!.tokens.truncated, false);
});

test('a title has no more characters than a window, however few its tokens', async () => {
  const most = 12 * 32;
  const { seen, passages } = await encoded('hello', await rulesOf(), 'a'.repeat(most));
  assert.deepEqual(seen, [`${'a'.repeat(most)} hello`]);
  assert.equal(passages[0]!.tokens.truncated, false);
  const longer = await encoded('hello', await rulesOf(), 'a'.repeat(most + 1));
  assert.deepEqual(longer.seen, [`${'a'.repeat(most)} hello`]);
  assert.equal(longer.passages[0]!.tokens.truncated, true);
});

test('a title that no word of fits is left out', async () => {
  const rules = await rulesOf({ window: 1, overlap: 0 });
  const { seen, passages } = await encoded('star', rules, 'hello');
  assert.deepEqual(seen, ['star']);
  assert.deepEqual(passages, [
    {
      text: 'star',
      span: { start: 0, end: 4 },
      tokens: { ...(await rules.encode('star')), truncated: true },
    },
  ]);
});

test('a passage fills the window exactly, by its own sentences and the repeated ones', async () => {
  const text = 'Hello world. Star star star. World. Hello star. World.';
  // Tokens: 3, 4, 2, 3, 2.
  assert.deepEqual(texts(await split(text, await rulesOf({ window: 9, overlap: 2 }))), [
    'Hello world. Star star star. World.',
    'World. Hello star. World.',
  ]);
  assert.deepEqual(texts(await split(text, await rulesOf({ window: 7, overlap: 3 }))), [
    'Hello world. Star star star.',
    'World. Hello star. World.',
  ]);
});

test('a repeated sentence gives way where it leaves no room for the next one', async () => {
  // Tokens: 3, 3, 8.
  const text = 'Hello world. World hello. Star star star star star star star.';
  assert.deepEqual(texts(await split(text, await rulesOf({ window: 8, overlap: 4 }))), [
    'Hello world. World hello.',
    'Star star star star star star star.',
  ]);
});

/** Rules that count a token more for each sentence than its words. */
const generous: PassageRules = {
  window: 6,
  overlap: 4,
  count: (text) => words(text) + 1,
  encode: (text) => ({ ids: Array.from({ length: words(text) }, () => 1), truncated: false }),
  limit: 6,
};

function words(text: string): number {
  return text.split(/\s+/).filter(Boolean).length;
}

test('sentences count by themselves: what they save together makes no room for repetition', async () => {
  const text = 'Hello world one. World hello. Star star star star. One two three four five six seven.';
  assert.deepEqual(texts(await split(text, generous)).slice(0, 2), ['Hello world one.', 'World hello.']);
});

test('a short text that fits as a whole is one passage, whatever its sentences count', async () => {
  const text = 'Hello world star. Hello world star.';
  assert.deepEqual(texts(await split(text, generous)), [text]);
  // Eight characters for each token of the window, and one more.
  assert.equal(texts(await split('Hello world starstarstar. Hello world starstars.', generous)).length, 1);
  assert.equal(texts(await split('Hello world starstarstar. Hello world starsstars.', generous)).length, 2);
});

/** Rules that count two letters as a token. */
function letters(window: number, limit = window): PassageRules {
  const count = (text: string): number => Math.ceil(text.length / 2);
  const encode = (text: string): Passage['tokens'] => ({
    ids: Array.from({ length: count(text) }, () => 1),
    truncated: false,
  });
  return { window, overlap: 0, count, encode, limit };
}

test('pieces of a word fill at most a quarter of the window, and have two letters or more', async () => {
  const word = 'abcdefghijklmnopqrstuvwxyzABCDEF';
  // Four letters are a quarter of the window; three such pieces fit the limit, four do not.
  assert.deepEqual(texts(await split(word, letters(8, 7))), ['abcdefghijkl', 'mnopqrstuvwx', 'yzABCDEF']);
  const each: PassageRules = { ...letters(3), count: (text) => text.length };
  assert.deepEqual(texts(await split('abcdefgh', { ...each, limit: 1 })), ['ab', 'cd', 'ef', 'gh']);
});

test('white space before the first sentence is left out, nothing else is', async () => {
  const text = 'Hello world. World hello. Hello star. Star world. World star. Star hello. Hello hello.';
  const rules = await rulesOf({ overlap: 0 });
  assert.deepEqual(texts(await split(`\n\n  \t${text}`, rules)), texts(await split(text, rules)));
});

test('the prompt is before every passage and not part of the window', async () => {
  const rules = await rulesOf({ prompt: 'query: ' });
  const passages = await split('Hello world. World hello. Hello star. Star world. World star.', rules);
  assert.equal(passages.length, 2);
  for (const { text, tokens } of passages) assert.deepEqual(tokens, await rules.encode(text));
});

/** Words that occur once each, so that a passage's place in the text is known by its words. */
const numbered = fc
  .array(fc.constantFrom(' ', '. ', '. ', '.\n\n', ' ', ', ', '! '), { minLength: 1, maxLength: 300 })
  .map((gaps) => gaps.map((gap, index) => `W${index}x${gap}`).join(''));

const settings = fc.record({
  window: fc.integer({ min: 32, max: 60 }),
  overlap: fc.nat(7),
  prompt: fc.constantFrom('', 'query: '),
  title: fc.constantFrom('', 'hello', 'hello world star'),
});

for (const [name, file] of [
  ['WordPiece', TINY_TOKENIZER],
  ['Unigram', TINY_UNIGRAM],
] as const) {
  test(`${name}: passages are slices in order that cover the text, fit the window and are encoded as they stand`, async () => {
    await fc.assert(
      fc.asyncProperty(numbered, settings, async (text, { title, ...options }) => {
        const rules = await rulesOf({ ...options, maxTokens: 96 }, file);
        let end = 0;
        let start = -1;
        for (const [index, { text: passage, tokens, span }] of (await split(text, rules, title)).entries()) {
          assert.equal(text.slice(span.start, span.end), passage);
          const at = text.indexOf(passage, start + 1);
          assert.ok(at > start, 'in order');
          assert.equal(text.slice(end, Math.max(end, at)).trim(), '', 'nothing left out');
          assert.ok(at + passage.length > end, 'something new');
          start = at;
          end = at + passage.length;
          assert.equal(passage, passage.trim());
          assert.deepEqual(
            tokens,
            await rules.encode(index > 0 || title === '' ? passage : `${title} ${passage}`),
          );
          assert.ok(tokens.ids.length <= rules.limit);
          assert.equal(tokens.truncated, false);
        }
        assert.equal(text.slice(end).trim(), '');
      }),
      { numRuns: 60 },
    );
  });

  test(`${name}: no letter of any text is lost`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'grapheme', maxLength: 2_000, size: 'max' }), async (text) => {
        const passages = await split(text, await rulesOf({ overlap: 0 }, file));
        assert.equal(texts(passages).join('').replaceAll(/\s/g, ''), text.replaceAll(/\s/g, ''));
      }),
      { numRuns: 60 },
    );
  });
}

test('a sentence across the blocks that sentences are looked for in stays whole', async () => {
  const rules = await rulesOf({ window: 60, overlap: 0, maxTokens: 96 });
  const sentence = 'Hello world star astronomer hello world star astronomer hello.';
  const text = Array.from({ length: 200 }, () => sentence).join(' ');
  for (const passage of texts(await split(text, rules))) {
    assert.equal(passage.replaceAll(sentence, '').trim(), '');
  }
});

test('passages are split off as they are asked for', async () => {
  let counted = 0;
  const rules = await rulesOf();
  const passages = splitPassages(
    { title: '', text: 'Hello world. '.repeat(10_000) },
    { ...rules, count: (text) => (counted++, rules.count(text)) },
  );
  await passages.next();
  assert.ok(counted > 0 && counted < 100);
});
