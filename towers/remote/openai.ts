import { TowerError } from '../errors.ts';
import { adviceOf } from './advice.ts';
import { faulty, readOpenAiAnswer } from './answer.ts';
import { askServer, type ServerFacts } from './facts.ts';
import type { HttpAnswer, Transport } from './transport.ts';
import type { Outcome, Wire } from './wire.ts';

/** Longest piece of a server's own words in our errors. */
const MOST_QUOTED = 300;

/** Statuses of a server that has too much to do. */
const BUSY = new Set([429, 503, 529]);

/** Statuses that another attempt may get past. */
const AWAY = new Set([408, 425, 500, 502, 504, 520, 521, 522, 523, 524]);

/** Statuses that may concern one input alone: 413 a batch that is too large, 424 a text that the model failed on. */
const REFUSED = new Set([400, 413, 422, 424]);

/** A text of any server's tokenizer. */
const ANY_TEXT = 'a';

/** Servers that count tokens, each with its own form of question and answer. */
const COUNTERS: readonly {
  body: (model: string, text: string) => unknown;
  read: (value: unknown) => number | undefined;
  /** Counts the special tokens around every text, where the server takes no empty one. */
  special?: (value: unknown) => number | undefined;
}[] = [
  // vLLM, SGLang
  {
    body: (model, prompt) => ({ model, prompt, add_special_tokens: true }),
    read: (value) => numberIn(value, 'count') ?? lengthIn(value, 'tokens'),
  },
  // text-embeddings-inference
  {
    body: (_, inputs) => ({ inputs, add_special_tokens: true }),
    read: (value) => firstList(value)?.length,
    special: (value) => firstList(value)?.filter(isSpecial).length,
  },
  // llama.cpp
  {
    body: (_, content) => ({ content, add_special: true, with_pieces: false }),
    read: (value) => lengthIn(value, 'tokens'),
  },
];

/** `/v1/embeddings` as OpenAI defined it, and as vLLM, TEI, Infinity, Ollama, llama.cpp's server and others offer it. */
export class OpenAiWire implements Wire {
  readonly where: string;
  readonly #transport: Transport;
  readonly #url: string;
  readonly #model: string;
  readonly #dimensions: number | undefined;
  /** Until the server says that it does not know it. */
  #base64 = true;
  #counter: (typeof COUNTERS)[number] | undefined;

  constructor(
    transport: Transport,
    { url, model, dimensions }: { url: string; model: string; dimensions?: number | undefined },
  ) {
    this.#transport = transport;
    this.#url = url;
    this.#model = model;
    this.#dimensions = dimensions;
    this.where = url;
  }

