import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { TrainingError } from './errors.ts';
import { lines, readRecords } from './evaluation/dataset.ts';
import { seededRandom, shuffle } from './random.ts';

/** A text that a student is fitted to. */
export interface TrainingText {
  text: string;
  /** Texts of one group come from one document: they are held out together, or not at all. */
  group: number;
}

/** Sentences longer than this are cut: queries are short, and a teacher's time grows with what it reads. */
const MAX_CHARACTERS = 1000;

/** A longer line in a file of query texts is no query: the file is of another kind, and its name was a slip. */
const MAX_LINE_CHARACTERS = 10_000;

/** Fewer texts than this can't be split into fitted and held-out texts. */
const MIN_TEXTS = 20;

/** How many texts of each kind are made from a corpus. A teacher on two cores reads them in about three minutes. */
const CORPUS_LIMITS = { titles: 8_000, sentences: 24_000, spans: 14_000, keywords: 14_000 };

/** Words of a span, one time in two of either: queries are phrases, and whole questions. */
const SHORT_SPAN = [2, 8] as const;
const LONG_SPAN = [8, 20] as const;

/** Sentences that spans and keywords are taken from: a sample that stays in memory, however large the corpus. */
const SENTENCE_SAMPLE = 60_000;

/** Most spans, and most keyword texts, per sentence: more would repeat a small collection. */
const DERIVED_PER_SENTENCE = 8;

/** Most texts of a query log. A larger log is sampled: a small student learns little from more. */
const MAX_LOG_TEXTS = 500_000;

/**
 * Where a sentence ends. Unicode's rules (UAX #29) see no end before a lower-case letter, so that a text in lower case
 * would be one sentence; a query text may be cut at an abbreviation, but is of no use where it is a whole document.
 */
const SENTENCE_END = /(?<=[.!?])\s+|(?<=[。！？])|\n\s*\n/u;

/** Words that do not tell the topic of a text. */
export const STOP_WORDS: ReadonlySet<string> = new Set(
  (
    'a about after all also an and any are as at be because been before being between both but by can could did do ' +
    'does during each for from had has have having he her his how i if in into is it its may might more most must no ' +
    'nor not of on or other our over own she should so some such than that the their them then there these they this ' +
    'those through to under until up use used using very was we were what when where which while who whom why will ' +
    'with within without would you your'
  ).split(' '),
);

/** Texts to fit a student to, and how many were left out. */
export interface TextSet {
  texts: TrainingText[];
  /** How many texts were left out because they are queries of an evaluation. */
  removed: number;
}

/** A document to make texts of. */
export interface CorpusDocument {
  title: string;
  text: string;
}

/**
 * Query texts from a file, one a line; each line is a group.
 *
 * @param excluded - queries of evaluations, none of which may be trained on
 * @throws {TrainingError} `TEXTS_INVALID`
 */
export async function readTexts(
  file: string,
  seed: number,
  excluded: readonly string[] = [],
): Promise<TextSet> {
  const sample = new Reservoir<TrainingText>(MAX_LOG_TEXTS, seededRandom(seed));
  let line = 0;
  for await (const text of lines(file)) {
    line++;
    if (text.length > MAX_LINE_CHARACTERS) {
      throw new TrainingError(
        'TEXTS_INVALID',
        `${file}, line ${line} has ${text.length} characters, more than the ${MAX_LINE_CHARACTERS} that a query text ` +
          'may have; give one query a line, or documents as a corpus',
      );
    }
    sample.offer({ text, group: line - 1 });
  }
  return distinct(sample.items, file, excluded);
}

/**
 * Query texts from memory. Each is a group of its own, numbered by its place.
 *
 * @param source - what to call them in an error
 * @param excluded - queries of evaluations, none of which may be trained on
 * @throws {TrainingError} `TEXTS_INVALID`
 */
export function textsOf(texts: readonly string[], source: string, excluded: readonly string[] = []): TextSet {
  return distinct(
    texts.map((text, group) => ({ text, group })),
    source,
    excluded,
  );
}

/**
 * Makes texts that look like queries from documents: titles, sentences, spans of two to twenty words, and two to six
 * keywords of a sentence in their order. No query and no relevance judgment is read. Memory is bounded by the number of
 * texts, not by the corpus: of each kind a random sample is kept.
 *
 * @param source - what to call the documents in an error
 * @param excluded - queries of evaluations, none of which may be trained on
 * @throws {TrainingError} `TEXTS_INVALID`
 */
export async function textsFromDocuments(
  documents: AsyncIterable<CorpusDocument> | Iterable<CorpusDocument>,
  source: string,
  seed: number,
  excluded: readonly string[] = [],
): Promise<TextSet> {
  const random = seededRandom(seed);
  const titles = new Reservoir<TrainingText>(CORPUS_LIMITS.titles, random);
  const sentences = new Reservoir<TrainingText>(SENTENCE_SAMPLE, random);
  let group = 0;
  for await (const { title, text } of documents) {
    if (title.trim() !== '') titles.offer({ text: title.trim(), group });
    for (const sentence of text.split(SENTENCE_END)) {
      if (wordsOf(sentence).length >= 3) sentences.offer({ text: sentence, group });
    }
    group++;
  }
  const sources = sentences.items.length > 0 ? sentences.items : titles.items;
  if (sources.length === 0) {
    throw new TrainingError('TEXTS_INVALID', `${source} has no text to make queries from`);
  }
  const derive = (count: number, make: (text: string) => string): TrainingText[] =>
    Array.from({ length: Math.min(count, DERIVED_PER_SENTENCE * sources.length) }, () => {
      const origin = sources[Math.floor(random() * sources.length)]!;
      return { text: make(origin.text), group: origin.group };
    });
  const made = [
    ...titles.items,
    ...shuffle([...sentences.items], random).slice(0, CORPUS_LIMITS.sentences),
    ...derive(CORPUS_LIMITS.spans, (text) => {
      const [shortest, longest] = random() < 0.5 ? SHORT_SPAN : LONG_SPAN;
      return span(text.trim().split(/\s+/), shortest, longest, random);
    }),
    ...derive(CORPUS_LIMITS.keywords, (text) => keywords(text, random)),
  ];
  return distinct(made, source, excluded);
}

