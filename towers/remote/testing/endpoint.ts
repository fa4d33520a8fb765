import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { TextTokenizer } from '../../tokenizer/tokenizer.ts';
import { TINY_TOKENIZER } from '../../testing/tiny-tower.ts';

/** A request for vectors that came in. */
export interface SeenCall {
  path: string;
  headers: IncomingHttpHeaders;
  model: string;
  input: string[];
  encodingFormat: string | undefined;
  dimensions: number | undefined;
  /** From 1, among requests for vectors. */
  number: number;
}

/** What a request gets: the usual answer, changed; or something else entirely. */
export type Fault =
  | { status: number; headers?: Record<string, string>; body?: string }
  | { change: (answer: OpenAiAnswer) => unknown }
  | { hang: true }
  | { reset: true };

/** What OpenAI's API answers. */
export interface OpenAiAnswer {
  object: 'list';
  model: string;
  data: { object: 'embedding'; index: number; embedding: number[] | string | (number | null)[] }[];
  usage: { prompt_tokens: number; total_tokens: number };
}

/** How a stand-in behaves; may be changed at any time. */
export interface Behaviour {
  model: string;
  dimensions: number;
  /** Whether it gives base64 when it is asked for. */
  base64: boolean;
  /** Whether `dimensions` are known to it. */
  matryoshka: boolean;
  /** Whether it counts tokens on request, and in whose form. */
  tokenize: false | 'vllm' | 'tei';
  /** Paths for vectors. */
  path: string;
  /** Key that it asks for. */
  key: string | undefined;
  /** What it takes. */
  maxInputs: number;
  maxTokens: number;
  /** Where it cuts a text in silence. */
  cutAt: number;
  /** Time for a request. */
  delayMs: number;
  /** Moves every vector: another model behind the same name. */
  seed: number;
  fault: (call: SeenCall) => Fault | undefined;
}

/** A stand-in for a server of embeddings. It counts tokens as the tiny BERT of the tests does. */
export interface TestEndpoint {
  /** `http://127.0.0.1:PORT` */
  url: string;
  behaviour: Behaviour;
  seen: SeenCall[];
  /** Most requests at once so far. */
  busiest: number;
  /** Ends it, connections and all. */
  stop(): Promise<void>;
  /** Serves again, at the same port. */
  restart(): Promise<void>;
}

const counter = await TextTokenizer.load(JSON.stringify(TINY_TOKENIZER), {
  maxTokens: 1_000_000,
  truncation: 'right',
});

/** Ids of a text, special ones included. */
export async function idsOf(text: string): Promise<readonly number[]> {
  return (await counter.encode(text)).ids;
}

/** Tokens of a text, special ones included. */
export async function tokensOf(text: string): Promise<number> {
  return (await idsOf(text)).length;
}

/** Starts a stand-in. It ends with the test. */
export async function startEndpoint(
  context: Pick<TestContext, 'after'>,
  behaviour: Partial<Behaviour> = {},
): Promise<TestEndpoint> {
  const endpoint: TestEndpoint = {
    url: '',
    behaviour: {
      model: 'tiny',
      dimensions: 16,
      base64: true,
      matryoshka: false,
      tokenize: false,
      path: '/v1/embeddings',
      key: undefined,
      maxInputs: Number.POSITIVE_INFINITY,
      maxTokens: Number.POSITIVE_INFINITY,
      cutAt: Number.POSITIVE_INFINITY,
      delayMs: 0,
      seed: 0,
      fault: () => undefined,
      ...behaviour,
    },
    seen: [],
    busiest: 0,
    stop: async () => {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
    restart: () => listen(Number(new URL(endpoint.url).port)),
  };
  let busy = 0;
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const path = request.url ?? '';
      const text = Buffer.concat(chunks).toString();
      if (path === '/tokenize') {
        void answerTokenize(endpoint.behaviour, text, response);
        return;
      }
      const body = text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
      const call: SeenCall = {
        path,
        headers: request.headers,
        model: String(body['model']),
        input: [body['input'] ?? []].flat().map(String),
        encodingFormat: body['encoding_format'] as string | undefined,
        dimensions: body['dimensions'] as number | undefined,
        number: endpoint.seen.length + 1,
      };
      if (path !== endpoint.behaviour.path) {
        send(response, 404, { detail: 'Not Found' });
        return;
      }
      endpoint.seen.push(call);
      busy++;
      endpoint.busiest = Math.max(endpoint.busiest, busy);
      response.on('close', () => busy--);
      setTimeout(() => void answerVectors(endpoint.behaviour, call, response), endpoint.behaviour.delayMs);
    });
  });
  const listen = (port: number): Promise<void> =>
    new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, '127.0.0.1', () => resolve());
    });
  await listen(0);
  endpoint.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return endpoint;
}

