import type { Passage, Span, Tokens } from './tower.ts';

/** A value, or a promise of one where it takes another thread or machine: who needs it now does not wait without need. */
export type Soon<T> = T | Promise<T>;

/** How documents are split. */
export interface PassageRules {
  /** Longest passage in tokens, with its title, without prompt and special tokens. */
  window: number;
  /** Most tokens that a passage repeats from the one before. */
  overlap: number;
  /** Counts the tokens of a text by itself. */
  count: (text: string) => Soon<number>;
  /** Makes the input of the model: prompt, special tokens and text. */
  encode: (text: string) => Soon<Tokens>;
  /** Most tokens that `encode` may return. */
  limit: number;
}

/** A part of the text that stays whole: a sentence, or a piece of a sentence that is longer than a window. */
interface Unit {
  start: number;
  end: number;
  tokens: number;
}

/**
 * Length in characters of the pieces of a sentence that is longer than a window. A piece ends after white space where
 * there is any. This is short enough to fill a window well, and longer than 100 letters: up to there WordPiece takes
 * quadratic time for a word, and beyond it makes the word unknown.
 */
const PIECE_CHARACTERS = 128;

/** A piece that fills more than this share of a window is halved, so at most a quarter of a window stays empty. */
const PIECE_SHARE = 1 / 4;

/** How many characters to search for sentences at a time: for each sentence V8 copies the whole text that it was given. */
const BLOCK_CHARACTERS = 2_048;

/**
 * Most characters of a passage for each token of the window, even if they make fewer tokens: some tokenizers make one
 * unknown token of a word of millions of letters, and others overflow the stack.
 */
const CHARACTERS_PER_TOKEN = 32;

/** A text with at most this many characters for each token of the window is first tried as one passage. */
const SHORT_CHARACTERS_PER_TOKEN = 8;

/** Finds sentences by the rules of Unicode (UAX #29), which are the same for all languages except those with dictionaries. */
const sentences = new Intl.Segmenter('en', { granularity: 'sentence' });

/**
 * Splits a document into passages, in time linear in its length. Sentences stay whole if they fit. Each passage repeats
 * the last whole sentences of the one before, as many as the overlap allows, or the last words of a sentence that was
 * divided. Only white space around passages is left out.
 */
export async function* splitPassages(
  document: { title: string; text: string },
  rules: PassageRules,
): AsyncGenerator<Passage, void, undefined> {
  const { text } = document;
  const { window, overlap, limit } = rules;
  const blank = text.trim() === '';
  const title = await fitTitle(document.title.trim(), blank ? window : window >>> 1, rules);
  const encode = (stretch: string, first: boolean): Soon<Tokens> =>
    rules.encode(first ? [title.text, stretch].filter(Boolean).join(' ') : stretch);
  const fits = ({ ids, truncated }: Tokens): boolean => ids.length <= limit && !truncated;
  /** @param from where the white space before the stretch begins, if there is any */
  const passage = (from: number, stretch: string, tokens: Tokens, first: boolean): Passage => ({
    text: stretch,
    span: spanOf(text, from, stretch),
    tokens: { ...tokens, truncated: tokens.truncated || (first && title.cut) },
  });

  if (blank || text.length <= window * SHORT_CHARACTERS_PER_TOKEN) {
    const tokens = await encode(text.trim(), true);
    if (blank || fits(tokens)) {
      yield passage(0, text.trim(), tokens, true);
      return;
    }
  }

  const units = new Buffered(unitsOf(text, rules));
  /** The passage repeats the units `repeatFrom` to `start`, and adds the units `start` to `end`. */
  let repeatFrom = 0;
  let start = 0;
  while ((await units.at(start)) !== undefined) {
    const first = start === 0;
    const room = first ? window - title.tokens : window;
    let end = start;
    let tokens = 0;
    for (let index = repeatFrom; index < start; index++) tokens += units.made(index).tokens;
    for (let next = await units.at(end); next !== undefined; next = await units.at(end)) {
      const characters = next.end - units.made(repeatFrom).start;
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
      stretch = text.slice(units.made(repeatFrom).start, units.made(end - 1).end).trim();
      encoded = await encode(stretch, first);
      if (fits(encoded)) break;
      // Units may have more tokens together than one by one, and a long sentence may leave no room for the title.
      if (end - start > 1) end--;
      else if (repeatFrom < start) repeatFrom++;
      else if (!(await units.divide(start, (unit) => piecesOf(text, unit.start, unit.end, rules)))) break;
    }
    yield passage(units.made(repeatFrom).start, stretch, encoded, first);

    repeatFrom = end;
    for (let left = overlap; repeatFrom > start; repeatFrom--) {
      const last = units.made(repeatFrom - 1);
      // A unit without tokens adds nothing, and would be repeated in every passage.
      if (last.tokens === 0 || last.tokens > left) break;
      left -= last.tokens;
    }
    start = end;
  }
}

