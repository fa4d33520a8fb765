import { termId, type TermVector } from '../terms.ts';
import { type AnalysedWord, type Analyser, type Forms, titleTerm, writtenTitleTerm } from './analyser.ts';
import type { Candidate, Vocabulary } from './vocabulary.ts';

/** What else a query's words are read with. */
export interface QueryReading {
  analyser: Analyser;
  /** Absent where the collection has none. */
  vocabulary?: Vocabulary | undefined;
  /** That of the query alone; absent for all languages that the collection has. */
  language?: string | undefined;
  /** The last word may be unfinished. */
  prefix: boolean;
}

/** What a query means in a collection. */
export interface ReadQuery {
  sparse: TermVector;
  /** The text with what is unfinished completed, and what is mistyped corrected. */
  text: string;
  /** The text with what is mistyped corrected, where something is. */
  didYouMean?: string;
  /** Words that the last one may become, the best first; empty where it is finished. */
  completions: string[];
  /** Share of the words that is unfinished or mistyped, so that the vector of the text is a guess. */
  guessed: number;
  /** Words that say something; those of a query of stop words alone do. */
  count: number;
  /** Each term in letters. */
  words: Map<number, string>;
  /** Whether a word of a passage is one that the query looks for. */
  matches(word: string): boolean;
}

/** Most languages that a query is read in: more find little, and each takes as long as the first. */
export const MAX_LANGUAGES = 4;

/** What an inflected form, as it is written, counts besides its stem. */
const EXACT_WEIGHT = 0.25;

/**
 * What the only word of a query counts besides where the title says it; of several words each counts its share of that, and
 * no less than the least: a whole sentence is in a text more often than in its title. Measured in `docs/hybrid.md`.
 */
const TITLE_WEIGHT = 1;
const LEAST_TITLE_WEIGHT = 0.4;

/**
 * What the only word of a query counts besides where the title says it as the query has it, so that _visit_ finds the entry
 * _visit_ before _visitor_; each of several words counts its share of that, since a sentence names no title.
 */
const WRITTEN_TITLE_WEIGHT = 1;

/** Words that a prefix is searched by, and what all of them count together with a word that was finished. */
const MAX_COMPLETIONS = 8;
const COMPLETION_WEIGHT = 0.8;

/** Words that a mistyped one is searched by. */
const MAX_SIMILAR = 4;
const SIMILAR_WEIGHT = 0.8;

/** Words that may be mistyped: each takes a look at the vocabulary. */
const MAX_MISTYPED = 8;

/** What a part of an identifier counts, where the whole is there, too. */
const PART_WEIGHT = 0.5;

/** Shortest word that is taken for mistyped, and shortest for two errors. */
const SHORTEST_MISTYPED = 3;
const SHORTEST_TWICE_MISTYPED = 8;

const HAS_DIGIT = /\p{N}/u;
const ENDS_IN_WORD = /[\p{L}\p{N}\p{M}]$/u;

/** Reads a query. */
export function readQuery(text: string, reading: QueryReading): ReadQuery {
  return new Reader(text, reading).read();
}

/** A stretch of the text that another word takes the place of. */
interface Replacement {
  start: number;
  end: number;
  word: string;
}

class Reader {
  readonly #text: string;
  readonly #analyser: Analyser;
  readonly #vocabulary: Vocabulary | undefined;
  readonly #languages: readonly string[];
  readonly #prefix: boolean;
  readonly #weights = new Map<number, number>();
  readonly #words = new Map<number, string>();
  #looks = 0;
  /** The share that each word of the query has of what one alone counts in titles. */
  #share = 1;

  constructor(text: string, { analyser, vocabulary, language, prefix }: QueryReading) {
    this.#text = text;
    this.#analyser = analyser;
    this.#vocabulary = vocabulary;
    this.#languages = languagesOf(analyser, vocabulary, language);
    this.#prefix = prefix && ENDS_IN_WORD.test(text);
  }

