import type { PassageRules } from '../passages.ts';
import type { Tokens } from '../tower.ts';
import { TextTokenizer } from '../tokenizer.ts';
import { TINY_TOKENIZER } from './tiny-tower.ts';

/** Rules that answer at once. */
export interface SyncRules extends PassageRules {
  count: (text: string) => number;
  encode: (text: string) => Tokens;
}

/** Rules of a tower with a tokenizer of tests. */
export function rulesOf(
  { window = 12, overlap = 4, maxTokens = 64, prompt = '' } = {},
  file: object = TINY_TOKENIZER,
): SyncRules {
  const tokenizer = new TextTokenizer(file, {}, { maxTokens, truncation: 'right' });
  const specials = maxTokens - tokenizer.room;
  return {
    window,
    overlap,
    count: (text) => tokenizer.ids(text).length,
    encode: (text) => tokenizer.encode(prompt + text),
    limit: specials + tokenizer.ids(prompt).length + window,
  };
}

/** All items of a generator. */
export async function allOf<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}
