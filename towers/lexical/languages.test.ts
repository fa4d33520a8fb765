import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { foldCase } from './fold.ts';
import { languageCode } from './analysis.ts';
import { detectLanguage, isStemmed, knownLanguages, languageOf, stemmedLanguages } from './languages.ts';
import { tokensOf } from './words.ts';

/** The file is not compiled, so this path leads from the compiled file to the source. */
const GOLDEN = new URL('../../../towers/lexical/testing/snowball.json', import.meta.url);
const { stems } = JSON.parse(readFileSync(GOLDEN, 'utf8')) as {
  stems: Record<string, Record<string, string>>;
};

for (const code of stemmedLanguages()) {
  test(`words of "${code}" have the stems of Snowball's own package`, () => {
    const words = Object.keys(stems[code] ?? {});
    assert.ok(
      words.length > 2,
      `no golden values for "${code}": towers/lexical/testing/make-snowball.py makes them`,
    );
    const { stem } = languageOf(code);
    assert.deepEqual(Object.fromEntries(words.map((word) => [word, stem(word)])), stems[code]);
  });
}

test('each language that a request may name is spelled as the Unicode library spells it', () => {
  const known = knownLanguages();
  assert.deepEqual(
    known.filter((code) => languageCode(code) !== code),
    [],
  );
  assert.deepEqual(
    stemmedLanguages().filter((code) => !known.includes(code)),
    [],
  );
  for (const [given, code] of Object.entries({
    eng: 'en',
    'en-US': 'en',
    nb: 'no',
    ger: 'de',
    xx: undefined,
  })) {
    assert.equal(languageCode(given), code, given);
  }
});

const TEXTS: Readonly<Record<string, string>> = {
  en: 'a physicist who studies astronomy and the planets',
  de: 'der Hund läuft mit dem Kind über die Straße',
  fr: 'le chien court avec les enfants dans la rue',
  es: 'el perro corre con los niños por la calle',
  it: 'il cane corre con i bambini nella strada',
  nl: 'de hond loopt met het kind over de straat',
  sv: 'hunden springer med barnen på gatan och är glad',
  pt: 'o cachorro corre com as crianças pela rua e não para',
  fi: 'koira juoksee lasten kanssa kadulla ja se on iloinen',
  tr: 'köpek çocuklarla birlikte sokakta koşuyor ve çok mutlu',
  ru: 'собака бежит с детьми по улице',
  el: 'ο σκύλος τρέχει με τα παιδιά στον δρόμο',
  ar: 'الكلب يجري مع الأطفال في الشارع',
};

for (const [code, text] of Object.entries(TEXTS)) {
  test(`a sentence in "${code}" is taken for it`, () => {
    const words = Array.from(tokensOf(text), ({ word }) => foldCase(word));
    assert.equal(detectLanguage(words), code);
  });
}

test('a text without a hint is taken for English, one in another script for none', () => {
  assert.equal(detectLanguage(['retriever', 'labrador']), 'en');
  assert.equal(detectLanguage(['犬', '猫']), '');
  assert.equal(detectLanguage([]), '');
});

test('a language without a stemmer leaves words as they are', () => {
  assert.equal(isStemmed('tlh'), false);
  assert.equal(languageOf('tlh').stem('dogs'), 'dogs');
  assert.equal(languageOf('tlh').stopWords.size, 0);
  assert.equal(isStemmed('constructor'), false);
});
