import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { termId } from '../terms.ts';
import { Analyser, titleTerm, writtenTitleTerm } from './analyser.ts';
import { ANALYSER, mismatchOf, newRecord } from './analysis.ts';
import { editDistance } from './distance.ts';
import { readQuery, type ReadQuery } from './query.ts';
import { Vocabulary } from './vocabulary.ts';

const AUTO = new Analyser({ language: 'auto', keepDiacritics: false });

/** A vocabulary of documents, each a title and a text. */
function vocabularyOf(documents: readonly (readonly [string, string])[], analyser = AUTO): Vocabulary {
  const counts = new Map<string, number>();
  for (const [title, text] of documents) {
    for (const word of analyser.document(title, text).passage(text).words) {
      counts.set(word, (counts.get(word) ?? 0) + 1);
    }
  }
  return new Vocabulary(counts);
}

const DOCUMENTS = [
  ['astronomer', 'a physicist who studies astronomy and the stars'],
  ['star', 'any celestial body that is visible at night'],
  ['receive, have', 'get something and come into possession of it'],
  ['orphan', 'a child who has lost both parents'],
  ['Zürich', 'the largest city of Switzerland'],
  ['part AB-1234', 'a part with the number of it'],
] as const;
const VOCABULARY = vocabularyOf(DOCUMENTS);

function read(text: string, rest: Partial<Parameters<typeof readQuery>[1]> = {}): ReadQuery {
  return readQuery(text, { analyser: AUTO, vocabulary: VOCABULARY, prefix: false, ...rest });
}

function hits(query: ReadQuery, document: (typeof DOCUMENTS)[number], analyser = AUTO): boolean {
  const [title, text] = document;
  const terms = new Set(analyser.document(title, text).passage(text).sparse.indices);
  return query.sparse.indices.some((term) => terms.has(term));
}

test('an inflected word finds the others of its stem', () => {
  for (const word of ['orphans', 'Orphan', 'ORPHANED']) {
    const query = read(word);
    assert.ok(hits(query, DOCUMENTS[3]), word);
    assert.ok(query.sparse.indices.includes(titleTerm('orphan')), word);
    assert.equal(query.didYouMean, undefined, word);
  }
});

test('stop words are left out where there are others, and count where there are none', () => {
  const query = read('the orphan');
  assert.ok(!query.sparse.indices.includes(termId('the')));
  const stops = read('to be or not to be');
  assert.ok(stops.sparse.indices.includes(termId('to')));
  assert.ok(hits(read('the'), DOCUMENTS[0]));
});

test('an unfinished word matches by its beginning, and is completed', () => {
  const query = read('the astron', { prefix: true });
  assert.equal(query.text, 'the astronomer');
  assert.deepEqual(query.completions, ['astronomer', 'astronomy']);
  assert.ok(hits(query, DOCUMENTS[0]));
  assert.equal(query.didYouMean, undefined);
  assert.deepEqual([query.guessed, query.count], [1, 1]);
  assert.equal(read('orphan astron', { prefix: true }).guessed, 0.5);
  assert.equal(read('orphan astron').guessed, 0);
  assert.equal(read('orphn dog').guessed, 0.5, 'a mistyped word, too');
  assert.deepEqual(read('astron ', { prefix: true }).completions, [], 'a space finishes it');
  assert.deepEqual(read('astron').completions, [], 'nobody said that it is unfinished');
});

test('a finished word stays what it is, with what it may become', () => {
  const query = read('star', { prefix: true });
  assert.equal(query.text, 'star');
  assert.deepEqual(query.completions, ['stars']);
  assert.equal(query.words.get(titleTerm('star')), 'star (title)');
});

