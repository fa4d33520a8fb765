import type { Soon } from './passages.ts';
import type { Tokens } from './tower.ts';

/**
 * How many tokens at the start of an input are the prompt's, as sentence-transformers counts them: those of the prompt
 * alone, without a special token at its end.
 */
export async function unpooledTokens(
  tokenizer: { encode(text: string): Soon<Tokens> },
  prompt: string,
): Promise<number> {
  if (prompt === '') return 0;
  const { ids } = await tokenizer.encode(prompt);
  const ending = (await tokenizer.encode('')).ids.at(-1);
  return ids.at(-1) === ending ? ids.length - 1 : ids.length;
}
