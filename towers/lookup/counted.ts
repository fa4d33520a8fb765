/**
 * Most characters of a text whose tokens are counted only to say how many there are: a count costs a few microseconds a
 * word, and more in alphabets that a tokenizer knows by letters.
 */
export const COUNTED_CHARACTERS = 8192;

/** How many tokens a text has, special tokens included. */
export interface TokenCount {
  tokens: number;
  /** It has more: counting ended there. */
  atLeast: boolean;
}

/**
 * As much of a text as is counted, from the side that is read. It ends between two words, so that the whole text has no
 * fewer tokens; but in what has no white space for so long, as in Chinese.
 */
export function countedPart(text: string, side: 'right' | 'left'): { part: string; atLeast: boolean } {
  if (text.length <= COUNTED_CHARACTERS) return { part: text, atLeast: false };
  const part =
    side === 'right'
      ? text.slice(0, COUNTED_CHARACTERS).replace(/\S{1,100}$/, '')
      : text.slice(-COUNTED_CHARACTERS).replace(/^\S{1,100}/, '');
  return { part, atLeast: true };
}