test('a mistyped word finds the similar ones, weighted down, and says so', () => {
  for (const [typed, meant] of [
    ['recieve', 'receive'],
    ['orpahn', 'orphan'],
    ['astronmer', 'astronomer'],
    ['asttronomre', 'astronomer'],
    ['zurihc', 'zurich'],
  ] as const) {
    const query = read(typed);
    assert.equal(query.didYouMean, meant, typed);
    assert.equal(query.text, meant, typed);
    const { stem } = AUTO.forms(typed, 'en');
    const own = [termId(typed), termId(stem), titleTerm(stem), writtenTitleTerm(typed)];
    const weightOf = (term: number): number => query.sparse.values[query.sparse.indices.indexOf(term)] ?? 0;
    const most = Math.max(...own.map(weightOf));
    for (const term of query.sparse.indices) {
      if (!own.includes(term)) assert.ok(weightOf(term) < most, `${typed}: ${query.words.get(term)}`);
    }
  }
  assert.equal(read('xyzzyqq').didYouMean, undefined);
  assert.equal(read('AB-1243').didYouMean, undefined, 'a number is not mistyped');
});

test('what is right as it is written is not corrected', () => {
  for (const text of ['orphans', 'studying stars', 'zurich', 'a', 'AB-1234', 'lost']) {
    assert.equal(read(text).didYouMean, undefined, text);
    assert.equal(read(text).text, text);
  }
});

test('an identifier is found by its whole and by its parts', () => {
  for (const text of ['AB-1234', 'ab-1234', '1234']) assert.ok(hits(read(text), DOCUMENTS[5]), text);
});

test('diacritics fold, unless they are kept', () => {
  assert.ok(hits(read('zurich'), DOCUMENTS[4]));
  const kept = new Analyser({ language: 'auto', keepDiacritics: true });
  const vocabulary = vocabularyOf(DOCUMENTS, kept);
  const query = readQuery('zürich', { analyser: kept, vocabulary, prefix: false });
  assert.ok(hits(query, DOCUMENTS[4], kept));
  const other = readQuery('zurich', { analyser: kept, prefix: false });
  assert.ok(!hits(other, DOCUMENTS[4], kept));
});

test('a query is read in the languages that the collection holds, or in its own', () => {
  const german = ['Häuser', 'die Häuser der Stadt und die Straßen'] as const;
  const both = vocabularyOf([...DOCUMENTS, german]);
  assert.deepEqual([...both.languages].sort(), ['de', 'en']);
  const terms = AUTO.document(...german).passage(german[1]).sparse.indices;
  assert.ok(read('Hauses', { vocabulary: both }).sparse.indices.some((term) => terms.includes(term)));
  assert.ok(!read('Hauses', { language: 'none' }).sparse.indices.some((term) => terms.includes(term)));
  assert.ok(read('hauses', { language: 'de' }).sparse.indices.some((term) => terms.includes(term)));
});

test('an analysis without stemming matches words as they are written', () => {
  for (const language of ['none', 'tlh']) {
    const plain = new Analyser({ language, keepDiacritics: false });
    const query = readQuery('orphans', { analyser: plain, prefix: false });
    assert.ok(!hits(query, DOCUMENTS[3], plain));
    assert.ok(hits(readQuery('orphan', { analyser: plain, prefix: false }), DOCUMENTS[3], plain));
  }
});

test('punctuation alone is no query, one letter and 500 words are', () => {
  assert.deepEqual(read('?!… 👍').sparse, { indices: [], values: [] });
  assert.ok(read('a').sparse.indices.length > 0);
  const long = read(
    Array.from({ length: 500 }, (_, index) => `wrod${'abcdefghij'[index % 10]}${index}`).join(' '),
  );
  assert.ok(long.sparse.indices.length >= 500);
});

test('property: any text is read, with positive weights, each term once and in letters', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 100 }), fc.boolean(), (text, prefix) => {
      const { sparse, words } = read(text, { prefix });
      assert.equal(new Set(sparse.indices).size, sparse.indices.length);
      assert.equal(sparse.values.length, sparse.indices.length);
      for (const value of sparse.values) assert.ok(value > 0 && Number.isFinite(value));
      for (const term of sparse.indices) assert.ok(words.has(term));
    }),
  );
});

