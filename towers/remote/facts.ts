import type { Transport } from './transport.ts';

/** What a server says of its model, beside vectors. */
export interface ServerFacts {
  maxTokens?: number | undefined;
  maxBatchInputs?: number | undefined;
  revision?: string | undefined;
}

const TIMEOUT_MS = 5_000;

/** Asks a server what its model is: `/models` of vLLM, `/info` of text-embeddings-inference. Most say nothing. */
export async function askServer(transport: Transport, url: string, model: string): Promise<ServerFacts> {
  const get = async (address: string): Promise<Record<string, unknown>> => {
    try {
      const answer = await transport.send({ url: address, signal: AbortSignal.timeout(TIMEOUT_MS) });
      return answer.status === 200 ? objectOf(JSON.parse(answer.text)) : {};
    } catch {
      // Whoever offers vectors need not offer this.
      return {};
    }
  };
  const info = await get(new URL('/info', url).href);
  const { data } = await get(url.replace(/\/embeddings$/, '/models'));
  const entry = Array.isArray(data) ? data.map(objectOf).find(({ id }) => id === model) : undefined;
  return {
    maxTokens: positive(info['max_input_length']) ?? positive(entry?.['max_model_len']),
    maxBatchInputs: positive(info['max_client_batch_size']),
    revision: typeof info['model_sha'] === 'string' ? info['model_sha'] : undefined,
  };
}

function objectOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

/** A whole number above zero, or nothing. */
export function positive(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value > 0 ? value : undefined;
}
