import { createRequire } from 'node:module';
import { foldCase } from './fold.ts';

/**
 * Languages whose words are stemmed: ISO 639-1 code, and what the libraries call it. Snowball's algorithms, as
 * `@orama/stemmers` has them; English by Porter's first one, as in Lucene. `languages.test.ts` holds each to what Snowball's
 * own Python package makes of some words.
 */
const STEMMED: Readonly<Record<string, string>> = {
  ar: 'arabic',
  da: 'danish',
  de: 'german',
  el: 'greek',
  en: 'english',
  es: 'spanish',
  fi: 'finnish',
  fr: 'french',
  hu: 'hungarian',
  id: 'indonesian',
  it: 'italian',
  nl: 'dutch',
  no: 'norwegian',
  pt: 'portuguese',
  ro: 'romanian',
  ru: 'russian',
  sv: 'swedish',
  tr: 'turkish',
};

/** What is taken for the language of a Latin text that gives no hint. */
const UNKNOWN_LATIN = 'en';

/** A language with what is known of it. */
export interface Language {
  code: string;
  stem(word: string): string;
  /** Words that say nothing by themselves, as `foldCase` leaves them. */
  stopWords: ReadonlySet<string>;
}

const require = createRequire(import.meta.url);
const loaded = new Map<string, Language>();

/** Whether words of a language are stemmed. @param code ISO 639-1 */
export function isStemmed(code: string): boolean {
  return Object.hasOwn(STEMMED, code);
}

/** Codes of the languages whose words are stemmed. */
export function stemmedLanguages(): string[] {
  return Object.keys(STEMMED);
}

/** A language by its code; one without a stemmer has no stop words either. */
export function languageOf(code: string): Language {
  let language = loaded.get(code);
  if (!language) {
    language = isStemmed(code) ? load(code) : { code, stem: (word) => word, stopWords: new Set() };
    loaded.set(code, language);
  }
  return language;
}

/** Loaded when the first text of the language comes: a service needs few of them. */
function load(code: string): Language {
  const name = STEMMED[code]!;
  const { stemmer } = require(`@orama/stemmers/${name}`) as { stemmer: (word: string) => string };
  const { stopwords } = require(`@orama/stopwords/${name}`) as { stopwords: readonly string[] };
  const stopWords = new Set(stopwords.flatMap((word) => foldCase(word).split(/['’\s]/)));
  stopWords.delete('');
  return { code, stem: stemmer, stopWords };
}

/** Languages by the script that most of their letters have, where one script says enough. */
const BY_SCRIPT: readonly (readonly [RegExp, string])[] = [
  [/\p{Script=Arabic}/u, 'ar'],
  [/\p{Script=Greek}/u, 'el'],
  [/\p{Script=Cyrillic}/u, 'ru'],
];
const LATIN = /\p{Script=Latin}/u;

/** Fewer stop words of a language are chance: words of it in another one, abbreviations, names. */
const LEAST_HINTS = 2;

/** How much more a text has to say of another language than of English. */
const CLEARLY = 1.5;

/** Words that are looked at: more seldom change the answer. */
const LOOKED_AT = 200;

/**
 * The language that a text is probably in: of the stemmed ones that whose stop words it says most, each the less the more
 * languages have it. A script of one of them decides alone. A Latin text is taken for English, unless it says
 * {@link LEAST_HINTS} different stop words of another language, and clearly more than English ones.
 *
 * @param words as `foldCase` leaves them
 * @returns `''` for a script that none of them has
 */
export function detectLanguage(words: Iterable<string>): string {
  const { weights } = hints();
  const scores = new Map<string, number>();
  let looked = 0;
  let latin = 0;
  const scripts = new Map<string, number>();
  const said = new Set<string>();
  const hinted = new Map<string, number>();
  for (const word of words) {
    if (++looked > LOOKED_AT) break;
    if (LATIN.test(word)) latin++;
    else {
      const found = BY_SCRIPT.find(([script]) => script.test(word));
      if (found) scripts.set(found[1], (scripts.get(found[1]) ?? 0) + 1);
    }
    if (said.has(word)) continue;
    said.add(word);
    for (const [code, weight] of weights.get(word) ?? []) {
      scores.set(code, (scores.get(code) ?? 0) + weight);
      hinted.set(code, (hinted.get(code) ?? 0) + 1);
    }
  }
  const [script = '', times = 0] = best(scripts) ?? [];
  if (times > latin) return script;
  if (latin === 0) return '';
  const [language = UNKNOWN_LATIN, score = 0] = best(scores) ?? [];
  const isClear = score > CLEARLY * (scores.get(UNKNOWN_LATIN) ?? 0);
  return isClear && hinted.get(language)! >= LEAST_HINTS ? language : UNKNOWN_LATIN;
}

/** The code with the highest count; of equal ones English, then the first by name. */
function best(counts: ReadonlyMap<string, number>): [string, number] | undefined {
  const rank = (code: string): string => (code === UNKNOWN_LATIN ? '' : code);
  let most: [string, number] | undefined;
  for (const [code, count] of counts) {
    const isMore = !most || count > most[1] || (count === most[1] && rank(code) < rank(most[0]));
    if (isMore) most = [code, count];
  }
  return most;
}

let made: { weights: ReadonlyMap<string, readonly (readonly [string, number])[]> } | undefined;

/** For each stop word the Latin languages that have it, and how much it says for each. */
function hints(): NonNullable<typeof made> {
  if (made) return made;
  const languages = new Map<string, string[]>();
  for (const code of stemmedLanguages()) {
    if (BY_SCRIPT.some(([, own]) => own === code)) continue;
    for (const word of languageOf(code).stopWords) {
      const having = languages.get(word);
      if (having) having.push(code);
      else languages.set(word, [code]);
    }
  }
  const weights = new Map<string, (readonly [string, number])[]>();
  for (const [word, codes] of languages) {
    // A letter alone, as a list's number or an initial, says little.
    const weight = (word.length === 1 ? 0.5 : 1) / codes.length;
    weights.set(
      word,
      codes.map((code) => [code, weight] as const),
    );
  }
  made = { weights };
  return made;
}
