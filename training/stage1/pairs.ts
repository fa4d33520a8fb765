import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { createGunzip } from 'node:zlib';
import * as z from 'zod';
import type { Soon } from '../../towers/passages.ts';
import { TrainingError } from '../errors.ts';
import { seededRandom, shuffle } from '../random.ts';

/** A query and a document that answers it. */
export interface Pair {
  query: string;
  document: string;
  /** Documents that are known not to answer it. */
  negatives: readonly string[];
}

/** Token ids of every pair's sides. */
export interface PairTokens {
  queries: readonly (readonly number[])[];
  documents: readonly (readonly number[])[];
  /** Of any document, such as a given negative. */
  document: (text: string) => Soon<readonly number[]>;
}

/** The contents of a file of pairs. */
export interface PairSet {
  train: Pair[];
  /** Pairs that are held out from training. */
  heldOut: Pair[];
  /** Pairs that were left out, by reason. */
  dropped: Dropped;
  /** sha256 of the file. */
  sha256: string;
}

/** Pairs that were left out, by reason. */
export interface Dropped {
  /** A side is empty. */
  empty: number;
  /** The document is its own query. */
  ownQuery: number;
  /** The pair occurs before in the file. */
  duplicate: number;
  /** Query or document is also that of a held-out pair. */
  heldOut: number;
}

const text = z.string();
const texts = z.union([text, z.array(text)]);

/**
 * One line. Besides our own names, those that Hugging Face data sets have for the same: sentence-transformers' triplets
 * and FlagEmbedding's lists.
 */
const Line = z.union([
  z.object({ query: text, document: text, negatives: z.array(text).default([]), split: text.optional() }),
  z
    .object({ query: text, positive: text, negative: texts.default([]), split: text.optional() })
    .transform(({ query, positive, negative, split }) => ({
      query,
      document: positive,
      negatives: [negative].flat(),
      split,
    })),
  z
    .object({ anchor: text, positive: text, negative: texts.default([]), split: text.optional() })
    .transform(({ anchor, positive, negative, split }) => ({
      query: anchor,
      document: positive,
      negatives: [negative].flat(),
      split,
    })),
  z
    .object({
      query: text,
      pos: z.array(text).min(1),
      neg: z.array(text).default([]),
      split: text.optional(),
    })
    .transform(({ query, pos, neg, split }) => ({ query, document: pos[0]!, negatives: neg, split })),
]);

/** The `split` of a pair that is held out from training. */
export const HELD_OUT = 'held-out';

/** Names that data sets have for such a split. */
const HELD_OUT_SPLITS = new Set([HELD_OUT, 'test', 'dev', 'validation']);

/** How much is held out where the file has no split: one pair in so many, up to a maximum. */
const HELD_OUT_SHARE = 20;
const MAX_HELD_OUT = 2_000;

/** In-batch negatives need another document. */
const MIN_PAIRS = 2;

/**
 * Reads pairs: JSON Lines, gzipped or not, of `{"query", "document", "negatives"?, "split"?}`. Texts are kept in memory.
 *
 * @param limits.train - takes no more than so many pairs to train on, chosen by the seed. @default all
 * @throws {TrainingError} `PAIRS_INVALID`, naming the file and the line
 */
