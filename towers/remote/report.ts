import { shown } from '../golden/golden.ts';
import type { RemoteReport } from './make.ts';

/** What was found at an endpoint and what was assumed, a line each. */
export function describeRemote(report: RemoteReport): string[] {
  const { url, model, dimensions, maxTokens, tokenizer, assumed, tokensSpent, moved } = report;
  return [
    `"${model}" at ${url}: ${dimensions} dimensions, up to ${maxTokens} tokens (${tokenizer}); a vector moves by ` +
      `${shown(moved)} with its neighbours; asking took ${tokensSpent} tokens`,
    ...assumed.map((line) => `assumed: ${line}`),
  ];
}
