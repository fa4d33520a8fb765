import { isPerson, readDictionary, type SampleDocument, synsetId } from './wordnet.ts';

/** Of so many synsets one is a person. */
const PERSON_EVERY = 4;

/** Letter of an id by `ss_type` of a sense key, from 1 on; satellites of adjectives are adjectives. */
const PARTS_OF_SPEECH = ['n', 'v', 'a', 'r', 'a'] as const;

/** What index.sense(5WN) says of the use of a synset's words. */
interface Use {
  /** How often its words stand for it in SemCor, a text in which people have marked the meaning of each word. */
  tagged: number;
  /** Which of the meanings of its first lemma it is, from 1. */
  sense: number;
}

/**
 * Synsets in an order that can be cut anywhere: the first N are what a small dictionary would have, and each N is a
 * prefix of the next.
 *
 * The common ones come first, by their share of SemCor and of the glosses of WordNet itself. SemCor alone would not do:
 * it is so small that "astronomer" never occurs. Every fourth is a person, the common ones first again: "somebody who"
 * is what people ask a reverse dictionary for, and by use alone most persons would be last.
 */
export async function commonFirst(documents: readonly SampleDocument[]): Promise<SampleDocument[]> {
  const uses = await readUses(documents);
  const occurrences = countWords(documents);
  let allTagged = 0;
  let allWords = 0;
  for (const { tagged } of uses.values()) allTagged += tagged;
  for (const count of occurrences.values()) allWords += count;
  const shares = new Map<SampleDocument, number>();
  for (const document of documents) {
    const { tagged, sense } = uses.get(document.id) ?? { tagged: 0, sense: 1 };
    const word = occurrences.get(firstLemma(document)) ?? 0;
    // Of a word's uses most have its first meaning: 1/n² for the nth one is close to what SemCor has.
    shares.set(document, tagged / allTagged + word / sense ** 2 / allWords);
  }
  const sorted = [...documents].sort((a, b) => shares.get(b)! - shares.get(a)!);
  const persons = sorted.filter(isPerson);
  const others = sorted.filter((document) => !isPerson(document));
  const ordered: SampleDocument[] = [];
  for (let other = 0, person = 0; ordered.length < documents.length;) {
    const wanted = ordered.length % PERSON_EVERY === PERSON_EVERY - 1 ? persons[person] : others[other];
    const next = wanted ?? persons[person] ?? others[other]!;
    if (next === persons[person]) person++;
    else other++;
    ordered.push(next);
  }
  return ordered;
}

/** By id of the synset. */
async function readUses(documents: readonly SampleDocument[]): Promise<Map<string, Use>> {
  const lemmas = new Map(documents.map((document) => [document.id, firstLemma(document)]));
  const uses = new Map<string, Use>();
  // `lemma%ss_type:... synset_offset sense_number tag_cnt`, lemmas in lower case with underscores.
  for await (const line of readDictionary('index.sense')) {
    const [key = '', offset = '', sense, tagged] = line.split(' ');
    const [lemma = '', type = ''] = key.split('%');
    const id = synsetId(PARTS_OF_SPEECH[Number(type[0]) - 1]!, offset);
    const use = uses.get(id) ?? { tagged: 0, sense: 1 };
    uses.set(id, use);
    use.tagged += Number(tagged);
    if (lemma.replaceAll('_', ' ') === lemmas.get(id)) use.sense = Number(sense);
  }
  return uses;
}

function countWords(documents: readonly SampleDocument[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { text } of documents) {
    for (const word of text.toLowerCase().match(/[a-z']+/g) ?? [])
      counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return counts;
}

function firstLemma({ metadata }: SampleDocument): string {
  return metadata.lemmas[0]!.toLowerCase();
}