export async function readPairs(
  file: string,
  seed: number,
  limits: { train?: number | undefined } = {},
): Promise<PairSet> {
  const dropped: Dropped = { empty: 0, ownQuery: 0, duplicate: 0, heldOut: 0 };
  const unsplit: Pair[] = [];
  const heldOut: Pair[] = [];
  const seen = new Set<string>();
  const hash = createHash('sha256');
  let number = 0;
  for await (const line of linesOf(file)) {
    number++;
    hash.update(line).update('\n');
    if (line.trim() === '') continue;
    const { split, ...raw } = parseLine(line, `${file}, line ${number}`);
    const pair = {
      query: clean(raw.query),
      document: clean(raw.document),
      negatives: raw.negatives.map(clean).filter((each) => each !== ''),
    };
    const [query, document] = [keyOf(pair.query), keyOf(pair.document)];
    const key = `${query}\n${document}`;
    if (query === '' || document === '') dropped.empty++;
    else if (query === document) dropped.ownQuery++;
    else if (seen.has(key)) dropped.duplicate++;
    else (split !== undefined && HELD_OUT_SPLITS.has(split) ? heldOut : unsplit).push(pair);
    seen.add(key);
  }
  const random = seededRandom(seed);
  let train = unsplit;
  if (heldOut.length === 0) {
    const order = shuffle([...unsplit], random);
    const count = Math.min(MAX_HELD_OUT, Math.floor(order.length / HELD_OUT_SHARE));
    heldOut.push(...order.slice(0, count));
    train = order.slice(count);
  }
  const forbidden = new Set(heldOut.flatMap(({ query, document }) => [keyOf(query), keyOf(document)]));
  const kept = train.filter(
    ({ query, document }) => !forbidden.has(keyOf(query)) && !forbidden.has(keyOf(document)),
  );
  dropped.heldOut = train.length - kept.length;
  const chosen =
    limits.train === undefined || limits.train >= kept.length
      ? kept
      : shuffle([...kept], random).slice(0, limits.train);
  requireSome(file, chosen.length, heldOut.length, dropped);
  return { train: chosen, heldOut, dropped, sha256: hash.digest('hex') };
}

function requireSome(file: string, train: number, heldOut: number, dropped: Dropped): void {
  if (train >= MIN_PAIRS && heldOut > 0) return;
  const reasons = describeDropped(dropped);
  const left = `to train on: ${train}, held out: ${heldOut}${reasons === '' ? '' : `; left out: ${reasons}`}`;
  throw new TrainingError(
    'PAIRS_INVALID',
    `${file} leaves too few pairs (${left}): a pair learns from the documents of others, so ${MIN_PAIRS} are needed at ` +
      'the least and one held out, and some thousands are wanted',
  );
}

/** For people; empty where nothing was left out. */
export function describeDropped(dropped: Dropped): string {
  const parts: [count: number, why: string][] = [
    [dropped.empty, 'with an empty side'],
    [dropped.ownQuery, 'whose document is their own query'],
    [dropped.duplicate, 'there twice'],
    [dropped.heldOut, 'with a text that is held out'],
  ];
  return parts
    .filter(([count]) => count > 0)
    .map(([count, why]) => `${count} ${why}`)
    .join(', ');
}

/** A key that is equal for texts that differ in case and white space alone. */
export function keyOf(text: string): string {
  return text.normalize('NFKC').toLowerCase().replaceAll(/\s+/g, ' ').trim();
}

/** The keys of the documents that answer each query, by the query's key. */
export function answersOf(pairs: readonly Pick<Pair, 'query' | 'document'>[]): Map<string, Set<string>> {
  const answers = new Map<string, Set<string>>();
  for (const pair of pairs) {
    const query = keyOf(pair.query);
    const known = answers.get(query);
    if (known === undefined) answers.set(query, new Set([keyOf(pair.document)]));
    else known.add(keyOf(pair.document));
  }
  return answers;
}

function clean(text: string): string {
  return text.toWellFormed().replaceAll(/\s+/g, ' ').trim();
}

function parseLine(line: string, where: string): z.output<typeof Line> {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    throw new TrainingError('PAIRS_INVALID', `${where}: no JSON: ${(error as Error).message}`, {
      cause: error,
    });
  }
  const parsed = Line.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new TrainingError(
    'PAIRS_INVALID',
    `${where}: no pair: give {"query": TEXT, "document": TEXT}, with "negatives": [TEXT, ...] and "split": "${HELD_OUT}" ` +
      'where there are',
  );
}

async function* linesOf(file: string): AsyncGenerator<string> {
  const found = await stat(file).catch(() => undefined);
  if (found?.isFile() !== true) throw new TrainingError('PAIRS_INVALID', `there is no file ${file}`);
  const bytes = createReadStream(file);
  const input = file.endsWith('.gz') ? bytes.pipe(createGunzip()) : bytes;
  try {
    yield* createInterface({ input, crlfDelay: Infinity });
  } catch (error) {
    throw new TrainingError('PAIRS_INVALID', `can't read ${file}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}
