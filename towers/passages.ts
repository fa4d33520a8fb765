import type { Passage, Tokens } from './tower.ts';

/** How documents are split. */
export interface PassageRules {
  /** Most tokens of a passage, title included, without special tokens and prompt. */
  window: number;
  /** How many tokens a passage repeats of the one before, at most. */
  overlap: number;
  /** Tokens of a stretch by itself. */
  count: (text: string) => number;
  /** What the model reads: prompt, special tokens and text. */
  encode: (text: string) => Tokens;
  /** Most tokens of what `encode` returns. */
  limit: number;
}

/** A stretch of the text that is not divided: a sentence, or a piece of one that is longer than a window. */
interface Unit {
  start: number;
  end: number;
  tokens: number;
}

/**
 * Length of the pieces of a sentence that is longer than a window, in characters. They end after white space where
 * there is some. Short enough to fill a window well; longer than the 100 letters past which WordPiece gives a word up,
 * because short of that its time is the square of the length.
 */
const PIECE_CHARACTERS = 128;

/** Pieces that fill more of a window are halved: four of them leave at most a quarter of it empty. */
const PIECE_SHARE = 1 / 4;

/** Sentences are looked for in so many characters at a time: each that V8 finds costs a copy of all it was given. */
const BLOCK_CHARACTERS = 2_048;

/**
 * A passage ends after so many characters for each token of the window, even if they make fewer tokens: a word of
 * millions of letters is one unknown token to some tokenizers, and a stack overflow to others.
 */
const CHARACTERS_PER_TOKEN = 32;

/** A text of at most so many characters for each token of the window is first tried as one passage. */
const SHORT_CHARACTERS_PER_TOKEN = 8;

/** Sentences end where Unicode (UAX #29) says; the rules are the same for all languages but for the dictionaries. */
const sentences = new Intl.Segmenter('en', { granularity: 'sentence' });

/**
 * Splits a document into passages, in time linear in its length. Sentences stay whole where they fit. Each passage
 * begins with the last whole sentences of the one before, as many as the overlap holds; after a sentence that had to
 * be divided, with its last words. White space around a passage is left out, nothing else is.
 */
export function* splitPassages(
  document: { title: string; text: string },
  rules: PassageRules,
): Generator<Passage, void, undefined> {
  const { text } = document;
  const { window, overlap, limit } = rules;
  const blank = text.trim() === '';
  const title = fitTitle(document.title.trim(), blank ? window : window >>> 1, rules);
  const encode = (stretch: string, first: boolean): Tokens =>
    rules.encode(first ? [title.text, stretch].filter(Boolean).join(' ') : stretch);
  const fits = ({ ids, truncated }: Tokens): boolean => ids.length <= limit && !truncated;
  const passage = (stretch: string, { ids, truncated }: Tokens, first: boolean): Passage => ({
    text: stretch,
    tokens: { ids, truncated: truncated || (first && title.cut) },
  });

  if (blank || text.length <= window * SHORT_CHARACTERS_PER_TOKEN) {
    const tokens = encode(text.trim(), true);
    if (blank || fits(tokens)) {
      yield passage(text.trim(), tokens, true);
      return;
    }
  }

  const units = new Buffered(unitsOf(text, rules));
  /** The passage repeats the units from `repeatFrom` and has those from `start` to `end` for itself. */
  let repeatFrom = 0;
  let start = 0;
  while (units.at(start) !== undefined) {
    const first = start === 0;
    const room = first ? window - title.tokens : window;
    let end = start;
    let tokens = 0;
    for (let index = repeatFrom; index < start; index++) tokens += units.at(index)!.tokens;
    for (let next = units.at(end); next !== undefined; next = units.at(end)) {
      const characters = next.end - units.at(repeatFrom)!.start;
      if (tokens + next.tokens > room || characters > window * CHARACTERS_PER_TOKEN) break;
      tokens += next.tokens;
      end++;
    }
    if (end === start && repeatFrom < start) {
      repeatFrom++;
      continue;
    }
    end = Math.max(end, start + 1);

    let stretch: string;
    let encoded: Tokens;
    for (;;) {
      stretch = text.slice(units.at(repeatFrom)!.start, units.at(end - 1)!.end).trim();
      encoded = encode(stretch, first);
      if (fits(encoded)) break;
      // Units counted one by one can have fewer tokens than all together, and a sentence none to spare for a title.
      if (end - start > 1) end--;
      else if (repeatFrom < start) repeatFrom++;
      else if (!units.divide(start, (unit) => piecesOf(text, unit.start, unit.end, rules))) break;
    }
    yield passage(stretch, encoded, first);

    repeatFrom = end;
    for (let left = overlap; repeatFrom > start; repeatFrom--) {
      const last = units.at(repeatFrom - 1)!;
      // What has no tokens says nothing, and could be repeated for ever.
      if (last.tokens === 0 || last.tokens > left) break;
      left -= last.tokens;
    }
    start = end;
  }
}

