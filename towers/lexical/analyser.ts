import { LRUCache } from 'lru-cache';
import { AVERAGE_PASSAGE_WORDS, BM25_B, BM25_K1, termId, type TermVector } from '../terms.ts';
import { type Analysis, ANALYSER } from './analysis.ts';
import { foldCase, foldDiacritics } from './fold.ts';
import { detectLanguage, type Language, languageOf } from './languages.ts';
import { tokensOf } from './words.ts';

/** Words whose forms are remembered: a language's common ones, some megabytes. */
const WORDS_REMEMBERED = 50_000;

/** Shortest word that is stemmed. */
const SHORTEST_STEMMED = 3;

/** Average length of a title, in words; a constant, as that of a passage is. */
const AVERAGE_TITLE_WORDS = 4;

/** Begin what is counted in a vocabulary besides words: no word has these characters. */
export const TITLE_MARK = '\u0001';
export const LANGUAGE_MARK = '\u0002';

/** Only letters are stemmed: what has digits names something. */
const LETTERS = /^[\p{L}\p{M}]+$/u;

/** What a word is matched by. */
export interface Forms {
  /** As it is written, but for case and what else is folded. */
  exact: string;
  /** What it shares with its inflections; the exact form where it has none. */
  stem: string;
  /** Whether it says nothing by itself. */
  stop: boolean;
}

/** What a document's text has become. */
export interface AnalysedDocument {
  /** Code of its language; `''` where it has none that is known. */
  language: string;
  /** The terms of a passage, and the words of it that a vocabulary counts. */
  passage(text: string): { sparse: TermVector; words: string[] };
  /** How often a text with the title before it says each term, and how many words it has. */
  counts(text: string): { counts: Map<number, number>; words: number };
}

/** A word of a text, and where it stands. */
export interface AnalysedWord {
  start: number;
  end: number;
  /** As the text has it. */
  word: string;
  forms: Forms;
  /** Whether it is a part of an identifier, which stands for itself as well. */
  part: boolean;
}

/** Makes terms of texts, the same for documents and queries, as the analysis of a collection says. */
export class Analyser {
  readonly analysis: Analysis;
  /** Whether a title's words have a term as they are written: see {@link writtenTitleTerm}. */
  readonly writesTitles: boolean;
  readonly #forms = new LRUCache<string, Forms>({ max: WORDS_REMEMBERED });

  /** @param analysis a collection's record; where it names no version, the newest is meant */
  constructor({ analyser = ANALYSER, ...analysis }: Analysis & { analyser?: number }) {
    this.analysis = analysis;
    this.writesTitles = analyser >= 2;
  }

  /** The language of a document. */
  languageOf(title: string, text: string): string {
    const { language } = this.analysis;
    if (language === 'none') return '';
    if (language !== 'auto') return language;
    return detectLanguage(foldedWords(title, text));
  }

  /** What a word is matched by in a language. */
  forms(word: string, language: string): Forms {
    const key = `${language} ${word}`;
    const known = this.#forms.get(key);
    if (known) return known;
    const forms = this.#newForms(word, languageOf(language));
    this.#forms.set(key, forms);
    return forms;
  }

  #newForms(word: string, { stem, stopWords }: Language): Forms {
    const lower = foldCase(word);
    const fold = (one: string): string => (this.analysis.keepDiacritics ? one : foldDiacritics(one));
    const exact = fold(lower);
    const stop = stopWords.has(lower);
    const isStemmed = !stop && lower.length >= SHORTEST_STEMMED && LETTERS.test(lower);
    return { exact, stem: (isStemmed ? fold(stem(lower)) : '') || exact, stop };
  }

  /** The words of a text with their places, parts of identifiers after the whole. */
  *words(text: string, language: string): Generator<AnalysedWord, void, undefined> {
    for (const { start, end, word, parts = [] } of tokensOf(text)) {
      yield { start, end, word, forms: this.forms(word, language), part: false };
      for (const part of parts) {
        yield { ...part, forms: this.forms(part.word, language), part: true };
      }
    }
  }

  /** What a document becomes, passage by passage. */
  document(title: string, text: string): AnalysedDocument {
    const language = this.languageOf(title, text);
    const inTitle = [...this.words(title, language)];
    const titleTerms = titleWeights(inTitle, this.writesTitles);
    const counted = (own: string) => {
      const counts = new Map<string, number>();
      const words = new Set<string>();
      let length = 0;
      const count = ({ forms: { exact, stem }, part }: AnalysedWord): void => {
        counts.set(exact, (counts.get(exact) ?? 0) + 1);
        if (stem !== exact) counts.set(stem, (counts.get(stem) ?? 0) + 1);
        words.add(exact);
        if (!part) length++;
      };
      for (const word of inTitle) count(word);
      for (const word of this.words(own, language)) count(word);
      return { counts, words, length };
    };
    const passage = (own: string): ReturnType<AnalysedDocument['passage']> => {
      const { counts, words, length } = counted(own);
      for (const { forms } of inTitle) if (!forms.stop) words.add(TITLE_MARK + forms.exact);
      if (language !== '') words.add(LANGUAGE_MARK + language);
      return { sparse: vectorOf(counts, length, titleTerms), words: [...words] };
    };
    return {
      language,
      passage,
      counts: (own) => {
        const { counts, length } = counted(own);
        return {
          counts: new Map(Array.from(counts, ([term, times]) => [termId(term), times])),
          words: length,
        };
      },
    };
  }
}

/** The word as the title says it: a term of its own, so that a search can say how much titles count. */
export function titleTerm(stem: string): number {
  return termId(TITLE_MARK + stem);
}

/** The same for the word as it is written, in a collection of version 2: an inflection of it counts less than itself. */
export function writtenTitleTerm(exact: string): number {
  return termId(TITLE_MARK + TITLE_MARK + exact);
}

function titleWeights(words: readonly AnalysedWord[], asWritten: boolean): Map<number, number> {
  const counts = new Map<number, number>();
  let length = 0;
  const count = (term: number): unknown => counts.set(term, (counts.get(term) ?? 0) + 1);
  for (const { forms, part } of words) {
    if (!part) length++;
    if (forms.stop) continue;
    count(titleTerm(forms.stem));
    if (asWritten) count(writtenTitleTerm(forms.exact));
  }
  const saturation = BM25_K1 * (1 - BM25_B + (BM25_B * length) / AVERAGE_TITLE_WORDS);
  const weights = new Map<number, number>();
  for (const [term, times] of counts) weights.set(term, (times * (BM25_K1 + 1)) / (times + saturation));
  return weights;
}

function vectorOf(
  counts: ReadonlyMap<string, number>,
  length: number,
  titleTerms: ReadonlyMap<number, number>,
): TermVector {
  const saturation = BM25_K1 * (1 - BM25_B + (BM25_B * length) / AVERAGE_PASSAGE_WORDS);
  const weights = new Map(titleTerms);
  for (const [term, count] of counts) {
    const id = termId(term);
    // Two terms of one hash: rarer than two words of one spelling.
    weights.set(id, Math.max(weights.get(id) ?? 0, (count * (BM25_K1 + 1)) / (count + saturation)));
  }
  return { indices: [...weights.keys()], values: [...weights.values()] };
}

function* foldedWords(...texts: string[]): Generator<string, void, undefined> {
  for (const text of texts) for (const { word } of tokensOf(text)) yield foldCase(word);
}
