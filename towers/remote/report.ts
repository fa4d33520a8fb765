import type { RemoteReport } from './make.ts';

/** What was found at an endpoint and what was assumed, a line each. */
export function describeRemote(report: RemoteReport): string[] {
  const { url, model, dimensions, maxTokens, tokenizer, assumed, tokensSpent, batchEffect } = report;
  return [
    `"${model}" at ${url}: ${dimensions} dimensions, up to ${maxTokens} tokens (${tokenizer}); a vector moves by ` +
      `${batchEffect.toExponential(0)} with its neighbours; asking took ${tokensSpent} tokens`,
    ...assumed.map((line) => `assumed: ${line}`),
  ];
}