  read(): ReadQuery {
    const found = [...this.#analyser.words(this.#text, this.#languages[0]!)];
    const last = this.#prefix ? found.findLast(({ part }) => !part) : undefined;
    const isStop = ({ word }: AnalysedWord): boolean => this.#formsOf(word).every(({ stop }) => stop);
    // A query of stop words alone means them.
    const said = found.filter((word) => word === last || !isStop(word));
    const words = said.length > 0 ? said : found;
    const count = words.filter(({ part }) => !part).length;
    this.#share = 1 / Math.max(1, count);
    const corrections: Replacement[] = [];
    const completed: Replacement[] = [];
    let completions: string[] = [];
    for (const word of words) {
      if (word === last) {
        const { first, words: others } = this.#unfinished(word);
        completions = others;
        if (first !== undefined) completed.push({ start: word.start, end: word.end, word: first });
        if (first !== undefined || others.length > 0) continue;
      }
      this.#add(word.word, word.part ? PART_WEIGHT : 1, EXACT_WEIGHT);
      if (this.#knows(word) || this.#looks++ >= MAX_MISTYPED) continue;
      const [best] = this.#addSimilar(word);
      if (best) corrections.push({ start: word.start, end: word.end, word: best.word });
    }
    const guesses = corrections.length + (completions.length > 0 ? 1 : 0);
    const byPlace = [...corrections, ...completed].sort((a, b) => a.start - b.start);
    const sparse = { indices: [...this.#weights.keys()], values: [...this.#weights.values()] };
    return {
      sparse,
      text: replaced(this.#text, byPlace),
      ...(corrections.length > 0 && { didYouMean: replaced(this.#text, corrections) }),
      completions,
      guessed: guesses === 0 ? 0 : Math.min(1, guesses / count),
      count,
      words: this.#words,
      matches: (word) =>
        this.#formsOf(word).some(
          ({ exact, stem }) => this.#weights.has(termId(stem)) || this.#weights.has(termId(exact)),
        ),
    };
  }

  /** Adds what an unfinished word may become. @returns `first` where it is no word yet */
  #unfinished(word: AnalysedWord): { first?: string; words: string[] } {
    const { exact } = word.forms;
    const candidates = this.#vocabulary?.completions(exact, MAX_COMPLETIONS) ?? [];
    if (candidates.length === 0) return { words: [] };
    const isWord = this.#vocabulary!.count(exact) > 0;
    const own = isWord ? { word: exact, score: 4 * candidates[0]!.score } : undefined;
    if (own) this.#add(word.word, 1, EXACT_WEIGHT);
    this.#addAll(candidates, COMPLETION_WEIGHT, own?.score);
    const words = candidates.map((one) => one.word);
    return own ? { words } : { first: words[0]!, words };
  }

  /** Adds the words that a mistyped one may be. */
  #addSimilar({ forms: { exact } }: AnalysedWord): Candidate[] {
    const most = exact.length >= SHORTEST_TWICE_MISTYPED ? 2 : 1;
    const similar = this.#vocabulary!.similar(exact, most, MAX_SIMILAR);
    this.#addAll(similar, SIMILAR_WEIGHT);
    return similar;
  }

  /** Adds words that may be meant, each with its share of the best one's weight. @param most the best score of all */
  #addAll(candidates: readonly Candidate[], weight: number, most = candidates[0]?.score ?? 1): void {
    for (const { word, score } of candidates) this.#add(word, weight * Math.sqrt(score / most), 1);
  }

  /** Whether the collection has a word, or one can't say. */
  #knows({ word, forms: { exact }, part }: AnalysedWord): boolean {
    const vocabulary = this.#vocabulary;
    if (!vocabulary || part || exact.length < SHORTEST_MISTYPED || HAS_DIGIT.test(exact)) return true;
    return this.#languages.some((language) => {
      const { stem } = this.#analyser.forms(word, language);
      return vocabulary.has(exact, stem, (other) => this.#analyser.forms(other, language).stem);
    });
  }

  #formsOf(word: string): Forms[] {
    return this.#languages.map((language) => this.#analyser.forms(word, language));
  }

  /** Adds a word by all that it is matched by. @param exactly what the word as it is written counts besides its stem */
  #add(word: string, weight: number, exactly: number): void {
    const forms = this.#formsOf(word);
    const stems = new Set(forms.map(({ stem }) => stem));
    const { exact } = forms[0]!;
    const inTitle = Math.max(LEAST_TITLE_WEIGHT, TITLE_WEIGHT * this.#share);
    if (!stems.has(exact)) this.#weigh(termId(exact), exact, weight * exactly);
    for (const stem of stems) {
      this.#weigh(termId(stem), stem, weight);
      this.#weigh(titleTerm(stem), `${stem} (title)`, weight * inTitle);
    }
    if (this.#analyser.writesTitles) {
      this.#weigh(
        writtenTitleTerm(exact),
        `${exact} (title, as written)`,
        weight * WRITTEN_TITLE_WEIGHT * this.#share,
      );
    }
  }

  #weigh(term: number, word: string, weight: number): void {
    this.#weights.set(term, (this.#weights.get(term) ?? 0) + weight);
    this.#words.set(term, word);
  }
}

function languagesOf(
  { analysis }: Analyser,
  vocabulary: Vocabulary | undefined,
  language: string | undefined,
): string[] {
  if (language !== undefined) return [language === 'none' ? '' : language];
  if (analysis.language === 'none') return [''];
  if (analysis.language !== 'auto') return [analysis.language];
  const held = vocabulary?.languages.slice(0, MAX_LANGUAGES) ?? [];
  return held.length > 0 ? held : ['en'];
}

/** A text with other words in some places. @param replacements in order */
function replaced(text: string, replacements: readonly Replacement[]): string {
  let made = '';
  let at = 0;
  for (const { start, end, word } of replacements) {
    made += text.slice(at, start) + word;
    at = end;
  }
  return made + text.slice(at);
}
