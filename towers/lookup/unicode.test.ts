import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bertNormalizer, bertPreTokenizer, nfdNormalizer } from 'tokenizers';
import { IDEOGRAPHS, isIn, MARKS, PUNCTUATION, REMOVED, SPACES } from './unicode.ts';

const NOTHING = { cleanText: false, handleChineseChars: false, stripAccents: false, lowercase: false };

test('each code point is of the classes that the reference puts it in', () => {
  const clean = bertNormalizer({ ...NOTHING, cleanText: true });
  const ideographs = bertNormalizer({ ...NOTHING, handleChineseChars: true });
  const accents = bertNormalizer({ ...NOTHING, stripAccents: true });
  const words = bertPreTokenizer();
  const nfd = nfdNormalizer();
  const differing: string[] = [];
  for (let code = 0; code < 0x110000; code++) {
    // Surrogates are no text; planes without letters, and those of private use, are the same throughout.
    if ((code >= 0xd800 && code < 0xe000) || (code > 0x33480 && code % 0x1000 > 0x200)) continue;
    const letter = String.fromCodePoint(code);
    const text = `a${letter}b`;
    const count = words.preTokenizeString(text).length;
    const found = [
      clean.normalizeString(text) === 'ab',
      ideographs.normalizeString(text) !== text,
      // What is taken apart is judged by its parts.
      accents.normalizeString(letter) === '' && nfd.normalizeString(letter) === letter,
      count === 3,
      count === 2,
    ];
    const ours = [REMOVED, IDEOGRAPHS, MARKS, PUNCTUATION, SPACES].map((set) => isIn(set, code));
    if (found.some((is, index) => is !== ours[index]))
      differing.push(`${code.toString(16)}: ${found.join()}, ${ours.join()}`);
  }
  assert.deepEqual(differing, []);
});
