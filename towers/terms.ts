/**
 * Text to weighted terms, for search by wording: BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework:
 * BM25 and Beyond", 2009) split into a query's part and a passage's part, whose dot product times the inverse document
 * frequency is the score. The store knows the frequencies and multiplies them in.
 *
 * These are the terms of collections that were made before a collection had an analysis of its own, which `lexical/` has:
 * words in lower case, without stemming. Scripts that put no spaces between words are matched by whole runs of letters only.
 */
export interface TermVector {
  /** Unsigned 32-bit hashes of the terms, each once, in order of their first appearance. */
  indices: number[];
  /** Weight of each term, positive. */
  values: number[];
}

/** How soon a term that is said again adds nothing: the usual choice. */
export const BM25_K1 = 1.2;
/** How much a long passage has to repeat a term to count as much as a short one: the usual choice. */
export const BM25_B = 0.75;
/**
 * Length that counts as neither long nor short, in words. A constant, so that a passage's weights do not depend on
 * what else is stored: about what one passage window holds when a sentence end cuts it.
 */
export const AVERAGE_PASSAGE_WORDS = 128;

/** A letter or digit, and what follows of them, with the marks that belong to them. */
const WORD = /[\p{L}\p{N}][\p{L}\p{N}\p{M}]*/gu;

/** Terms of a query, weighted by how often it says them, as Lucene does. Empty where it has no letters and no digits. */
export function queryTerms(text: string): TermVector {
  const { counts } = termCounts(text);
  return { indices: [...counts.keys()], values: [...counts.values()] };
}

/** Terms of a passage, weighted by how often it says them and how long it is. Empty as for {@link queryTerms}. */
export function passageTerms(text: string): TermVector {
  const { counts, words } = termCounts(text);
  const saturation = BM25_K1 * (1 - BM25_B + (BM25_B * words) / AVERAGE_PASSAGE_WORDS);
  return {
    indices: [...counts.keys()],
    values: Array.from(counts.values(), (count) => (count * (BM25_K1 + 1)) / (count + saturation)),
  };
}

/** The terms of a text in letters, by their hash, in order of their first appearance. */
export function termWords(text: string): Map<number, string> {
  const words = new Map<number, string>();
  for (const [word] of text.normalize('NFKC').toLowerCase().matchAll(WORD)) words.set(termId(word), word);
  return words;
}

/** Where the words of a text stand, in UTF-16 code units, each as the term that it is. */
export function* wordsOf(
  text: string,
): Generator<{ term: string; start: number; end: number }, void, undefined> {
  for (const { 0: word, index } of text.matchAll(WORD)) {
    yield { term: word.normalize('NFKC').toLowerCase(), start: index, end: index + word.length };
  }
}

const BEYOND_ASCII = /[\u0080-\uffff]/;

/** How often a text says each term, and how many words it has. */
export function termCounts(text: string): { counts: Map<number, number>; words: number } {
  const counts = new Map<number, number>();
  let words = 0;
  for (const [word] of text.normalize('NFKC').toLowerCase().matchAll(WORD)) {
    const term = termId(word);
    counts.set(term, (counts.get(term) ?? 0) + 1);
    words++;
  }
  return { counts, words };
}

/** The number of a term: FNV-1a (Fowler, Noll and Vo) over UTF-8, 32 bits: among 100 000 different words it takes about one pair for the same. */
export function termId(word: string): number {
  // The bytes as a string's units: those of an ASCII word, which most are, are there already.
  const bytes = BEYOND_ASCII.test(word) ? Buffer.from(word).toString('latin1') : word;
  let hash = 0x811c9dc5;
  for (let index = 0; index < bytes.length; index++) {
    hash = Math.imul(hash ^ bytes.charCodeAt(index), 0x01000193);
  }
  return hash >>> 0;
}
