import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { snippetOf } from './snippet.ts';

const TEXT =
  'Bees live in hives. A hive has one queen. Worker bees gather nectar from flowers, and carry pollen. Winter is hard.';

const words = (...terms: string[]): ReadonlySet<string> => new Set(terms);
const marked = ({ text, highlights }: ReturnType<typeof snippetOf>): string[] =>
  highlights.map(({ start, end }) => text.slice(start, end));

describe('a snippet', () => {
  test('is the sentence that says most of the query, with its words marked', () => {
    const snippet = snippetOf(TEXT, words('nectar', 'flowers', 'queen'), 60);
    assert.equal(snippet.text, 'Worker bees gather nectar from flowers, and carry pollen.');
    assert.deepEqual(marked(snippet), ['nectar', 'flowers']);
    assert.equal(TEXT.slice(snippet.start, snippet.start + snippet.text.length), snippet.text);
  });

  test('prefers a word that few sentences say', () => {
    assert.match(snippetOf(TEXT, words('bees', 'queen'), 30).text, /queen/);
  });

  test('takes the sentences around as far as they fit', () => {
    assert.equal(snippetOf(TEXT, words('queen'), 45).text, 'Bees live in hives. A hive has one queen.');
    assert.equal(snippetOf(TEXT, words('queen'), 1000).text, TEXT);
  });

  test('begins at the beginning where no sentence says a word of the query', () => {
    assert.equal(snippetOf(TEXT, words('elephant'), 24).text, 'Bees live in hives.');
    assert.deepEqual(snippetOf('', words('x'), 24), { text: '', highlights: [], start: 0 });
  });

  test('cuts a long sentence between words, around the first word of the query', () => {
    const long = `${'one two three '.repeat(40)}nectar ${'four five six '.repeat(40)}`;
    const snippet = snippetOf(long, words('nectar'), 60);
    assert.ok(snippet.text.length <= 60);
    assert.deepEqual(marked(snippet), ['nectar']);
    assert.match(snippet.text, /^(?:one|two|three) .* (?:four|five|six)$/);
  });

  test('never cuts a character, is no longer than asked, and marks words of the query alone', () => {
    const piece = fc.constantFrom(
      'nectar',
      'bee',
      'x',
      ' ',
      '. ',
      '! ',
      '\n',
      '👩‍👩‍👧‍👦',
      '🇩🇪',
      '한',
      'é',
      'e\u0301',
      '\u1100\u1161',
      '𝒳',
      '。',
      '蜜蜂',
    );
    const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });
    const property = fc.property(
      fc.array(piece, { maxLength: 120 }),
      fc.integer({ min: 16, max: 80 }),
      (pieces, length) => {
        const text = pieces.join('');
        const snippet = snippetOf(text, words('nectar', 'x', '蜜蜂'), length);
        const { start } = snippet;
        const end = start + snippet.text.length;
        assert.equal(text.slice(start, end), snippet.text);
        assert.ok(snippet.text.length <= length && snippet.text.isWellFormed());
        const boundaries = new Set(
          [...graphemes.segment(text)].map(({ index }) => index).concat(text.length),
        );
        assert.ok(boundaries.has(start) && boundaries.has(end), `${start} to ${end} cut a character`);
        let last = 0;
        for (const highlight of snippet.highlights) {
          assert.ok(highlight.start >= last && highlight.end > highlight.start);
          last = highlight.end;
        }
        for (const word of marked(snippet)) assert.ok(['nectar', 'x', '蜜蜂', '𝒳'].includes(word), word);
      },
    );
    fc.assert(property, { numRuns: 1000 });
  });
});
