import type { PassageRules } from '../passages.ts';
import { TextTokenizer } from '../tokenizer.ts';
import { TINY_TOKENIZER } from './tiny-tower.ts';

/** Rules of a tower with a tokenizer of tests. */
export function rulesOf(
  { window = 12, overlap = 4, maxTokens = 64, prompt = '' } = {},
  file: object = TINY_TOKENIZER,
): PassageRules {
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