/**
 * Documents of a folder in BEIR layout, or of a file: JSON Lines, or plain text with a document a line.
 *
 * @throws {TrainingError} `TEXTS_INVALID` where there is none, `DATASET_INVALID` for a line that can't be read
 */
export async function* readCorpus(path: string): AsyncGenerator<CorpusDocument> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) throw new TrainingError('TEXTS_INVALID', `there is no file or folder ${path}`);
  const file = found.isDirectory() ? join(path, 'corpus.jsonl') : path;
  if (/\.jsonl$/i.test(file)) {
    for await (const { title, text } of readRecords(file)) yield { title, text };
  } else {
    for await (const text of lines(file)) yield { title: '', text };
  }
}

/** Queries of a folder in BEIR layout, judged or not; none where it has no `queries.jsonl`. */
export async function readQueries(folder: string): Promise<string[]> {
  const found = await stat(queriesFile(folder)).catch(() => undefined);
  return found === undefined ? [] : readQueryFile(queriesFile(folder));
}

/**
 * Queries that must not be trained on: of a folder in BEIR layout.
 *
 * @throws {TrainingError} `REQUEST_INVALID` for a folder that has none: a slip in its name would leave nothing out
 */
export async function readExcluded(folder: string): Promise<string[]> {
  const found = await stat(queriesFile(folder)).catch(() => undefined);
  if (found !== undefined) return readQueryFile(queriesFile(folder));
  throw new TrainingError(
    'REQUEST_INVALID',
    `there is no ${queriesFile(folder)}, whose queries were to be left out: name a folder in BEIR layout`,
  );
}

function queriesFile(folder: string): string {
  return join(folder, 'queries.jsonl');
}

async function readQueryFile(file: string): Promise<string[]> {
  const queries: string[] = [];
  for await (const { text } of readRecords(file)) queries.push(text);
  return queries;
}

/** Two to six words of a text that say what it is about, in their order. */
export function keywords(text: string, random: () => number): string {
  const candidates = wordsOf(text).filter((word) => word.length > 1 && !STOP_WORDS.has(word.toLowerCase()));
  const count = 2 + Math.floor(random() * 5);
  const chosen = new Set(shuffle([...candidates.keys()], random).slice(0, count));
  return candidates.filter((_, index) => chosen.has(index)).join(' ');
}

/** A run of words, `shortest` to `longest` of them where there are as many. */
export function span(
  words: readonly string[],
  shortest: number,
  longest: number,
  random: () => number,
): string {
  const count = shortest + Math.floor(random() * (longest - shortest + 1));
  const start = Math.floor(random() * Math.max(1, words.length - count + 1));
  return words.slice(start, start + count).join(' ');
}

function wordsOf(text: string): string[] {
  return text.match(/[\p{L}\p{N}][\p{L}\p{N}'-]*/gu) ?? [];
}

/** A random sample of a stream of unknown length (Vitter's algorithm R). */
class Reservoir<T> {
  readonly items: T[] = [];
  readonly #size: number;
  readonly #random: () => number;
  #seen = 0;

  constructor(size: number, random: () => number) {
    this.#size = size;
    this.#random = random;
  }

  offer(item: T): void {
    this.#seen++;
    if (this.items.length < this.#size) {
      this.items.push(item);
      return;
    }
    const place = Math.floor(this.#random() * this.#seen);
    if (place < this.#size) this.items[place] = item;
  }
}

function distinct(texts: readonly TrainingText[], source: string, excluded: readonly string[]): TextSet {
  const forbidden = new Set(excluded.map(bareWords));
  const seen = new Set<string>();
  const kept: TrainingText[] = [];
  let removed = 0;
  for (const { text, group } of texts) {
    const clean = text.toWellFormed().replace(/\s+/g, ' ').trim().slice(0, MAX_CHARACTERS);
    const key = clean.toLowerCase();
    if (clean.length < 2 || seen.has(key)) continue;
    seen.add(key);
    if (forbidden.has(bareWords(clean))) removed++;
    else kept.push({ text: clean, group });
  }
  if (kept.length < MIN_TEXTS) {
    throw new TrainingError(
      'TEXTS_INVALID',
      `${source} gives ${kept.length} different texts; at least ${MIN_TEXTS} are needed, and some thousands are wanted`,
    );
  }
  return { texts: kept, removed };
}

/** What is left of a text without case, punctuation and white space: texts that agree in it are the same query. */
function bareWords(text: string): string {
  return wordsOf(text.normalize('NFKC').toLowerCase()).join(' ');
}
