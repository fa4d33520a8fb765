import type { Tokens } from './tower.ts';

/**
 * How many tokens at the start of an input are the prompt's, as sentence-transformers counts them: those of the prompt
 * alone, without a special token at its end.
 */
export function unpooledTokens(tokenizer: { encode(text: string): Tokens }, prompt: string): number {
  if (prompt === '') return 0;
  const { ids } = tokenizer.encode(prompt);
  const ending = tokenizer.encode('').ids.at(-1);
  return ids.at(-1) === ending ? ids.length - 1 : ids.length;
}