/** The words of a title that fit. */
function fitTitle(
  title: string,
  most: number,
  { count, window }: PassageRules,
): { text: string; tokens: number; cut: boolean } {
  const short = title.length <= window * CHARACTERS_PER_TOKEN;
  const tokens = short ? count(title) : Number.POSITIVE_INFINITY;
  if (tokens <= most) return { text: title, tokens, cut: false };
  let end = 0;
  let used = 0;
  for (const piece of piecesOf(title, 0, title.length, { count, window: most })) {
    if (used + piece.tokens > most || piece.end > window * CHARACTERS_PER_TOKEN) break;
    used += piece.tokens;
    end = piece.end;
  }
  return { text: title.slice(0, end).trim(), tokens: used, cut: true };
}

function* unitsOf(text: string, rules: PassageRules): Generator<Unit, void, undefined> {
  for (const { start, end } of sentencesOf(text)) {
    const sentence = text.slice(start, end).trim();
    if (sentence === '') continue;
    const tokens = end - start < BLOCK_CHARACTERS ? rules.count(sentence) : Number.POSITIVE_INFINITY;
    if (tokens <= rules.window) yield { start, end, tokens };
    else yield* piecesOf(text, start, end, rules);
  }
}

/** Sentences; one that is longer than a block comes in several stretches. */
function* sentencesOf(text: string): Generator<{ start: number; end: number }, void, undefined> {
  for (let from = skipBlank(text, 0); from < text.length;) {
    const to = pieceEnd(text, from, Math.min(from + BLOCK_CHARACTERS, text.length), text.length);
    let start = from;
    let end = from;
    for (const { segment } of sentences.segment(text.slice(from, to))) {
      // What is found last may go on in the next block.
      if (end > start) yield { start, end };
      start = end;
      end += segment.length;
    }
    if (to === text.length || start === from) {
      yield { start, end };
      start = end;
    }
    from = skipBlank(text, start);
  }
}

/** Where white space ends that begins here: a document of nothing but line ends is none of sentences. */
function skipBlank(text: string, from: number): number {
  const blank = /\s*/y;
  blank.lastIndex = from;
  return from + blank.exec(text)![0].length;
}

/** Pieces of a stretch, each of no more tokens than its share of the window. */
function* piecesOf(
  text: string,
  start: number,
  end: number,
  rules: Pick<PassageRules, 'count' | 'window'>,
  length = PIECE_CHARACTERS,
): Generator<Unit, void, undefined> {
  for (let from = start; from < end;) {
    const to = pieceEnd(text, from, Math.min(from + length, end), end);
    const piece = text.slice(from, to).trim();
    if (piece !== '') {
      const tokens = rules.count(piece);
      if (tokens > rules.window * PIECE_SHARE && to - from > 2)
        yield* piecesOf(text, from, to, rules, (to - from) >>> 1);
      else yield { start: from, end: to, tokens };
    }
    from = to;
  }
}

/** Where a piece ends: after the last white space before `to`, else at `to` unless that parts a surrogate pair. */
function pieceEnd(text: string, from: number, to: number, end: number): number {
  if (to === end) return end;
  for (let at = to; at > from; at--) if (/\s/.test(text[at - 1]!)) return at;
  return text.codePointAt(to - 1)! > 0xffff ? to + 1 : to;
}

/** Random access to what a generator makes, made no sooner than it is asked for. */
class Buffered<T> {
  readonly #items: T[] = [];
  readonly #source: Iterator<T, void, undefined>;

  constructor(source: Iterator<T, void, undefined>) {
    this.#source = source;
  }

  /** Undefined past the end. */
  at(index: number): T | undefined {
    while (index >= this.#items.length) {
      const next = this.#source.next();
      if (next.done === true) return undefined;
      this.#items.push(next.value);
    }
    return this.#items[index];
  }

  /** Puts parts in the place of an item that has been read. @returns whether they are more than one */
  divide(index: number, partsOf: (item: T) => Iterable<T>): boolean {
    const parts = [...partsOf(this.#items[index]!)];
    this.#items.splice(index, 1, ...parts);
    return parts.length > 1;
  }
}
