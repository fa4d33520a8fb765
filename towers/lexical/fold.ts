/**
 * Spellings of one word as one: compatibility forms, case, and where wanted diacritics.
 */

/**
 * Characters, composed, whose full case folding is not what `toLowerCase` makes of them: Unicode's CaseFolding.txt, status
 * F, and the final sigma. The dotless ı is none of them: it folds to itself.
 */
const FULL_FOLDING = /[ßẞςǰΐΰև\u1e96-\u1e9a\u1f50-\u1ffc]/g;

/** What may need one of the steps after `toLowerCase`. */
const BEYOND_ASCII = /[\u0080-\uffff]/;

/**
 * Compatibility forms as plain ones (NFKC), then full case folding, so that STRASSE and Straße are the same. The answer is
 * composed.
 */
export function foldCase(text: string): string {
  if (!BEYOND_ASCII.test(text)) return text.toLowerCase();
  const lower = text.normalize('NFKC').toLowerCase();
  const folded = lower.replaceAll(FULL_FOLDING, (one) =>
    one === 'ς' ? 'σ' : one === 'ẞ' ? 'ss' : one.toUpperCase().toLowerCase().replaceAll('ς', 'σ'),
  );
  return folded === lower ? lower.normalize('NFC') : folded.normalize('NFKC');
}

/**
 * Marks that may be left out, after canonical decomposition: accents of Latin, Greek and Cyrillic, points of Hebrew, vowel
 * signs of Arabic. Marks of other scripts are letters in all but name. The breve of й makes another letter.
 */
const MARKS =
  /(?<!и)\u0306|\u0640|[\u0300-\u0305\u0307-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed]/g;

/** Letters with a stroke or of two letters, which do not decompose. */
const STROKES: Readonly<Record<string, string>> = {
  ø: 'o',
  ł: 'l',
  đ: 'd',
  ð: 'd',
  þ: 'th',
  æ: 'ae',
  œ: 'oe',
  ħ: 'h',
  ı: 'i',
  ŧ: 't',
};
const STROKED = /[øłđðþæœħıŧ]/g;

/** A word without its diacritics. @param word as {@link foldCase} leaves it */
export function foldDiacritics(word: string): string {
  if (!BEYOND_ASCII.test(word)) return word;
  return word
    .normalize('NFD')
    .replaceAll(MARKS, '')
    .replaceAll(STROKED, (letter) => STROKES[letter]!)
    .normalize('NFC');
}
