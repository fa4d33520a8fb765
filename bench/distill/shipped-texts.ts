import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pullTower } from '../../towers/pull.ts';
import { keywords, span } from '../../training/texts.ts';
import { seededRandom, shuffle } from '../../training/random.ts';
import { isPerson, readWordNet, type SampleDocument } from '../../cli/sample/wordnet.ts';

/**
 * Prints the texts that the query towers which ship with the package are fitted to, one a line: WordNet's definitions,
 * examples and lemmas, spans and keywords of its definitions, and combinations of our own making, which put every
 * term of WordNet, and every word of the document tower's vocabulary, into contexts that definitions lack. No data set of
 * questions is among them. The lookup that ships was fitted before there were long ones.
 */
const SEED = 1;
const COUNTS = {
  definitions: 50_000,
  examples: 10_000,
  lemmas: 15_000,
  spans: 10_000,
  keywords: 15_000,
  mixes: 30_000,
  long: 40_000,
};

/** Contexts in which each word of the vocabulary is seen besides WordNet's. */
const CONTEXTS_PER_WORD = 6;

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

const random = seededRandom(SEED);
// What is drawn depends on the order: this is the one that the tower's texts were drawn from.
const inFileOrder = await readWordNet();
const synsets = [
  ...inFileOrder.filter(isPerson),
  ...strided(inFileOrder.filter((synset) => !isPerson(synset))),
];
const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)]!;
const definitions = synsets.map(({ text }) => text.replaceAll(/;?\s*".*$/g, '').trim());
const byLexfile = new Map<string, SampleDocument[]>();
for (const synset of synsets) {
  const topic = byLexfile.get(synset.metadata.lexfile);
  if (topic === undefined) byLexfile.set(synset.metadata.lexfile, [synset]);
  else topic.push(synset);
}
const topics = [...byLexfile.values()];

/** Two terms, one time in two of one topic, each topic as often as any other. */
function mix(): string {
  const topic = pick(topics);
  const other = random() < 0.5 ? topic : pick(topics);
  const term = (synset: SampleDocument): string => pick(synset.metadata.lemmas);
  const combined = pick(TEMPLATES)(term(pick(topic)), term(pick(other)));
  return random() < 0.5 ? combined : `${combined} ${keywords(pick(definitions), random)}`;
}

/** Whole words of the vocabulary of the document tower that the query towers are for. */
async function vocabularyWords(): Promise<string[]> {
  const { directory } = await pullTower('all-MiniLM-L6-v2');
  const { model } = JSON.parse(await readFile(join(directory, 'tokenizer.json'), 'utf8')) as {
    model: { vocab: Record<string, number> };
  };
  return Object.keys(model.vocab).filter((word) => /^[a-z]{2,}$/.test(word));
}

/** Words in company of others: two to seven at random, each word in as many texts. */
function combinations(words: readonly string[]): string[] {
  const made: string[] = [];
  for (let round = 0; round < CONTEXTS_PER_WORD; round++) {
    const pending = shuffle([...words], random);
    while (pending.length > 0) {
      const chosen = pending.splice(-2 - Math.floor(random() * 4));
      made.push([...chosen, ...(random() < 0.5 ? [keywords(pick(definitions), random)] : [])].join(' '));
    }
  }
  return made;
}

const words = await vocabularyWords();
const examples = synsets.flatMap(({ text }) => [...text.matchAll(/"([^"]+)"/g)].map(([, quoted]) => quoted!));
const texts = [
  ...shuffle([...definitions], random).slice(0, COUNTS.definitions),
  ...shuffle(examples, random).slice(0, COUNTS.examples),
  ...shuffle(
    synsets.map(({ title }) => title),
    random,
  ).slice(0, COUNTS.lemmas),
  ...Array.from({ length: COUNTS.spans }, () => span(pick(definitions).split(' '), 2, 8, random)),
  ...Array.from({ length: COUNTS.keywords }, () => keywords(pick(definitions), random)),
  ...Array.from({ length: COUNTS.mixes }, mix),
  ...combinations(words),
];
// Questions that people write out are longer than most definitions, and shorter than two of the longest.
const phrases = [...definitions, ...examples].filter((phrase) => phrase.split(' ').length <= PHRASE_WORDS);
const long = Array.from({ length: COUNTS.long }, () => pick(TEMPLATES)(pick(phrases), pick(phrases)));
process.stdout.write(`${shuffle([...texts, ...long], random).join('\n')}\n`);

/** The same items, by a stride that is coprime to their number. */
function strided<T>(items: readonly T[]): T[] {
  let stride = Math.max(1, Math.floor(items.length * 0.618));
  while (gcd(stride, items.length) > 1) stride++;
  return items.map((_, index) => items[(index * stride) % items.length] as T);
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}