function spanOf(text: string, from: number, stretch: string): Span {
  if (stretch === '') return { start: 0, end: 0 };
  const start = skipBlank(text, from);
  return { start, end: start + stretch.length };
}

/** Cuts a title to the words that fit. */
async function fitTitle(
  title: string,
  most: number,
  { count, window }: PassageRules,
): Promise<{ text: string; tokens: number; cut: boolean }> {
  const short = title.length <= window * CHARACTERS_PER_TOKEN;
  const tokens = short ? await count(title) : Number.POSITIVE_INFINITY;
  if (tokens <= most) return { text: title, tokens, cut: false };
  let end = 0;
  let used = 0;
  for await (const piece of piecesOf(title, 0, title.length, { count, window: most })) {
    if (used + piece.tokens > most || piece.end > window * CHARACTERS_PER_TOKEN) break;
    used += piece.tokens;
    end = piece.end;
  }
  return { text: title.slice(0, end).trim(), tokens: used, cut: true };
}

async function* unitsOf(text: string, rules: PassageRules): AsyncGenerator<Unit, void, undefined> {
  for (const { start, end } of sentencesOf(text)) {
    const sentence = text.slice(start, end).trim();
    if (sentence === '') continue;
    const tokens = end - start < BLOCK_CHARACTERS ? await rules.count(sentence) : Number.POSITIVE_INFINITY;
    if (tokens <= rules.window) yield { start, end, tokens };
    else yield* piecesOf(text, start, end, rules);
  }
}

/** Yields sentences; a sentence that is longer than a block comes in several parts. */
function* sentencesOf(text: string): Generator<{ start: number; end: number }, void, undefined> {
  for (let from = skipBlank(text, 0); from < text.length;) {
    const to = pieceEnd(text, from, Math.min(from + BLOCK_CHARACTERS, text.length), text.length);
    let start = from;
    let end = from;
    for (const { segment } of sentences.segment(text.slice(from, to))) {
      // The last sentence may continue in the next block.
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

/** Returns where the white space that begins at `from` ends: a document of line ends alone has no sentences. */
function skipBlank(text: string, from: number): number {
  const blank = /\s*/y;
  blank.lastIndex = from;
  return from + blank.exec(text)![0].length;
}

/** Divides a part of the text into pieces that each fill at most {@link PIECE_SHARE} of the window. */
async function* piecesOf(
  text: string,
  start: number,
  end: number,
  rules: Pick<PassageRules, 'count' | 'window'>,
  length = PIECE_CHARACTERS,
): AsyncGenerator<Unit, void, undefined> {
  for (let from = start; from < end;) {
    const to = pieceEnd(text, from, Math.min(from + length, end), end);
    const piece = text.slice(from, to).trim();
    if (piece !== '') {
      const tokens = await rules.count(piece);
      if (tokens > rules.window * PIECE_SHARE && to - from > 2)
        yield* piecesOf(text, from, to, rules, (to - from) >>> 1);
      else yield { start: from, end: to, tokens };
    }
    from = to;
  }
}

/** Returns the end of a piece: after the last white space before `to`, otherwise at `to`, but never inside a surrogate pair. */
function pieceEnd(text: string, from: number, to: number, end: number): number {
  if (to === end) return end;
  for (let at = to; at > from; at--) if (/\s/.test(text[at - 1]!)) return at;
  return text.codePointAt(to - 1)! > 0xffff ? to + 1 : to;
}

/** Random access to the items of a generator, which are made on demand. */
class Buffered<T> {
  readonly #items: T[] = [];
  readonly #source: AsyncIterator<T, void, undefined>;

  constructor(source: AsyncIterator<T, void, undefined>) {
    this.#source = source;
  }

  /** Undefined past the end. */
  async at(index: number): Promise<T | undefined> {
    while (index >= this.#items.length) {
      const next = await this.#source.next();
      if (next.done === true) return undefined;
      this.#items.push(next.value);
    }
    return this.#items[index];
  }

  /** An item that {@link at} has returned before. */
  made(index: number): T {
    return this.#items[index]!;
  }

  /** Replaces an item by its parts. @returns whether there is more than one part */
  async divide(index: number, partsOf: (item: T) => AsyncIterable<T>): Promise<boolean> {
    const parts: T[] = [];
    for await (const part of partsOf(this.made(index))) parts.push(part);
    this.#items.splice(index, 1, ...parts);
    return parts.length > 1;
  }
}
