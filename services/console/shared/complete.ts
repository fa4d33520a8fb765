/** Before it, a word may begin. */
const APART = /[^\p{L}\p{N}\p{M}]$/u;

/**
 * A query whose last word is another one. What is replaced is the longest end of it that the word begins with, whatever its
 * case and marks, and otherwise all behind the last space.
 */
export function completed(query: string, word: string): string {
  const whole = folded(word);
  const last = /\S*$/u.exec(query)![0];
  const before = query.length - last.length;
  for (let at = before; at < query.length; at++) {
    const mayBegin = at === before || APART.test(query.slice(0, at));
    if (mayBegin && whole.startsWith(folded(query.slice(at)))) return query.slice(0, at) + word;
  }
  return query.slice(0, before) + word;
}

function folded(text: string): string {
  return text.normalize('NFKD').replaceAll(/\p{M}/gu, '').toLowerCase();
}
