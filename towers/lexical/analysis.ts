import { hash } from 'node:crypto';
import { isKnown, isStemmed } from './languages.ts';

/**
 * How the texts of a collection become terms. It is chosen when the collection is made and kept with it, so that documents
 * and queries, and every process, make the same terms of the same words.
 */
export interface Analysis {
  /** `auto` for that of each document, `none` for no stemming, or an ISO 639 code. */
  language: string;
  /** Whether é and e are different letters. */
  keepDiacritics: boolean;
}

/** An analysis as a collection keeps it. */
export interface AnalysisRecord extends Analysis {
  /** Version of the analyser that made its terms, up to {@link ANALYSER}. */
  analyser: number;
  /** Major version of the Unicode library, whose word boundaries and normal forms change with it. */
  icu: number;
  /** A re-analysis has begun and has not ended: some documents have the terms of before. */
  unfinished?: true;
}

/** What a collection is made with where nobody says otherwise. */
export const DEFAULT_ANALYSIS: Analysis = { language: 'auto', keepDiacritics: false };

/**
 * What new collections are analysed by. Raise this whenever the same words would become other terms: a new stemmer, other
 * identifiers, other stop words. A collection keeps the version that it was made by, and `Analyser` makes the terms of each.
 *
 * 1. Words by stem and as they are written; the title's words by stem.
 * 2. The title's words as they are written, too, so that `operator` finds the title that says so before `operation`.
 */
export const ANALYSER = 2;

/**
 * How long a service believes what a collection says of its analysis, in milliseconds. A re-analysis waits for longer than
 * this before it goes through the documents, so that none with the terms of before comes after it.
 */
export const ANALYSIS_TTL_MS = 1000;

/** Major version of the Unicode library of this process. */
export const ICU = Number.parseInt(process.versions['icu'] ?? '0', 10);

/** What a record may call a language: ISO 639-1 or 639-3. */
const CODE = /^[a-z]{2,3}$/;

/** Whether {@link Analysis.language} may be this. */
export function isLanguage(language: string): boolean {
  return language === 'auto' || language === 'none' || CODE.test(language);
}

/** A Norwegian of today writes one of these, and the stemmer is for it. */
const STEMMED_AS: Readonly<Record<string, string>> = { nb: 'no' };

/**
 * What a request has to call a language: the code that stemmers and the Unicode library know it by, since words of `eng` or
 * `en-US` would be matched as they are written. A record keeps what it has.
 *
 * @returns `undefined` for what names no language
 */
export function languageCode(language: string): string | undefined {
  if (language === 'auto' || language === 'none') return language;
  try {
    const code = new Intl.Locale(language).language;
    const own = STEMMED_AS[code] ?? code;
    return isKnown(own) ? own : undefined;
  } catch {
    return undefined;
  }
}

/** The record of a collection that is made now. */
export function newRecord({ language, keepDiacritics }: Analysis): AnalysisRecord {
  return { language, keepDiacritics, analyser: ANALYSER, icu: ICU };
}

/** The words in which a store keeps a record. */
export function writeRecord({ language, keepDiacritics, analyser, icu, unfinished }: AnalysisRecord): string {
  return JSON.stringify({ language, keepDiacritics, analyser, icu, ...(unfinished && { unfinished }) });
}

/** The reverse of {@link writeRecord}. @throws {SyntaxError} for what is no record */
export function readRecord(record: string): AnalysisRecord {
  const read = JSON.parse(record) as Partial<AnalysisRecord> | null;
  const { language, keepDiacritics, analyser, icu, unfinished } = read ?? {};
  const isRight =
    typeof language === 'string' &&
    isLanguage(language) &&
    typeof keepDiacritics === 'boolean' &&
    Number.isSafeInteger(analyser) &&
    Number.isSafeInteger(icu);
  if (!isRight) throw new SyntaxError(`${record.slice(0, 200)} does not say how texts are analysed`);
  return {
    language,
    keepDiacritics,
    analyser: analyser!,
    icu: icu!,
    ...(unfinished === true && { unfinished }),
  };
}

/** `lx1_` and 32 hex digits: collections with the same one have the same terms for the same texts. */
export function lexicalFingerprint({ language, keepDiacritics, analyser, icu }: AnalysisRecord): string {
  const identity = JSON.stringify([language, keepDiacritics, analyser, icu]);
  return `lx1_${hash('sha256', identity, 'hex').slice(0, 32)}`;
}

/** Why this process makes other terms than those of a collection; `undefined` where it makes the same. */
export function mismatchOf({ analyser, icu }: AnalysisRecord): string | undefined {
  if (analyser < 1 || analyser > ANALYSER)
    return `by version ${analyser} of the analyser, and this program has version ${ANALYSER}`;
  if (icu !== ICU)
    return `with version ${icu} of the Unicode library (ICU), and this Node.js has version ${ICU}`;
  return undefined;
}

/** What has to be said, once, of a collection in a language that nobody stems; `undefined` for the others. */
export function unstemmedNote({ language }: Analysis): string | undefined {
  if (language === 'auto' || language === 'none' || isStemmed(language)) return undefined;
  return `there is no stemmer for the language "${language}": words are matched as they are written`;
}
