import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { normalizeRows } from '../../towers/session/pooling.ts';
import type { Tokens, Tower } from '../../towers/tower.ts';
import { encodeCached, type CacheSettings } from '../vectors.ts';

/**
 * Token vectors to start from: the teacher's unit vectors of single tokens, without what all have in common.
 *
 * @returns tokens × dimensions
 */
export async function singleTokenVectors(teacher: Tower, settings: CacheSettings): Promise<Float32Array> {
  const { prompt, queryPrompt = prompt, dimensions } = teacher.manifest;
  const vectors = await encodeCached(teacher, await singleTokens(teacher, queryPrompt), settings);
  normalizeRows(vectors, dimensions);
  removeMean(vectors, dimensions);
  return vectors;
}

/** Each token of the vocabulary alone, between the tokens that the tokenizer puts around every text. */
async function singleTokens(teacher: Tower, prompt: string): Promise<Tokens[]> {
  const { ids: empty } = await teacher.tokenize('', { prompt });
  const { ids: one } = await teacher.tokenize('a', { prompt });
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
 * Removes what all vectors have in common: it would be added once for each token of a text. The tokens that are in every
 * text carry it better.
 */
function removeMean(vectors: Float32Array, dimensions: number): void {
  const count = vectors.length / dimensions;
  const mean = new Float64Array(dimensions);
  for (const [index, value] of vectors.entries()) mean[index % dimensions]! += value / count;
  for (let index = 0; index < vectors.length; index++) vectors[index]! -= mean[index % dimensions]!;
}
