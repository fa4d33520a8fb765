import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { foldCase, foldDiacritics } from './fold.ts';
import { MAX_WORD, tokensOf } from './words.ts';

/** Words, and of identifiers the parts, in one line. */
function shown(text: string): string[] {
  return Array.from(tokensOf(text), ({ word, parts = [] }) =>
    [word, ...parts.map((part) => part.word)].join('|'),
  );
}

test('words are what stands between spaces and punctuation', () => {
  assert.deepEqual(shown('The dog, (a hound) barks!'), ['The', 'dog', 'a', 'hound', 'barks']);
  assert.deepEqual(shown('well-known, it’s'), ['well', 'known', 'it', 's']);
  assert.deepEqual(shown(' ?!… 👍 '), []);
});

test('scripts without spaces are split into words', () => {
  assert.deepEqual(shown('天文学家研究星星'), ['天文学', '家', '研究', '星星']);
  assert.deepEqual(shown('東京都に住んでいます')[0], '東京');
  assert.ok(shown('สวัสดีชาวโลก').length > 1);
  assert.ok(shown('សួស្តីពិភពលោក').length > 1);
  assert.deepEqual(shown('買iPhone手機'), ['買', 'iPhone', '手機']);
});

test('identifiers keep their whole beside their parts', () => {
  assert.deepEqual(shown('part AB-1234/5 here'), ['part', 'AB-1234/5|AB|1234|5', 'here']);
  assert.deepEqual(shown('node.js 1.2.3'), ['node.js|node|js', '1.2.3|1|2|3']);
  assert.deepEqual(shown('parseSynset __init__ HTTPServer'), [
    'parseSynset|parse|Synset',
    '__init__|init',
    'HTTPServer|HTTP|Server',
  ]);
  assert.deepEqual(shown('C++ and C# or F#.'), ['C++|C', 'and', 'C#|C', 'or', 'F#|F']);
  assert.deepEqual(shown('ask me@example.org'), ['ask', 'me@example.org|me|example|org']);
});

test('right-to-left text with marks is words', () => {
  assert.deepEqual(shown('שָׁלוֹם עולם'), ['שָׁלוֹם', 'עולם']);
  assert.equal(foldDiacritics(foldCase('שָׁלוֹם')), 'שלום');
  assert.equal(foldDiacritics(foldCase('كِتَاب')), foldDiacritics(foldCase('كتاب')));
});

test('case folds as Unicode says, and diacritics where wanted', () => {
  assert.equal(foldCase('STRASSE'), foldCase('Straße'));
  assert.equal(foldCase('ẞ'), 'ss');
  assert.equal(foldCase('ΟΔΟΣ'), foldCase('οδος'));
  assert.equal(foldCase('ﬁne'), 'fine');
  assert.equal(foldCase('１ｓｔ'), '1st');
  assert.equal(foldCase('cafe\u0301'), foldCase('CAFÉ'));
  assert.notEqual(foldCase('ı'), 'i');
  assert.equal(foldDiacritics(foldCase('İstanbul')), foldDiacritics(foldCase('istanbul')));
  assert.equal(foldDiacritics('é'), 'e');
  assert.equal(foldDiacritics('søren łódź'), 'soren lodz');
  assert.equal(foldDiacritics('й'), 'й', 'another letter, not a letter with a mark');
  assert.equal(foldDiacritics('हिन्दी'), 'हिन्दी', 'its marks are letters');
});

test('property: words lie in the text in order, bounded, and folding twice changes nothing', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 200 }), (text) => {
      let end = 0;
      for (const token of tokensOf(text)) {
        assert.ok(token.start >= end && token.end > token.start && token.end <= text.length);
        assert.ok(token.word.length <= MAX_WORD && token.word !== '');
        assert.ok(text.slice(token.start, token.end).startsWith(token.word));
        for (const part of token.parts ?? []) assert.equal(text.slice(part.start, part.end), part.word);
        end = token.end;
        const once = foldCase(token.word);
        assert.equal(foldCase(once), once);
        assert.equal(foldDiacritics(foldDiacritics(once)), foldDiacritics(once));
      }
    }),
  );
});