  async ask(
    texts: readonly string[],
    {
      signal,
      tokens,
      headers,
    }: { signal: AbortSignal; tokens: number; headers: Readonly<Record<string, string>> },
  ): Promise<Outcome> {
    const base64 = this.#base64;
    let answer: HttpAnswer;
    try {
      answer = await this.#transport.send({
        url: this.#url,
        headers,
        body: {
          model: this.#model,
          input: texts,
          ...(base64 && { encoding_format: 'base64' }),
          ...(this.#dimensions !== undefined && { dimensions: this.#dimensions }),
        },
        signal,
      });
    } catch (error) {
      signal.throwIfAborted();
      return { kind: 'away', failure: this.#unreachable(error) };
    }
    const { status, text } = answer;
    const adviceMs = adviceOf(answer.headers, tokens);
    if (status === 200) {
      try {
        return { answer: readOpenAiAnswer(text, texts.length, this.where), adviceMs };
      } catch (error) {
        if (error instanceof TowerError) return { kind: 'final', failure: error };
        throw error;
      }
    }
    if (base64 && (status === 400 || status === 422) && text.includes('encoding_format')) {
      this.#base64 = false;
      return this.ask(texts, { signal, tokens, headers });
    }
    return { ...this.#failure(status, text, texts.length), adviceMs };
  }

  async count(text: string, signal: AbortSignal): Promise<number | undefined> {
    const counters = this.#counter ? [this.#counter] : COUNTERS;
    const url = new URL('/tokenize', this.#url).href;
    for (const counter of counters) {
      const { body, read, special = read } = counter;
      const asked = text === '' && counter.special ? ANY_TEXT : text;
      const { status, text: answer } = await this.#transport.send({
        url,
        body: body(this.#model, asked),
        signal,
      });
      if (status !== 200) continue;
      const count = (text === '' ? special : read)(parsed(answer));
      if (count === undefined) continue;
      this.#counter = counter;
      return count;
    }
    return undefined;
  }

  describe(): Promise<ServerFacts> {
    return askServer(this.#transport, this.#url, this.#model);
  }

  close(): Promise<void> {
    return this.#transport.close();
  }

  #unreachable(error: unknown): TowerError {
    const code = codeOf(error);
    if (code === 'UND_ERR_RES_EXCEEDED_MAX_SIZE') {
      return faulty('form', this.where, 'answers with more bytes than any vectors take');
    }
    const why = code === '' ? String(error) : code;
    return new TowerError('ENDPOINT_UNAVAILABLE', `${this.where} does not answer (${why})`, { cause: error });
  }

  #failure(
    status: number,
    text: string,
    count: number,
  ): { kind: 'busy' | 'away' | 'final'; failure: TowerError } {
    const said = this.#transport.redact(messageIn(text)).slice(0, MOST_QUOTED);
    const metadata = { status: String(status), said };
    const quoted = said === '' ? '' : `: ${said}`;
    if (BUSY.has(status) || AWAY.has(status)) {
      const message = `${this.where} answers with status ${status}${quoted}`;
      const failure = new TowerError('ENDPOINT_UNAVAILABLE', message, { metadata });
      return { kind: BUSY.has(status) ? 'busy' : 'away', failure };
    }
    if (REFUSED.has(status)) {
      const what = count === 1 ? 'the text' : `a batch of ${count} texts`;
      const message = `${this.where} refuses ${what} (${status})${quoted}`;
      return { kind: 'final', failure: new TowerError('ENDPOINT_INPUT_REFUSED', message, { metadata }) };
    }
    const refuse = (message: string): { kind: 'final'; failure: TowerError } => ({
      kind: 'final',
      failure: new TowerError('ENDPOINT_REFUSED', message, { metadata: { status: String(status) } }),
    });
    // What the server says of a key may repeat parts of it.
    if (status === 401 || status === 403) {
      return refuse(
        `${this.where} refuses access (${status}); give its key in SCALINGNOTE_REMOTE_KEY_FILE or SCALINGNOTE_REMOTE_KEY`,
      );
    }
    if (status >= 300 && status < 400) {
      return refuse(`${this.where} redirects (${status}); give the address that it redirects to`);
    }
    if (status === 404) {
      return refuse(
        `${this.where} is not there, or has no model "${this.#model}" (404)${quoted}; check address and model`,
      );
    }
    return refuse(`${this.where} answers with status ${status}${quoted}`);
  }
}

/** What a server says in words: OpenAI's `error.message`, TEI's `error`, FastAPI's `detail`, else nothing of a page. */
function messageIn(text: string): string {
  const value = parsed(text);
  if (typeof value !== 'object' || value === null) return /^\s*</.test(text) ? '' : text.trim();
  const { error, detail, message } = value as Record<string, unknown>;
  for (const each of [error, detail, message]) {
    if (typeof each === 'string') return each;
    if (typeof each === 'object' && each !== null) {
      const inner = (each as Record<string, unknown>)['message'];
      return typeof inner === 'string' ? inner : JSON.stringify(each);
    }
  }
  return '';
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function numberIn(value: unknown, key: string): number | undefined {
  const found = (value as Record<string, unknown> | undefined)?.[key];
  return typeof found === 'number' ? found : undefined;
}

function lengthIn(value: unknown, key: string): number | undefined {
  const found = (value as Record<string, unknown> | undefined)?.[key];
  return Array.isArray(found) ? found.length : undefined;
}

function firstList(value: unknown): unknown[] | undefined {
  return Array.isArray(value) && Array.isArray(value[0]) ? value[0] : undefined;
}

function isSpecial(token: unknown): boolean {
  return (token as { special?: unknown } | null)?.special === true;
}

function codeOf(error: unknown): string {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if ('code' in cause && typeof cause.code === 'string') return cause.code;
  }
  return '';
}
