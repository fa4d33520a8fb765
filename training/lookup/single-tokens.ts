import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { normalizeRows } from '../../towers/session/pooling.ts';
import type { Tokens, Tower } from '../../towers/tower.ts';
import { type StudentTokenizer, tokenTexts } from '../distill/tokenizer.ts';
import { encodeCached, type CacheSettings } from '../vectors.ts';

/**
 * Token vectors to start from: the teacher's unit vectors of single tokens, without what all have in common.
 *
 * @returns tokens × dimensions
 */
export async function singleTokenVectors(
  teacher: Tower,
  tokenizer: StudentTokenizer,
  settings: CacheSettings,
): Promise<Float32Array> {
  const { prompt, queryPrompt = prompt, dimensions, files } = teacher.manifest;
  // What runs elsewhere takes texts, whoever's tokens they are.
  const byIds = tokenizer.own && files['model.onnx'] !== undefined;
  const vectors = byIds
    ? await encodeCached(teacher, await singleTokens(teacher, queryPrompt), settings)
    : await textVectors(teacher, await tokenTexts(tokenizer.tower.directory), queryPrompt, settings);
  normalizeRows(vectors, dimensions);
  removeMean(vectors, dimensions);
  return vectors;
}

/** The teacher's vectors of texts, each different one read once; zeros for those that are empty. */
async function textVectors(
  teacher: Tower,
  texts: readonly string[],
  prompt: string,
  settings: CacheSettings,
): Promise<Float32Array> {
  const { dimensions } = teacher.manifest;
  const different = [...new Set(texts)].filter((text) => text !== '');
  const places = new Map(different.map((text, place) => [text, place]));
  const found = await encodeCached(teacher, await teacher.tokenizeAll(different, { prompt }), settings);
  const vectors = new Float32Array(texts.length * dimensions);
  for (const [row, text] of texts.entries()) {
    const at = places.get(text);
    if (at !== undefined) {
      vectors.set(found.subarray(at * dimensions, (at + 1) * dimensions), row * dimensions);
    }
  }
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
export async function vocabularySize(directory: string): Promise<number> {
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
  const rows: Float32Array[] = [];
  for (let start = 0; start < vectors.length; start += dimensions) {
    const row = vectors.subarray(start, start + dimensions);
    if (row.some((value) => value !== 0)) rows.push(row);
  }
  const mean = new Float64Array(dimensions);
  for (const row of rows) for (let i = 0; i < dimensions; i++) mean[i]! += row[i]! / rows.length;
  for (const row of rows) for (let i = 0; i < dimensions; i++) row[i]! -= mean[i]!;
}
