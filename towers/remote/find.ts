import { TowerError } from '../errors.ts';
import type { RemoteLocation } from '../reference.ts';
import { type Answer, faulty } from './answer.ts';
import { Endpoint } from './endpoint.ts';
import { readKey } from './key.ts';
import { OpenAiWire } from './openai.ts';
import type { RemoteFacts } from './make.ts';
import { Spending } from './spending.ts';
import { Transport } from './transport.ts';

/** An endpoint that gives vectors, and what these showed. */
export interface Found {
  endpoint: Endpoint;
  transport: Transport;
  spending: Spending;
  url: string;
  dimensions: number;
  /** The `dimensions` to ask for. */
  asks: number | undefined;
  /** Length of the server's vectors, where they are cut here. */
  cutFrom: number | undefined;
  answersAs: string | undefined;
  unitLength: boolean;
  batchEffect: number;
}

/** Texts that no model takes for each other, of different length. */
export const PROBE_TEXTS = [
  'The cat sleeps on the warm stove.',
  'Quarterly revenue rose by 4.7 percent after the merger.',
  'How do I reset my password?',
  'Neutron stars are what is left of massive stars that collapsed.',
  'def add(a, b):\n    return a + b',
] as const;

/** Tokens of these, reckoned generously. */
const PROBE_TOKENS = 64;

/** A vector that shares a request with others may differ from the same text alone by this much: half precision does. */
const MOST_BATCH_EFFECT = 0.05;

/**
 * Finds out where an endpoint is and what its vectors are: five texts together, then each alone.
 *
 * @throws {TowerError} as {@link Endpoint.embed} does
 */
export async function findEndpoint(location: RemoteLocation, facts: RemoteFacts): Promise<Found> {
  const key = readKey(facts.keyEnv);
  const spending = new Spending(facts.price);
  const urls = candidates(location.url);
  for (const [index, url] of urls.entries()) {
    const transport = new Transport(url, key);
    const open = (dimensions: number | undefined): Endpoint =>
      new Endpoint({
        wire: new OpenAiWire(transport, { url, model: location.model, dimensions }),
        model: location.model,
        spending,
        timeoutMs: facts.timeoutMs,
        maxConcurrency: facts.maxConcurrency,
      });
    try {
      const asked = await ask(open, facts.dimensions);
      return { ...asked, transport, spending, url };
    } catch (error) {
      await transport.close();
      const missing = error instanceof TowerError && error.metadata['status'] === '404';
      if (!missing || index === urls.length - 1) throw error;
    }
  }
  throw new TowerError('ENDPOINT_REFUSED', `there is no endpoint at ${location.url}`);
}

/** Where vectors may be had, under what was given. */
function candidates(url: string): string[] {
  const { pathname } = new URL(url);
  if (pathname.endsWith('/embeddings')) return [url];
  if (pathname === '/' || pathname === '') return [`${url}/v1/embeddings`, `${url}/embeddings`];
  return [`${url}/embeddings`];
}

async function ask(
  open: (dimensions: number | undefined) => Endpoint,
  wanted: number | undefined,
): Promise<Omit<Found, 'transport' | 'spending' | 'url'>> {
  let endpoint = open(wanted);
  let asks = wanted;
  let together: Answer;
  try {
    together = await endpoint.embed(PROBE_TEXTS, PROBE_TOKENS * PROBE_TEXTS.length);
  } catch (error) {
    if (wanted === undefined || !isInputRefused(error)) throw error;
    // It does not know the parameter, or not for this model.
    asks = undefined;
    endpoint = open(asks);
    together = await endpoint.embed(PROBE_TEXTS, PROBE_TOKENS * PROBE_TEXTS.length);
  }
  const { where } = endpoint.wire;
  const given = together.vectors[0]!.length;
  const dimensions = wanted ?? given;
  if (given < dimensions) {
    throw faulty(
      'dimensions',
      where,
      `gives vectors of ${given} components, fewer than the ${dimensions} asked for`,
    );
  }
  // It ignored the parameter.
  if (given > dimensions) asks = undefined;
  if (together.vectors.some(({ length }) => length !== given)) {
    throw faulty('dimensions', where, 'gives vectors of different lengths in one answer');
  }
  for (const vector of together.vectors) requireDirection(vector, where);
  const batchEffect = await compareAlone(endpoint, together);
  return {
    endpoint,
    dimensions,
    asks,
    cutFrom: given > dimensions ? given : undefined,
    answersAs: together.model,
    unitLength: together.vectors.every((vector) => Math.abs(Math.sqrt(dot(vector, vector)) - 1) < 1e-3),
    batchEffect,
  };
}

function requireDirection(vector: Float32Array, where: string): void {
  const squares = dot(vector, vector);
  if (!Number.isFinite(squares))
    throw faulty('not_finite', where, 'gives vectors that are no finite numbers');
  if (squares === 0) throw faulty('zero', where, 'gives vectors of zeros');
}

/** Each text alone must be nearest to itself among all: otherwise vectors come in another order, or mean nothing. */
async function compareAlone(endpoint: Endpoint, together: Answer): Promise<number> {
  let effect = 0;
  for (const [index, text] of PROBE_TEXTS.entries()) {
    const alone = (await endpoint.embed([text], PROBE_TOKENS)).vectors[0]!;
    const cosines = together.vectors.map((vector) => cosine(vector, alone));
    const best = cosines.indexOf(Math.max(...cosines));
    if (best !== index) {
      throw faulty('order', endpoint.wire.where, `gives text ${index} of a batch the vector of text ${best}`);
    }
    effect = Math.max(effect, 1 - cosines[index]!);
  }
  if (effect > MOST_BATCH_EFFECT) {
    throw faulty(
      'order',
      endpoint.wire.where,
      `gives a text another vector in a batch than alone (cosine ${(1 - effect).toFixed(3)})`,
    );
  }
  return Math.max(0, effect);
}

function isInputRefused(error: unknown): boolean {
  return error instanceof TowerError && error.reason === 'ENDPOINT_INPUT_REFUSED';
}

function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let index = 0; index < a.length; index++) sum += a[index]! * b[index]!;
  return sum;
}

function cosine(a: Float32Array, b: Float32Array): number {
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}
