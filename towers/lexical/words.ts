/**
 * Where the words of a text are.
 */

/** A stretch of a text that is one word, or one identifier with its parts. */
export interface Token {
  /** In UTF-16 code units. */
  start: number;
  end: number;
  /** As the text has it. */
  word: string;
  /** Of an identifier: what it is made of, each as the text has it. */
  parts?: Token[];
}

/**
 * A run of letters, digits and the marks that belong to them; or an identifier: such runs joined by single signs, as in
 * part numbers, versions, paths and code. `C++`, `C#` and `.NET` are identifiers, too.
 */
const RUN =
  /(?:[\p{L}\p{N}_][\p{L}\p{N}\p{M}_]*)(?:[-./:@+#~][\p{L}\p{N}_][\p{L}\p{N}\p{M}_]*)*(?:\+\+|#)?/gu;

const PLAIN = /^[\p{L}\p{N}][\p{L}\p{N}\p{M}]*$/u;
const PIECE = /[\p{L}\p{N}][\p{L}\p{N}\p{M}]*/gu;

/** What most words are. */
const SIMPLE = /^[A-Za-z]?[a-z]*$/;

/** Scripts that put no spaces between words: `Intl.Segmenter` knows their words. */
const UNSPACED =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Khmer}\p{Script=Lao}\p{Script=Myanmar}]/u;

/** Where a word in camel case has its next part. */
const HUMP = /(?<=\p{Ll})(?=\p{Lu})|(?<=\p{Lu})(?=\p{Lu}\p{Ll})/u;
const CAMEL = /\p{Ll}\p{Lu}|\p{Lu}\p{Lu}\p{Ll}/u;

/** Longest word in UTF-16 code units: what is longer is no word, but data. */
export const MAX_WORD = 64;

let segmenter: Intl.Segmenter | undefined;

/** The words of a text, in order. */
export function* tokensOf(text: string): Generator<Token, void, undefined> {
  for (const { 0: run, index } of text.matchAll(RUN)) {
    if (run.length <= MAX_WORD && SIMPLE.test(run)) {
      yield { start: index, end: index + run.length, word: run };
    } else if (UNSPACED.test(run)) {
      yield* segmented(run, index);
    } else if (PLAIN.test(run)) {
      yield plain(run, index);
    } else {
      yield* joined(run, index);
    }
  }
}

function plain(word: string, start: number): Token {
  const token: Token = { start, end: start + word.length, word };
  if (word.length > MAX_WORD) {
    token.word = cut(word);
  } else if (CAMEL.test(word)) {
    const parts = splitAt(word, start, HUMP);
    if (parts.length > 1) token.parts = parts;
  }
  return token;
}

function* segmented(run: string, offset: number): Generator<Token, void, undefined> {
  segmenter ??= new Intl.Segmenter('und', { granularity: 'word' });
  for (const { segment, index, isWordLike } of segmenter.segment(run)) {
    if (isWordLike !== true) continue;
    const start = offset + index;
    yield { start, end: start + segment.length, word: cut(segment) };
  }
}

/** Runs with signs between. What joins words alone, as a hyphen or a missing space does, makes no identifier. */
function* joined(run: string, offset: number): Generator<Token, void, undefined> {
  const parts = Array.from(run.matchAll(PIECE), ({ 0: word, index }) => plain(word, offset + index));
  const [first] = parts;
  if (first === undefined) return;
  if (run.length > MAX_WORD || !isIdentifier(run)) {
    yield* parts;
    return;
  }
  // "C++" is nothing but its whole.
  const all = parts.flatMap((part) => part.parts ?? [part]);
  yield { start: offset, end: offset + run.length, word: run, ...(all.length > 0 && { parts: all }) };
}

const IDENTIFIER = /\p{N}|_|\+\+$|#$|[.:@+#~]|\//u;

function isIdentifier(run: string): boolean {
  return IDENTIFIER.test(run);
}

function splitAt(word: string, start: number, boundary: RegExp): Token[] {
  let at = start;
  return word.split(boundary).map((part) => {
    const token = { start: at, end: at + part.length, word: part };
    at = token.end;
    return token;
  });
}

/** The beginning of what is too long to be a word, not within a character. */
function cut(word: string): string {
  return word.length <= MAX_WORD
    ? word
    : word
        .slice(0, MAX_WORD)
        .toWellFormed()
        .replace(/\ufffd$/, '');
}
