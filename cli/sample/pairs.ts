import { mkdir, rename, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { seededRandom, shuffle } from '../../training/random.ts';
import { HELD_OUT } from '../../training/stage1/pairs.ts';
import { CliError } from '../output/print.ts';
import { readWordNet, type SampleDocument } from './wordnet.ts';

/** A line of a file of pairs. */
interface PairLine {
  id: string;
  query: string;
  document: string;
  split: 'train' | typeof HELD_OUT;
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

/**
 * Writes WordNet as pairs, a random part of it held out. The file is there once it is whole.
 *
 * @returns how many pairs were written
 * @throws {CliError} where it can't be written
 */
export async function writeWordNetPairs(
  out: string,
  options: { heldOut: number; seed: number },
): Promise<{ out: string; train: number; heldOut: number }> {
  if ((await stat(out).catch(() => undefined))?.isDirectory() === true) {
    throw new CliError(`${out} is a folder; give a file to write pairs to`);
  }
  const documents = await readWordNet();
  const pairs = documents.map(pairOf).filter((pair) => pair !== undefined);
  shuffle(pairs, seededRandom(options.seed));
  const heldOut = Math.min(options.heldOut, pairs.length);
  const lines = pairs.map((pair, index) => {
    const line: PairLine = { ...pair, split: index < heldOut ? HELD_OUT : 'train' };
    return `${JSON.stringify(line)}\n`;
  });
  const part = `${out}.part`;
  try {
    await mkdir(dirname(out), { recursive: true });
    await writeFile(part, lines);
    await rename(part, out);
  } catch (error) {
    throw new CliError(`can't write pairs to ${out}: ${(error as Error).message}`);
  }
  return { out, train: pairs.length - heldOut, heldOut };
}
