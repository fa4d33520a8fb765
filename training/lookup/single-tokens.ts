import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { normalizeRows } from '../../towers/session/pooling.ts';
import type { Tokens, Tower } from '../../towers/tower.ts';
import { type StudentTokenizer, tokenTexts } from '../distill/tokenizer.ts';
import { encodeCached, type CacheSettings } from '../vectors.ts';

/**
 * Tokens that the teacher reads at the most, each alone. Of a larger vocabulary, as multilingual models have it, those that
 * are most frequent in the texts; what the others mean is not known, and no text asks for it.
 */
export const MAX_READ_TOKENS = 65_536;

/**
 * Token vectors to start from: the teacher's unit vectors of single tokens, without what all have in common; zeros for those
 * that are not read.
 *
 * @param counts - how often each token is in the texts, by id
 * @returns tokens × dimensions
 */
export async function singleTokenVectors(
  teacher: Tower,
  tokenizer: StudentTokenizer,
  counts: Uint32Array,
  settings: CacheSettings,
  most = MAX_READ_TOKENS,
): Promise<Float32Array> {
  const { prompt, queryPrompt = prompt, dimensions, files } = teacher.manifest;
  // What runs elsewhere takes texts, whoever's tokens they are.
  const byIds = tokenizer.own && files['model.onnx'] !== undefined;
  const { directory } = byIds ? teacher : tokenizer.tower;
  const read = mostFrequent(await vocabularySize(directory), counts, most);
  const vectors = byIds
    ? await idVectors(teacher, read, queryPrompt, settings)
    : await textVectors(teacher, await tokenTexts(directory), read, queryPrompt, settings);
  normalizeRows(vectors, dimensions);
  removeMean(vectors, dimensions);
  return vectors;
}

/** Whether each token is read: all of them, or the most frequent. */
function mostFrequent(size: number, counts: Uint32Array, most: number): Uint8Array {
  const read = new Uint8Array(size);
  if (size <= most) return read.fill(1);
  const order = Array.from({ length: size }, (_, id) => id).sort(
    (a, b) => (counts[b] ?? 0) - (counts[a] ?? 0) || a - b,
  );
  for (const id of order.slice(0, most)) read[id] = 1;
  return read;
}

/** The teacher's vectors of what tokens stand for, each different text read once; zeros for those that are empty. */
async function textVectors(
  teacher: Tower,
  texts: readonly string[],
  read: Uint8Array,
  prompt: string,
  settings: CacheSettings,
): Promise<Float32Array> {
  const { dimensions } = teacher.manifest;
  const different = [...new Set(texts.filter((_, id) => read[id] === 1))].filter((text) => text !== '');
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

/** Vectors of tokens alone, each between the tokens that the tokenizer puts around every text. */
async function idVectors(
  teacher: Tower,
  read: Uint8Array,
  prompt: string,
  settings: CacheSettings,
): Promise<Float32Array> {
  const { ids: empty } = await teacher.tokenize('', { prompt });
  const { ids: one } = await teacher.tokenize('a', { prompt });
  let before = 0;
  while (before < empty.length && empty[before] === one[before]) before++;
  const head = empty.slice(0, before);
  const tail = empty.slice(before);
  const wanted: number[] = [];
  for (const [id, isRead] of read.entries()) if (isRead === 1) wanted.push(id);
  const tokens: Tokens[] = wanted.map((id) => ({ ids: [...head, id, ...tail], truncated: false }));
  const found = await encodeCached(teacher, tokens, settings);
  if (wanted.length === read.length) return found;
  const { dimensions } = teacher.manifest;
  const vectors = new Float32Array(read.length * dimensions);
  for (const [place, id] of wanted.entries()) {
    vectors.set(found.subarray(place * dimensions, (place + 1) * dimensions), id * dimensions);
  }
  return vectors;
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
