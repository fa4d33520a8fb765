import { createWriteStream } from 'node:fs';
import { finished } from 'node:stream/promises';
import { seededRandom, shuffle } from '../../training/random.ts';
import { HELD_OUT } from '../../training/stage1/pairs.ts';
import { readWordNet, type SampleDocument } from './wordnet.ts';

/** A line of a file of pairs. */
interface PairLine {
  id: string;
  query: string;
  document: string;
  split: 'train' | typeof HELD_OUT;
}

/** How many pairs were written. */
export interface WrittenPairs {
  out: string;
  train: number;
  heldOut: number;
}

/**
 * A synset as a pair: its definition asks for its lemmas and examples. Undefined where there is no definition.
 */
export function pairOf({ id, title, text }: SampleDocument): Omit<PairLine, 'split'> | undefined {
  // Examples are in quotes, after the definition.
  const start = text.search(/(?:^|;\s*)"/);
  const definition = (start < 0 ? text : text.slice(0, start)).trim();
  const examples =
    start < 0 ? [] : [...text.slice(start).matchAll(/"([^"]+)"/g)].map(([, quoted]) => quoted!);
  if (definition === '') return undefined;
  return { id, query: definition, document: [title, ...examples].join('; ') };
}

/** Writes WordNet as pairs, a random part of it held out. */
export async function writeWordNetPairs(
  out: string,
  options: { heldOut: number; seed: number },
): Promise<WrittenPairs> {
  const documents = await readWordNet();
  const pairs = documents.map(pairOf).filter((pair) => pair !== undefined);
  shuffle(pairs, seededRandom(options.seed));
  const heldOut = Math.min(options.heldOut, pairs.length);
  const file = createWriteStream(out);
  for (const [index, pair] of pairs.entries()) {
    const line: PairLine = { ...pair, split: index < heldOut ? HELD_OUT : 'train' };
    file.write(`${JSON.stringify(line)}\n`);
  }
  file.end();
  await finished(file);
  return { out, train: pairs.length - heldOut, heldOut };
}