async function answerTokenize(behaviour: Behaviour, text: string, response: ServerResponse): Promise<void> {
  const { prompt, inputs } = JSON.parse(text) as { prompt?: string; inputs?: string };
  if (behaviour.tokenize === false) send(response, 404, { detail: 'Not Found' });
  else if (behaviour.tokenize === 'tei') {
    if (inputs === undefined) send(response, 422, { error: 'missing field `inputs`' });
    else if (inputs === '')
      send(response, 400, { error: '`inputs` cannot be empty', error_type: 'Validation' });
    else send(response, 200, [await teiTokens(inputs)]);
  } else if (prompt === undefined) send(response, 422, { detail: 'prompt is missing' });
  else send(response, 200, { count: await tokensOf(prompt), max_model_len: behaviour.maxTokens });
}

/** Tokens as text-embeddings-inference lists them. */
async function teiTokens(text: string): Promise<{ id: number; special: boolean }[]> {
  const ids = await idsOf(text);
  return ids.map((id, index) => ({ id, special: index === 0 || index === ids.length - 1 }));
}

async function answerVectors(behaviour: Behaviour, call: SeenCall, response: ServerResponse): Promise<void> {
  const { key, maxInputs, maxTokens, matryoshka, cutAt } = behaviour;
  const fault = behaviour.fault(call);
  if (fault && 'hang' in fault) return;
  if (fault && 'reset' in fault) {
    response.destroy();
    return;
  }
  if (fault && 'status' in fault) {
    response.writeHead(fault.status, { 'content-type': 'text/html', ...fault.headers }).end(fault.body ?? '');
    return;
  }
  const refuse = (status: number, message: string): void => send(response, status, { error: { message } });
  if (key !== undefined && call.headers.authorization !== `Bearer ${key}`) {
    refuse(401, `Incorrect API key provided: ${call.headers.authorization ?? ''}`);
    return;
  }
  if (call.input.length > maxInputs) {
    refuse(422, `batch size ${call.input.length} > maximum allowed batch size ${maxInputs}`);
    return;
  }
  const inputs = await Promise.all(call.input.map(idsOf));
  const sum = inputs.reduce((total, { length }) => total + Math.min(length, cutAt), 0);
  if (sum > maxTokens) {
    refuse(400, `this model's maximum context length is ${maxTokens} tokens, and ${sum} were requested`);
    return;
  }
  if (call.dimensions !== undefined && !matryoshka) {
    refuse(400, 'the model does not support matryoshka representation, changing output dimensions');
    return;
  }
  const base64 = behaviour.base64 && call.encodingFormat === 'base64';
  const data = inputs.map((ids, index) => {
    const vector = vectorOf(ids.slice(0, cutAt), behaviour).subarray(
      0,
      call.dimensions ?? behaviour.dimensions,
    );
    const bytes = Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength);
    const embedding = base64 ? bytes.toString('base64') : [...vector];
    return { object: 'embedding' as const, index, embedding };
  });
  const usage = { prompt_tokens: sum, total_tokens: sum };
  const answer: OpenAiAnswer = { object: 'list', model: behaviour.model, data, usage };
  send(response, 200, fault ? fault.change(answer) : answer);
}

function send(response: ServerResponse, status: number, value: unknown): void {
  // NaN as Python writes it, which is no JSON: null is what is left of it in other servers.
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

/** A vector that depends on the words of a text, up to where the server reads: equal texts, equal vectors. */
export function vectorOf(
  ids: readonly number[],
  { dimensions, seed }: Pick<Behaviour, 'dimensions' | 'seed'>,
): Float32Array {
  const vector = new Float32Array(dimensions);
  ids.forEach((id, place) => {
    for (let index = 0; index < dimensions; index++) {
      vector[index]! += Math.sin((id + 1) * (index + 1) * 12.9898 + seed + place * 0.001);
    }
  });
  return vector;
}
