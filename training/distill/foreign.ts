import type { TrainingText } from '../texts.ts';
import { type StudentTokenizer, tokenTexts } from './tokenizer.ts';

/** A larger share of words that a tokenizer does not know is no matter of names and jargon. */
export const FOREIGN_SHARE = 0.3;

/** Texts that are looked at. */
const SAMPLE = 500;

/** Shorter words are a token or two of any vocabulary. */
const LEAST_LETTERS = 4;

/** Words of alphabets whose words white space ends. In others, as in Chinese, a letter is a word. */
const WORD = new RegExp(
  `(?:(?!\\p{Script=Han}|\\p{Script=Hiragana}|\\p{Script=Katakana}|\\p{Script=Thai}|\\p{Script=Lao}|\\p{Script=Khmer})[\\p{L}\\p{M}]){${LEAST_LETTERS},}`,
  'gu',
);

/** Share of the words that a student's tokenizer reads nearly letter by letter, or not at all: about none of a language that it is made for. */
export async function foreignShare(
  tokenizer: StudentTokenizer,
  texts: readonly TrainingText[],
): Promise<number> {
  const stride = Math.ceil(texts.length / SAMPLE);
  const words = new Set(
    texts.filter((_, index) => index % stride === 0).flatMap(({ text }) => text.match(WORD) ?? []),
  );
  if (words.size === 0) return 0;
  const names = await tokenTexts(tokenizer.tower.directory);
  const known = [...words];
  let foreign = 0;
  for (const [index, ids] of (await tokenizer.read(known)).entries()) {
    const pieces = ids.filter((id) => (names[id] ?? '') !== '').length;
    if (pieces === 0 || pieces > known[index]!.length - 2) foreign++;
  }
  return foreign / words.size;
}
