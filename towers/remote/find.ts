import { TowerError } from '../errors.ts';
import type { RemoteLocation } from '../reference.ts';
import { type Answer, faulty } from './answer.ts';
import { Endpoint } from './endpoint.ts';
import type { RemoteFacts } from './make.ts';
import { Spending } from './spending.ts';
import { wireOf } from './wires.ts';

/** An endpoint that gives vectors, and what these showed. */
export interface Found {
  endpoint: Endpoint;
  spending: Spending;
  url: string;
  dimensions: number;
  /** The `dimensions` to ask for. */
  asks: number | undefined;
  /** Length of the server's vectors, where they are cut here. */
  cutFrom: number | undefined;
  answersAs: string | undefined;
  unitLength: boolean;
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

/**
 * Finds out where an endpoint is and what its vectors are: five texts together, then each alone.
 *
 * @throws {TowerError} as {@link Endpoint.embed} does
 */
export async function findEndpoint(location: RemoteLocation, facts: RemoteFacts): Promise<Found> {
  const spending = new Spending(facts.price);
  const { protocol, model } = location;
  const urls = protocol === 'tei' ? [location.url] : candidates(location.url);
  for (const [index, url] of urls.entries()) {
    const open = (dimensions: number | undefined): Endpoint =>
      new Endpoint({
        wire: wireOf({ protocol, url, model, dimensions, keyEnv: facts.keyEnv }),
        model,
        spending,
        timeoutMs: facts.timeoutMs,
        maxConcurrency: facts.maxConcurrency,
      });
    try {
      const found = { ...(await ask(open, facts.dimensions)), spending, url };
      return protocol === 'tei' ? await requireModel(found, location) : found;
    } catch (error) {
      const missing = error instanceof TowerError && error.metadata['status'] === '404';
      if (!missing || index === urls.length - 1) throw error;
    }
  }
  throw new TowerError('ENDPOINT_REFUSED', `there is no endpoint at ${location.url}`);
}

/** A server that has one model is not told which: the reference must name that one. @throws {TowerError} `ENDPOINT_REFUSED` */
async function requireModel(found: Found, { url, model }: RemoteLocation): Promise<Found> {
  const { answersAs, endpoint } = found;
  if (answersAs === undefined || answersAs === model) return found;
  await endpoint.close();
  throw new TowerError(
    'ENDPOINT_REFUSED',
    `${url} runs "${answersAs}", not "${model}"; say tei:${url}#${answersAs}`,
  );
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
): Promise<Omit<Found, 'spending' | 'url'>> {
  try {
    return await judge(open(wanted), wanted, wanted);
  } catch (error) {
    if (wanted === undefined || !isInputRefused(error)) throw error;
    // It does not know the parameter, or not for this model.
    return judge(open(undefined), wanted, undefined);
  }
}

/** Looks at what an endpoint gives, and closes it where that is nothing. */
async function judge(
  endpoint: Endpoint,
  wanted: number | undefined,
  asked: number | undefined,
): Promise<Omit<Found, 'spending' | 'url'>> {
  try {
    return await judged(endpoint, wanted, asked);
  } catch (error) {
    await endpoint.close();
    throw error;
  }
}

async function judged(
  endpoint: Endpoint,
  wanted: number | undefined,
  asked: number | undefined,
): Promise<Omit<Found, 'spending' | 'url'>> {
  const together = await endpoint.embed(PROBE_TEXTS, PROBE_TOKENS * PROBE_TEXTS.length);
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
  if (together.vectors.some(({ length }) => length !== given)) {
    throw faulty('dimensions', where, 'gives vectors of different lengths in one answer');
  }
  for (const vector of together.vectors) requireDirection(vector, where);
  await compareAlone(endpoint, together);
  return {
    endpoint,
    dimensions,
    // It may have ignored the parameter.
    asks: given > dimensions ? undefined : asked,
    cutFrom: given > dimensions ? given : undefined,
    answersAs: together.model,
    unitLength: together.vectors.every((vector) => Math.abs(Math.sqrt(dot(vector, vector)) - 1) < 1e-3),
  };
}

function requireDirection(vector: Float32Array, where: string): void {
  const squares = dot(vector, vector);
  if (!Number.isFinite(squares))
    throw faulty('not_finite', where, 'gives vectors that are no finite numbers');
  if (squares === 0) throw faulty('zero', where, 'gives vectors of zeros');
}

/** Each text alone must be nearest to itself among all: otherwise vectors come in another order, or mean nothing. */
async function compareAlone(endpoint: Endpoint, together: Answer): Promise<void> {
  for (const [index, text] of PROBE_TEXTS.entries()) {
    const alone = (await endpoint.embed([text], PROBE_TOKENS)).vectors[0]!;
    const cosines = together.vectors.map((vector) => cosine(vector, alone));
    const best = cosines.indexOf(Math.max(...cosines));
    if (best !== index) {
      throw faulty('order', endpoint.wire.where, `gives text ${index} of a batch the vector of text ${best}`);
    }
  }
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
