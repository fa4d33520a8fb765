/** A stretch of a text, and whether it is a word of the query. */
export interface Stretch {
  text: string;
  isMatch: boolean;
}

const WORDS = /[\p{L}\p{N}][\p{L}\p{N}\p{M}]*/gu;

/**
 * Cuts a text where words of a query stand in it. Case and accents do not count; the last word of the query counts as
 * the beginning of one, because somebody may be typing it.
 */
export function stretchesOf(text: string, query: string): Stretch[] {
  const words = Array.from(query.matchAll(WORDS), ([word]) => folded(word));
  const last = /[\p{L}\p{N}\p{M}]$/u.test(query) ? words.pop() : undefined;
  const whole = new Set(words);
  const found: Stretch[] = [];
  let end = 0;
  for (const { 0: word, index } of text.matchAll(WORDS)) {
    const plain = folded(word);
    if (!whole.has(plain) && !(last !== undefined && plain.startsWith(last))) continue;
    if (index > end) found.push({ text: text.slice(end, index), isMatch: false });
    end = index + word.length;
    found.push({ text: text.slice(index, end), isMatch: true });
  }
  if (end < text.length) found.push({ text: text.slice(end), isMatch: false });
  return found;
}

function folded(word: string): string {
  return word.normalize('NFKD').replaceAll(/\p{M}/gu, '').toLowerCase();
}
