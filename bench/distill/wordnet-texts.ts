import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isPerson, readWordNet, type SampleDocument } from '../../cli/sample/wordnet.ts';
import { pullTower } from '../../towers/pull.ts';
import { seededRandom, shuffle } from '../../training/random.ts';
import { keywords, span } from '../../training/texts.ts';

/** How many texts of each kind. */
export interface WordNetCounts {
  definitions: number;
  examples: number;
  lemmas: number;
  spans: number;
  keywords: number;
  /** Two terms, in a phrase that a query may have. */
  mixes: number;
  /** Contexts in which each word of the document tower's vocabulary is seen besides WordNet's. */
  contexts: number;
  /** Two definitions or examples in one sentence. */
  long: number;
}

/** The texts that `transformer:2` ships fitted to, and its predecessors. */
export const WORDNET_ALONE: WordNetCounts = {
  definitions: 50_000,
  examples: 10_000,
  lemmas: 15_000,
  spans: 10_000,
  keywords: 15_000,
  mixes: 30_000,
  contexts: 6,
  long: 40_000,
};

/** Beside texts of other sources: mostly terms, for the words that those lack. */
export const WORDNET_BESIDE: WordNetCounts = {
  definitions: 12_000,
  examples: 4_000,
  lemmas: 15_000,
  spans: 0,
  keywords: 3_000,
  mixes: 4_000,
  contexts: 0,
  long: 0,
};

/** Most words of a phrase of which two make a text. */
const PHRASE_WORDS = 14;

/** What a query may say about two terms. */
const TEMPLATES: readonly ((a: string, b: string) => string)[] = [
  (a, b) => `${a} ${b}`,
  (a, b) => `${a} and ${b}`,
  (a, b) => `effect of ${a} on ${b}`,
  (a, b) => `the role of ${a} in ${b}`,
  (a, b) => `what is the relation between ${a} and ${b}`,
  (a, b) => `${a} in the ${b}`,
  (a, b) => `how does ${a} change ${b}`,
  (a, b) => `${a} increases ${b}`,
  (a, b) => `${a} is associated with ${b}`,
  (a, b) => `methods for measuring ${a} of ${b}`,
];

/** Texts made from WordNet, in an order of their own. What is drawn depends on the order of the draws: it stays as it is. */
export async function wordNetTexts(counts: WordNetCounts, seed: number): Promise<string[]> {
  const random = seededRandom(seed);
  const inFileOrder = await readWordNet();
  const synsets = [
    ...inFileOrder.filter(isPerson),
    ...strided(inFileOrder.filter((synset) => !isPerson(synset))),
  ];
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)]!;
  const definitions = synsets.map(({ text }) => text.replaceAll(/;?\s*".*$/g, '').trim());
  const topics = topicsOf(synsets);

  /** Two terms, one time in two of one topic, each topic as often as any other. */
  const mix = (): string => {
    const topic = pick(topics);
    const other = random() < 0.5 ? topic : pick(topics);
    const term = (synset: SampleDocument): string => pick(synset.metadata.lemmas);
    const combined = pick(TEMPLATES)(term(pick(topic)), term(pick(other)));
    return random() < 0.5 ? combined : `${combined} ${keywords(pick(definitions), random)}`;
  };
  /** Words in company of others: two to seven at random, each word in as many texts. */
  const combinations = (words: readonly string[]): string[] => {
    const made: string[] = [];
    for (let round = 0; round < counts.contexts; round++) {
      const pending = shuffle([...words], random);
      while (pending.length > 0) {
        const chosen = pending.splice(-2 - Math.floor(random() * 4));
        made.push([...chosen, ...(random() < 0.5 ? [keywords(pick(definitions), random)] : [])].join(' '));
      }
    }
    return made;
  };
  const words =
    counts.contexts > 0 ? [...(await vocabulary())].filter((word) => /^[a-z]{2,}$/.test(word)) : [];
  const examples = synsets.flatMap(({ text }) =>
    [...text.matchAll(/"([^"]+)"/g)].map(([, quoted]) => quoted!),
  );
  const texts = [
    ...shuffle([...definitions], random).slice(0, counts.definitions),
    ...shuffle(examples, random).slice(0, counts.examples),
    ...shuffle(
      synsets.map(({ title }) => title),
      random,
    ).slice(0, counts.lemmas),
    ...Array.from({ length: counts.spans }, () => span(pick(definitions).split(' '), 2, 8, random)),
    ...Array.from({ length: counts.keywords }, () => keywords(pick(definitions), random)),
    ...Array.from({ length: counts.mixes }, mix),
    ...combinations(words),
  ];
  // Questions that people write out are longer than most definitions, and shorter than two of the longest.
  const phrases = [...definitions, ...examples].filter((phrase) => phrase.split(' ').length <= PHRASE_WORDS);
  const long = Array.from({ length: counts.long }, () => pick(TEMPLATES)(pick(phrases), pick(phrases)));
  return shuffle([...texts, ...long], random);
}

function topicsOf(synsets: readonly SampleDocument[]): SampleDocument[][] {
  const byLexfile = new Map<string, SampleDocument[]>();
  for (const synset of synsets) {
    const topic = byLexfile.get(synset.metadata.lexfile);
    if (topic === undefined) byLexfile.set(synset.metadata.lexfile, [synset]);
    else topic.push(synset);
  }
  return [...byLexfile.values()];
}

/** Tokens of the document tower that the query towers are for. */
export async function vocabulary(): Promise<ReadonlySet<string>> {
  const { directory } = await pullTower('all-MiniLM-L6-v2');
  const { model } = JSON.parse(await readFile(join(directory, 'tokenizer.json'), 'utf8')) as {
    model: { vocab: Record<string, number> };
  };
  return new Set(Object.keys(model.vocab));
}

/** The same items, by a stride that is coprime to their number. */
function strided<T>(items: readonly T[]): T[] {
  let stride = Math.max(1, Math.floor(items.length * 0.618));
  while (gcd(stride, items.length) > 1) stride++;
  return items.map((_, index) => items[(index * stride) % items.length] as T);
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}