test('edits are counted as optimal string alignment counts them', () => {
  const slow = (a: string, b: string): number => {
    const table = Array.from({ length: a.length + 1 }, (_, i) =>
      Array.from({ length: b.length + 1 }, (_, j) => (i === 0 ? j : j === 0 ? i : 0)),
    );
    for (let i = 1; i <= a.length; i++) {
      for (let j = 1; j <= b.length; j++) {
        const same = a[i - 1] === b[j - 1] ? 0 : 1;
        let least = Math.min(table[i - 1]![j]! + 1, table[i]![j - 1]! + 1, table[i - 1]![j - 1]! + same);
        if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
          least = Math.min(least, table[i - 2]![j - 2]! + 1);
        }
        table[i]![j] = least;
      }
    }
    return table[a.length]![b.length]!;
  };
  const word = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 8 });
  fc.assert(
    fc.property(word, word, fc.integer({ min: 0, max: 3 }), (a, b, most) => {
      assert.equal(editDistance(a, b, most), Math.min(slow(a, b), most + 1));
    }),
  );
});

test('property: the similar words are all that are near enough', () => {
  const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'c', 'd'), minLength: 3, maxLength: 8 });
  fc.assert(
    fc.property(fc.uniqueArray(letters, { maxLength: 30 }), letters, (words, word) => {
      const vocabulary = new Vocabulary(words.map((one) => [one, 1] as const));
      const found = vocabulary.similar(word, 2, 100).map((one) => one.word);
      const near = words.filter((one) => one !== word && editDistance(one, word, 2) <= 2);
      assert.deepEqual(found.sort(), near.sort());
    }),
  );
});

test('a title that says the word as it is written counts more than one with another form of it', () => {
  const scoreOf = (text: string, title: string, analyser = AUTO): number => {
    const { sparse } = readQuery(text, { analyser, prefix: false });
    const weights = sparseOf(analyser.document(title, 'a text').passage('a text').sparse);
    return sparse.indices.reduce((sum, term, i) => sum + sparse.values[i]! * (weights.get(term) ?? 0), 0);
  };
  assert.ok(scoreOf('visit', 'visit') > scoreOf('visit', 'visitor'));
  assert.ok(scoreOf('visits', 'visit') > 0);
  const shareOf = (text: string): number => sparseOf(read(text).sparse).get(writtenTitleTerm('star'))!;
  assert.equal(shareOf('star'), 1);
  assert.equal(shareOf('bright star northern sky'), 1 / 4, 'a sentence names no title');
});

test('a collection of version 1 keeps its terms, and another version than there are is refused', () => {
  const first = new Analyser({ language: 'auto', keepDiacritics: false, analyser: 1 });
  const has = (analyser: Analyser): boolean =>
    analyser.document('star', 'a text').passage('a text').sparse.indices.includes(writtenTitleTerm('star'));
  const asks = (analyser: Analyser): boolean =>
    readQuery('star', { analyser, prefix: false }).sparse.indices.includes(writtenTitleTerm('star'));
  assert.deepEqual([has(first), asks(first)], [false, false]);
  assert.deepEqual([has(AUTO), asks(AUTO)], [true, true]);
  const record = newRecord({ language: 'auto', keepDiacritics: false });
  for (let analyser = 1; analyser <= ANALYSER; analyser++) {
    assert.equal(mismatchOf({ ...record, analyser }), undefined);
  }
  for (const analyser of [0, ANALYSER + 1]) assert.match(mismatchOf({ ...record, analyser })!, /version/);
});

function sparseOf({ indices, values }: { indices: ArrayLike<number>; values: ArrayLike<number> }) {
  return new Map(Array.from(indices, (term, i) => [term, values[i]!]));
}
