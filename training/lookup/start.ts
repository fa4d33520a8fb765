import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Tokens, Tower } from '../../towers/tower.ts';
import { normalizeRows } from '../../towers/session/pooling.ts';
import { encodeCached, type CacheSettings, type VectorFile } from '../vectors.ts';
import { countTokens, sharedFloats } from './counts.ts';
import { solveLookup } from './solve.ts';

/**
 * How strongly a token is held to the teacher's vector of it alone: as strongly as some dozen texts of a dozen tokens
 * pull at it. Chosen on held-out cosine.
 */
const RIDGE = 1;

/** Texts that the closed form is fitted to: all of them are in memory. */
const MAX_SOLVED = 60_000;

/** Texts that a student is fitted to, as far as its start needs them. */
export interface FittedTexts {
  readonly ids: readonly (readonly number[])[];
  readonly fitted: readonly number[];
  readonly vectors: VectorFile;
}

/**
 * Token vectors to start from: the closed-form fit to the teacher's directions, from its vectors of the single tokens.
 *
 * @returns tokens × dimensions
 */
export async function startVectors(
  teacher: Tower,
  data: FittedTexts,
  options: CacheSettings & { threads?: number } = {},
): Promise<Float32Array> {
  const { dimensions } = teacher.manifest;
  const prior = await priorVectors(teacher, options);
  const rows = data.fitted.slice(0, MAX_SOLVED);
  const targets = sharedFloats(rows.length * dimensions);
  targets.set(data.vectors.read(rows));
  normalizeRows(targets, dimensions);
  return solveLookup(
    { texts: countTokens(rows.map((row) => data.ids[row]!)), targets, dimensions, prior, ridge: RIDGE },
    options.threads === undefined ? {} : { threads: options.threads },
  );
}

/** The teacher's unit vectors of single tokens, without what all have in common. In memory that threads share. */
async function priorVectors(teacher: Tower, settings: CacheSettings): Promise<Float32Array> {
  const { prompt, queryPrompt = prompt, dimensions } = teacher.manifest;
  const single = await encodeCached(teacher, await singleTokens(teacher, queryPrompt), settings);
  const prior = sharedFloats(single.length);
  prior.set(single);
  normalizeRows(prior, dimensions);
  removeMean(prior, dimensions);
  return prior;
}

/** Each token of the vocabulary alone, between the tokens that the tokenizer puts around every text. */
async function singleTokens(teacher: Tower, prompt: string): Promise<Tokens[]> {
  const empty = teacher.tokenize('', { prompt }).ids;
  const one = teacher.tokenize('a', { prompt }).ids;
  let before = 0;
  while (before < empty.length && empty[before] === one[before]) before++;
  const head = empty.slice(0, before);
  const tail = empty.slice(before);
  const size = await vocabularySize(teacher.directory);
  return Array.from({ length: size }, (_, id) => ({ ids: [...head, id, ...tail], truncated: false }));
}

/** One more than the highest token id of a Hugging Face `tokenizer.json`. */
async function vocabularySize(directory: string): Promise<number> {
  const { model, added_tokens: added = [] } = JSON.parse(
    await readFile(join(directory, 'tokenizer.json'), 'utf8'),
  ) as { model: { vocab: Record<string, number> | unknown[] }; added_tokens?: { id: number }[] };
  const regular = Array.isArray(model.vocab) ? model.vocab.keys() : Object.values(model.vocab);
  let highest = -1;
  for (const id of regular) highest = Math.max(highest, id);
  for (const { id } of added) highest = Math.max(highest, id);
  return highest + 1;
}

/**
 * What all single-token vectors have in common would be added once for each token of a text; the tokens that are in
 * every text carry it better.
 */
function removeMean(vectors: Float32Array, dimensions: number): void {
  const count = vectors.length / dimensions;
  const mean = new Float64Array(dimensions);
  for (const [index, value] of vectors.entries()) mean[index % dimensions]! += value / count;
  for (let index = 0; index < vectors.length; index++) vectors[index]! -= mean[index % dimensions]!;
}
