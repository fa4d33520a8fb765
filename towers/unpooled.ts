import type { Soon } from './passages.ts';
import type { Tokens } from './tower.ts';

/**
 * Says of an input how many tokens at its start are the prompt's, as sentence-transformers counts them: those of the
 * prompt alone, without a special token at its end.
 */
export async function withUnpooled(
  tokens: Soon<Tokens>,
  tokenizer: { encode(text: string): Soon<Tokens> },
  prompt: string,
): Promise<Tokens> {
  if (prompt === '') return { ...(await tokens), unpooled: 0 };
  const { ids } = await tokenizer.encode(prompt);
  const ending = (await tokenizer.encode('')).ids.at(-1);
  return { ...(await tokens), unpooled: ids.at(-1) === ending ? ids.length - 1 : ids.length };
}
