import { wordsOf } from '../../towers/terms.ts';

/** A stretch of a text around its best sentence. */
export interface Snippet {
  text: string;
  /** The words that are looked for in it, in UTF-16 code units. */
  highlights: { start: number; end: number }[];
  /** Where it begins in the text. */
  start: number;
}

interface Stretch {
  start: number;
  end: number;
}

/**
 * Longest text that is looked at, in UTF-16 code units: a passage has some thousands, but those of an adopted collection
 * may be whole books, and taking one into sentences would hold up every other search.
 */
const MAX_TEXT = 64 * 1024;

let made: { sentences: Intl.Segmenter; characters: Intl.Segmenter } | undefined;

/** Made once, where snippets are asked for: each takes a millisecond. What they do hardly depends on the language. */
function segmenters() {
  made ??= {
    sentences: new Intl.Segmenter('en', { granularity: 'sentence' }),
    characters: new Intl.Segmenter('en', { granularity: 'grapheme' }),
  };
  return made;
}

/**
 * The stretch of a text around the sentence that says most of a query, at most `length` UTF-16 code units long. A word
 * that few sentences say counts more than one that many say. Where none says any, it is the first sentence. If the
 * sentence is short, the ones after it and before it follow as far as they fit; if it is long, it is cut between words
 * where it can be, and never within a character as people see it.
 *
 * @param terms of the query, or words near it, as {@link wordsOf} spells them
 */
export function snippetOf(text: string, terms: Pick<ReadonlySet<string>, 'has'>, length: number): Snippet {
  const seen = text.length > MAX_TEXT ? text.slice(0, startOfCharacter(text, MAX_TEXT)) : text;
  const matches = [...wordsOf(seen)].filter(({ term }) => terms.has(term));
  const sentences = Array.from(segmenters().sentences.segment(seen), ({ index, segment }) => ({
    start: index,
    end: index + segment.length,
  }));
  if (sentences.length === 0) return { text: '', highlights: [], start: 0 };
  const best = bestSentence(sentences, matches);
  const { start, end } = trimmed(seen, stretchAround(seen, sentences, best, matches, length));
  const highlights = matches
    .filter((match) => match.start >= start && match.end <= end)
    .map((match) => ({ start: match.start - start, end: match.end - start }));
  return { text: seen.slice(start, end), highlights, start };
}

type Match = Stretch & { term: string };

function bestSentence(sentences: readonly Stretch[], matches: readonly Match[]): number {
  const said = sentences.map(() => new Set<string>());
  let at = 0;
  for (const { term, start } of matches) {
    while (sentences[at]!.end <= start) at++;
    said[at]!.add(term);
  }
  const saying = new Map<string, number>();
  for (const terms of said) for (const term of terms) saying.set(term, (saying.get(term) ?? 0) + 1);
  let best = 0;
  let most = 0;
  for (const [index, terms] of said.entries()) {
    let score = 0;
    for (const term of terms) score += 1 / saying.get(term)!;
    if (score <= most) continue;
    best = index;
    most = score;
  }
  return best;
}

function stretchAround(
  text: string,
  sentences: readonly Stretch[],
  best: number,
  matches: readonly Match[],
  length: number,
): Stretch {
  const { start, end } = trimmed(text, sentences[best]!);
  if (end - start > length) return cut(text, { start, end }, matches, length);
  const stretch = { start, end };
  let [first, last] = [best, best];
  while (last + 1 < sentences.length) {
    const { end: next } = trimmed(text, sentences[last + 1]!);
    if (next - stretch.start > length) break;
    stretch.end = next;
    last++;
  }
  while (first > 0 && stretch.end - sentences[first - 1]!.start <= length) {
    first--;
    stretch.start = sentences[first]!.start;
  }
  return stretch;
}

/** The part of a long sentence that begins shortly before its first word of the query. */
function cut(text: string, { start, end }: Stretch, matches: readonly Match[], length: number): Stretch {
  const match = matches.find((one) => one.start >= start && one.start < end);
  // A quarter of the room is for what comes before.
  const wanted = match ? match.start - Math.floor(length / 4) : start;
  const from = wordStart(text, Math.max(start, Math.min(wanted, end - length)), start);
  if (from + length >= end) return { start: from, end };
  let to = startOfCharacter(text, from + length);
  const space = text.slice(from, to + 1).search(/\s\S*$/u);
  // Not where that would take away most of it: some scripts put no spaces between words.
  if (space > length / 2) to = from + space;
  return { start: from, end: to };
}

/** The beginning of the next word, if it is near; otherwise of a character. */
function wordStart(text: string, at: number, start: number): number {
  if (at === start) return at;
  const near = /\s+\S/u.exec(text.slice(at - 1, at + 32));
  const next = near ? at - 1 + near.index + near[0].search(/\S/u) : at;
  return startOfCharacter(text, next, 'after');
}

/** The boundary between characters at a place, or the nearest one before or after. */
function startOfCharacter(text: string, at: number, side: 'before' | 'after' = 'before'): number {
  if (at >= text.length) return text.length;
  const character = segmenters().characters.segment(text).containing(at)!;
  if (character.index === at || side === 'before') return character.index;
  return character.index + character.segment.length;
}

function trimmed(text: string, { start, end }: Stretch): Stretch {
  const part = text.slice(start, end);
  return {
    start: start + part.length - part.trimStart().length,
    end: end - part.length + part.trimEnd().length,
  };
}
