import { TowerError } from '../errors.ts';
import type { TextCounter } from './counting.ts';
import { type Found, PROBE_TEXTS } from './find.ts';
import type { Wire } from './wire.ts';

/** What is long and means something, however much of it there is. */
const FILLER =
  'The river carries cold water from the mountains to the sea while the wind moves over the plain. ';

/** The two ends of a long text: nothing in common, so that who reads them gives two vectors. */
const ENDS = [
  'Photosynthesis turns light into sugar in every green leaf of the forest.',
  'Inflation, bond yields and interest rates worried the central bankers again.',
] as const;

/** Vectors of texts that differ at the end only, and no more than this, were made without the end. */
const SAME_VECTOR = 1e-7;

/** How long counting a text may take. */
const COUNT_TIMEOUT_MS = 10_000;

/**
 * Compares our counts with the server's: texts one by one, by `/tokenize` and by what it says it has read.
 *
 * @param wire asked to count, where it can
 * @returns whether what the server says it has read can be relied on
 * @throws {TowerError} `TOWER_MODEL_UNSUPPORTED` for the tokenizer of another model
 */
export async function compareCounts(
  found: Found,
  counter: TextCounter,
  wire: Wire | undefined,
): Promise<boolean> {
  const ours: number[] = [];
  const read: (number | undefined)[] = [];
  for (const text of PROBE_TEXTS) {
    const { ids } = await counter.encode(text);
    ours.push(ids.length);
    if (wire !== undefined) {
      const theirs = await wire.count(text, AbortSignal.timeout(COUNT_TIMEOUT_MS));
      if (theirs !== undefined && theirs !== ids.length)
        throw otherTokenizer(text, ids.length, theirs, wire.where);
    }
    read.push((await found.endpoint.embed([text], ids.length)).tokens);
  }
  if (read.some((tokens) => tokens === undefined)) return false;
  const differences = read.map((tokens, index) => tokens! - ours[index]!);
  if (differences.every((difference) => difference === differences[0])) return true;
  // Some servers count characters, or words, or nothing; more than tokens, or none at all.
  const characters = PROBE_TEXTS.every((text, index) => read[index]! >= text.length - 2 || read[index] === 0);
  if (characters || wire !== undefined) return false;
  const [index] = differences
    .map((difference, place) => [place, Math.abs(difference)] as const)
    .sort((a, b) => b[1] - a[1])[0]!;
  throw otherTokenizer(PROBE_TEXTS[index]!, ours[index]!, read[index]!, found.endpoint.wire.where);
}

function otherTokenizer(text: string, ours: number, theirs: number, where: string): TowerError {
  return new TowerError(
    'TOWER_MODEL_UNSUPPORTED',
    `the tokenizer is of another model: ${JSON.stringify(text)} has ${ours} tokens by it, and ${theirs} at ${where}`,
  );
}

/**
 * Makes sure that the server reads texts as long as the tower sends them: of two that differ at the end only, the vectors
 * must differ.
 *
 * @throws {TowerError} `TOWER_MODEL_UNSUPPORTED`
 */
export async function requireReading({ endpoint }: Found, counter: TextCounter): Promise<void> {
  const most = counter.room;
  const end = Math.max(await counter.count(ENDS[0]), await counter.count(ENDS[1]));
  if (end * 2 > most) return;
  const each = await counter.count(FILLER);
  const filler = FILLER.repeat(Math.floor((most - end) / Math.max(1, each)));
  const inputs = await Promise.all(ENDS.map((text) => counter.encode(filler + text)));
  if (inputs.some(({ truncated }) => truncated)) return;
  const vectors: Float32Array[] = [];
  for (const { text, ids } of inputs) {
    try {
      vectors.push((await endpoint.embed([text!], ids.length)).vectors[0]!);
    } catch (error) {
      if (!(error instanceof TowerError && error.reason === 'ENDPOINT_INPUT_REFUSED')) throw error;
      throw new TowerError(
        'TOWER_MODEL_UNSUPPORTED',
        `a text of ${ids.length} tokens is too long: ${error.message}; give a smaller --max-tokens`,
        { cause: error },
      );
    }
  }
  const apart = vectors[0]!.reduce((sum, value, index) => sum + (value - vectors[1]![index]!) ** 2, 0);
  if (apart > SAME_VECTOR ** 2 * vectors[0]!.length) return;
  throw new TowerError(
    'TOWER_MODEL_UNSUPPORTED',
    `${endpoint.wire.where} does not read a text of ${inputs[0]!.ids.length} tokens to its end: it cuts in silence; give ` +
      'a smaller --max-tokens',
    { metadata: { fault: 'truncated' } },
  );
}
