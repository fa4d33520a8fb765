import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import * as z from 'zod';
import { seededRandom, shuffle } from '../../training/random.ts';
import { keywords, STOP_WORDS } from '../../training/texts.ts';
import type { TextSourceNote } from '../../towers/manifest.ts';

/** `SOURCES.json` beside the texts: what each file is, whose, and under which licence. */
const Sources = z.array(
  z.looseObject({
    source: z.string(),
    file: z.string().regex(/^[\w.-]+\.jsonl\.gz$/),
    origin: z.string(),
    commit: z.string().optional(),
    licence: z.string(),
    attribution: z.string(),
    note: z.string().optional(),
  }),
);
type Source = z.infer<typeof Sources>[number];

const Line = z.looseObject({ text: z.string(), kind: z.enum(['query', 'title', 'sentence', 'passage']) });
type Kind = z.infer<typeof Line>['kind'];

/**
 * Licences of texts that a shipped tower may be fitted to, as `SOURCES.json` words them: public domain, CC0, CC BY, MIT,
 * BSD, Apache. A choice between two licences counts when one of them does.
 */
const SHIPPABLE =
  /^(public domain \(|public domain$|CC0 1\.0|CC BY \d\.\d$|MIT\b|BSD \d-Clause$|Apache 2\.0$|Unlicense|US government public domain)|, or CC BY \d\.\d$/;

/** Most texts of one kind from one source: no source sets the tone. */
const PER_SOURCE = 2_500;

/** How many of each kind. */
const COUNTS: Readonly<Record<Kind, number>> = {
  query: 50_000,
  title: 25_000,
  sentence: 45_000,
  passage: 2_000,
};

/** Longer sentences are left out: they cost the teacher more than they teach. */
const SENTENCE_CHARACTERS = 240;

/** A passage is cut here: as long as the longest of questions. */
const PASSAGE_CHARACTERS = 500;

/**
 * Words that the document tower's vocabulary has only in pieces, and phrases of two words: the most frequent of all sources,
 * each as a text. What pieces mean together is seen at least once, and not only where it stands among others.
 */
const WORDS = 20_000;
const PHRASES = 15_000;

/** Fewer occurrences are misprints more often than not. */
const LEAST_OCCURRENCES = 3;

/** Counts of phrases that are kept: beyond them, those seen once are forgotten. */
const MAX_COUNTED = 1_500_000;

/** Texts of a few keywords each, made from sentences: people type them. */
const KEYWORDS = 10_000;

/** Share of the questions that lose their question mark, as people leave it out. */
const BARE_QUESTIONS = 1 / 3;

/** Whether a tower that ships may be fitted to a source. */
export function isShippable({ licence }: { licence: string }): boolean {
  return SHIPPABLE.test(licence) && !/SA|GPL 2/.test(licence);
}

/** How often words and phrases occur, and where they were seen first. */
class Terms {
  readonly #vocabulary: ReadonlySet<string>;
  readonly #words = new Map<string, { count: number; source: Source }>();
  readonly #phrases = new Map<string, { count: number; source: Source }>();

  constructor(vocabulary: ReadonlySet<string>) {
    this.#vocabulary = vocabulary;
  }

  count(text: string, source: Source): void {
    for (const clause of text.toLowerCase().split(/[^\p{L}\p{N}'’\s-]+/u)) {
      let before = '';
      for (const word of clause.split(/[\s-]+/)) {
        const isTerm = /^\p{L}{3,}$/u.test(word) && !STOP_WORDS.has(word);
        if (isTerm && word.length > 4 && !this.#vocabulary.has(word)) add(this.#words, word, source);
        if (isTerm && before !== '') add(this.#phrases, `${before} ${word}`, source);
        before = isTerm ? word : '';
      }
    }
    if (this.#phrases.size <= MAX_COUNTED) return;
    for (const [phrase, { count }] of this.#phrases) if (count === 1) this.#phrases.delete(phrase);
  }

  /** The most frequent of both, each with the source that it was seen in first. */
  most(): { text: string; source: Source }[] {
    const best = (counts: Map<string, { count: number; source: Source }>, most: number) =>
      [...counts]
        .filter(([, { count }]) => count >= LEAST_OCCURRENCES)
        .sort(([a, x], [b, y]) => y.count - x.count || (a < b ? -1 : 1))
        .slice(0, most)
        .map(([text, { source }]) => ({ text, source }));
    return [...best(this.#words, WORDS), ...best(this.#phrases, PHRASES)];
  }
}

function add(counts: Map<string, { count: number; source: Source }>, term: string, source: Source): void {
  const found = counts.get(term);
  if (found === undefined) counts.set(term, { count: 1, source });
  else found.count++;
}

/** A text and where it is from. */
export interface SourcedText {
  text: string;
  source: Omit<TextSourceNote, 'texts'>;
}

/** Sources of texts, each with how many of them there are. */
export function countSources(texts: readonly SourcedText[]): TextSourceNote[] {
  const counts = new Map<SourcedText['source'], number>();
  for (const { source } of texts) counts.set(source, (counts.get(source) ?? 0) + 1);
  return [...counts].map(([source, count]) => ({ ...source, texts: count }));
}

/**
 * A mix of texts of every field, of sources that a shipped tower may be fitted to. The same folder and seed give the same.
 *
 * @param folder - holds `SOURCES.json` and the files that it names
 * @param vocabulary - of the document tower
 */
export async function licensedTexts(
  folder: string,
  vocabulary: ReadonlySet<string>,
  seed: number,
): Promise<SourcedText[]> {
  const random = seededRandom(seed);
  const sources = Sources.parse(JSON.parse(await readFile(join(folder, 'SOURCES.json'), 'utf8'))).filter(
    isShippable,
  );
  const byKind: Record<Kind, { text: string; source: Source }[]> = {
    query: [],
    title: [],
    sentence: [],
    passage: [],
  };
  const terms = new Terms(vocabulary);
  for (const source of sources) {
    const found: Record<Kind, string[]> = { query: [], title: [], sentence: [], passage: [] };
    for (const line of gunzipSync(await readFile(join(folder, source.file)))
      .toString('utf8')
      .split('\n')) {
      if (line === '') continue;
      const { text, kind } = Line.parse(JSON.parse(line));
      terms.count(text, source);
      if (kind === 'sentence' && text.length > SENTENCE_CHARACTERS) continue;
      found[kind].push(kind === 'passage' ? text.slice(0, PASSAGE_CHARACTERS) : text);
    }
    for (const kind of Object.keys(found) as Kind[]) {
      const chosen = shuffle(found[kind], random).slice(0, PER_SOURCE);
      byKind[kind].push(...chosen.map((text) => ({ text, source })));
    }
  }
  const made = Array.from({ length: KEYWORDS }, () => {
    const { text, source } = byKind.sentence[Math.floor(random() * byKind.sentence.length)]!;
    return { text: keywords(text, random), source };
  });
  const chosen = (Object.keys(COUNTS) as Kind[]).flatMap((kind) =>
    shuffle(byKind[kind], random).slice(0, COUNTS[kind]),
  );
  const all = shuffle([...chosen, ...made, ...terms.most()], random);
  const notes = new Map(
    sources.map((each) => {
      const { source, licence, attribution, origin, commit } = each;
      const from = commit === undefined ? origin : `${origin}@${commit}`;
      return [each, { source, licence, attribution, origin: from }];
    }),
  );
  return all.map(({ text, source }) => ({
    text: random() < BARE_QUESTIONS ? text.replace(/\s*\?$/, '') : text,
    source: notes.get(source)!,
  }));
}
