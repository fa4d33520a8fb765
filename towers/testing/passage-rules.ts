import type { PassageRules } from '../passages.ts';
import { TextTokenizer } from '../tokenizer/tokenizer.ts';
import { TINY_TOKENIZER } from './tiny-tower.ts';

/** Rules of a tower with a tokenizer of tests. */
export async function rulesOf(
  { window = 12, overlap = 4, maxTokens = 64, prompt = '' } = {},
  file: object = TINY_TOKENIZER,
): Promise<PassageRules> {
  const tokenizer = await TextTokenizer.load(JSON.stringify(file), { maxTokens, truncation: 'right' });
  const specials = maxTokens - tokenizer.room;
  return {
    window,
    overlap,
    count: (text) => tokenizer.count(text),
    encode: (text) => tokenizer.encode(prompt + text),
    limit: specials + (await tokenizer.count(prompt)) + window,
  };
}

/** All items of a generator. */
export async function allOf<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}
