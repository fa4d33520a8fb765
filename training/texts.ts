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

/** Fewer texts than this can't be split into what is fitted and what is held out. */
const MIN_TEXTS = 20;

/** How many texts of each kind are made from a corpus: what a teacher on two cores reads in about three minutes. */
const CORPUS_LIMITS = { titles: 8_000, sentences: 24_000, spans: 14_000, keywords: 14_000 };

/**
 * Where a sentence ends. Unicode's rules (UAX #29) see no end before a lower-case letter, so that a text in lower case
 * would be one sentence; a query text may be cut at an abbreviation, but is of no use where it is a whole document.
 */
const SENTENCE_END = /(?<=[.!?])\s+|(?<=[。！？])|\n\s*\n/u;

/** Words that say nothing about what a text is about. */
const STOP_WORDS = new Set(
  (
    'a about after all also an and any are as at be because been before being between both but by can could did do ' +
    'does during each for from had has have having he her his how i if in into is it its may might more most must no ' +
    'nor not of on or other our over own she should so some such than that the their them then there these they this ' +
    'those through to under until up use used using very was we were what when where which while who whom why will ' +
    'with within without would you your'
  ).split(' '),
);

/** Query texts from a file, one a line; each line is a group. @throws {TrainingError} `TEXTS_INVALID` */
export async function readTexts(file: string): Promise<TrainingText[]> {
  const texts: TrainingText[] = [];
  for await (const line of lines(file)) {
    if (line.length > MAX_LINE_CHARACTERS) {
      throw new TrainingError(
        'TEXTS_INVALID',
        `${file}, line ${texts.length + 1} has ${line.length} characters, more than the ${MAX_LINE_CHARACTERS} that a ` +
          'query text may have; give one query a line, or documents as a corpus',
      );
    }
    texts.push({ text: line, group: texts.length });
  }
  return distinct(texts, file);
}

/**
 * Makes texts that look like queries from documents: titles, sentences, spans of two to eight words, and two to six
 * keywords of a sentence in their order. No query and no relevance judgment is read.
 *
 * @param path - a folder in BEIR layout, or a file: JSON Lines of documents, or plain text with a document a line
 * @throws {TrainingError} `TEXTS_INVALID`
 */
export async function textsFromCorpus(path: string, seed: number): Promise<TrainingText[]> {
  const documents = await readCorpus(path);
  const random = seededRandom(seed);
  const titles: TrainingText[] = [];
  const sentences: TrainingText[] = [];
  for (const [group, { title, text }] of documents.entries()) {
    if (title !== '') titles.push({ text: title, group });
    for (const sentence of text.split(SENTENCE_END)) {
      if (wordsOf(sentence).length >= 3) sentences.push({ text: sentence, group });
    }
  }
  const sources = sentences.length > 0 ? sentences : titles;
  if (sources.length === 0)
    throw new TrainingError('TEXTS_INVALID', `${path} has no text to make queries from`);
  const derive = (count: number, make: (text: string) => string): TrainingText[] =>
    Array.from({ length: count }, () => {
      const source = sources[Math.floor(random() * sources.length)]!;
      return { text: make(source.text), group: source.group };
    });
  const made = [
    ...shuffle(titles, random).slice(0, CORPUS_LIMITS.titles),
    ...shuffle([...sentences], random).slice(0, CORPUS_LIMITS.sentences),
    ...derive(CORPUS_LIMITS.spans, (text) => span(text.trim().split(/\s+/), 2, 8, random)),
    ...derive(CORPUS_LIMITS.keywords, (text) => keywords(text, random)),
  ];
  return distinct(made, path);
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

async function readCorpus(path: string): Promise<{ title: string; text: string }[]> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) throw new TrainingError('TEXTS_INVALID', `there is no file or folder ${path}`);
  const file = found.isDirectory() ? join(path, 'corpus.jsonl') : path;
  const documents: { title: string; text: string }[] = [];
  if (/\.jsonl$/i.test(file)) {
    for await (const { title, text } of readRecords(file)) documents.push({ title: title.trim(), text });
  } else {
    for await (const text of lines(file)) documents.push({ title: '', text });
  }
  return documents;
}

function distinct(texts: readonly TrainingText[], source: string): TrainingText[] {
  const seen = new Set<string>();
  const kept: TrainingText[] = [];
  for (const { text, group } of texts) {
    const clean = text.toWellFormed().replace(/\s+/g, ' ').trim().slice(0, MAX_CHARACTERS);
    const key = clean.toLowerCase();
    if (clean.length < 2 || seen.has(key)) continue;
    seen.add(key);
    kept.push({ text: clean, group });
  }
  if (kept.length < MIN_TEXTS) {
    throw new TrainingError(
      'TEXTS_INVALID',
      `${source} gives ${kept.length} different texts; at least ${MIN_TEXTS} are needed, and some thousands are wanted`,
    );
  }
  return kept;
}
