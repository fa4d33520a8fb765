import { authorizing, type Credential } from './credential.ts';
import type { SearchMode, SearchRequest as WireSearchRequest, SearchResponse } from './contract.ts';
import { codeOf, connectError, invalidArgument, WebError } from './errors.ts';
import { described, entriesOf, toWire } from './request.ts';

/**
 * A search, with the names and meanings of the contract. A condition of a filter may be in short:
 * `{ field: 'metadata.colour', equals: 'red' }`.
 */
export interface SearchRequest extends Omit<WireSearchRequest, 'mode' | 'filter'> {
  query: string;
  mode?: 'dense' | 'sparse' | 'hybrid' | SearchMode;
  filter?: object;
}

/** A search whose query was encoded on this device. */
export interface SearchByVectorRequest {
  /** Without what needs the text. */
  search: Omit<
    SearchRequest,
    | 'query'
    | 'mode'
    | 'explain'
    | 'explainDocumentId'
    | 'snippetLength'
    | 'fusion'
    | 'rerank'
    | 'prefix'
    | 'language'
  >;
  /** Fingerprint of the vector's space. */
  space: string;
  vector: ArrayLike<number>;
}

/** The answer, as JSON of the contract: what has its default value is not there, but for the hits. */
export type SearchResult = SearchResponse & Required<Pick<SearchResponse, 'hits'>>;

/** Who a client is. */
export interface ClientOptions {
  /** @default none */
  credential?: Credential;
}

/** What bounds a call. */
export interface CallOptions {
  /** @default 10_000 */
  timeoutMs?: number;
  signal?: AbortSignal;
}

const DEADLINE_MS = 10_000;
/** Of a timer in browsers: what is longer would fire at once. */
const MAX_DEADLINE_MS = 2 ** 31 - 1;
const FIRST_WAIT_MS = 100;
const LONGEST_WAIT_MS = 1_000;
/** Retries that a client has at the start and at most, and how many each call adds: an outage is not multiplied. */
const MAX_RETRIES = 20;
const RETRIES_PER_CALL = 0.5;

/** A client of the query service for pages and workers: JSON over `fetch`. */
export class WebClient {
  readonly #base: string;
  readonly #authorization: () => Promise<Record<string, string>>;
  #newest: AbortController | undefined;
  #retries = MAX_RETRIES;

  /**
   * @param base - address of the query service, for example `https://search.example.org`
   * @throws {WebError} for one that is none, and for a credential that can't go there
   */
  constructor(base: string, options: ClientOptions = {}) {
    entriesOf(options, '', ['credential'], 'option');
    this.#base = serviceAddress(base, 'base');
    this.#authorization = authorizing(options.credential, this.#base);
  }

  /** Text in, ranked documents out. @throws {WebError} */
  async search(request: SearchRequest, options?: CallOptions): Promise<SearchResult> {
    const wire = toWire('SearchRequest', request);
    if (wire['query'] === undefined) throw invalidArgument('query', 'is missing; give a text to search for');
    return this.#hits('Search', wire, options);
  }

  /**
   * A vector in, ranked documents out: of the query, the vector leaves this device, and its text does not.
   *
   * @throws {WebError}
   */
  async searchByVector(request: SearchByVectorRequest, options?: CallOptions): Promise<SearchResult> {
    const wire = toWire('SearchByVectorRequest', request);
    for (const key of ['search', 'space', 'vector']) {
      if (wire[key] === undefined) throw invalidArgument(key, 'is missing');
    }
    // The text must not leave this device by a slip.
    if (Object.hasOwn(wire['search'] as object, 'query')) {
      throw invalidArgument('search.query', 'is given beside a vector; leave it out, or call search');
    }
    return this.#hits('SearchByVector', wire, options);
  }

  /** {@link search} as one types: a newer call ends the older one, which rejects with `canceled`. */
  async searchAsYouType(request: SearchRequest, options: CallOptions = {}): Promise<SearchResult> {
    this.#newest?.abort(new WebError('canceled', 'a newer query came'));
    const own = (this.#newest = new AbortController());
    const signal = options.signal ? AbortSignal.any([options.signal, own.signal]) : own.signal;
    return this.search(request, { ...options, signal });
  }

  async #hits(method: string, request: object, options: CallOptions | undefined): Promise<SearchResult> {
    const answer: SearchResponse = await this.call(`scalingnote.v1.QueryService/${method}`, request, options);
    return { ...answer, hits: answer.hits ?? [] };
  }

  /** Calls a method by its path, JSON out and in. @throws {WebError} */
  protected async call(path: string, request: object, options: CallOptions = {}): Promise<object> {
    entriesOf(options, '', ['timeoutMs', 'signal'], 'option');
    const { timeoutMs = DEADLINE_MS, signal } = options;
    if (!(typeof timeoutMs === 'number' && timeoutMs > 0 && timeoutMs <= MAX_DEADLINE_MS)) {
      throw invalidArgument(
        'timeoutMs',
        `is ${described(timeoutMs)}; give milliseconds, more than 0 and at most 2^31 - 1`,
      );
    }
    if (signal !== undefined && !(signal instanceof AbortSignal)) {
      throw invalidArgument('signal', `is ${described(signal)}; give an AbortSignal`);
    }
    const deadline = AbortSignal.timeout(timeoutMs);
    const either = signal === undefined ? deadline : AbortSignal.any([signal, deadline]);
    const ends = performance.now() + timeoutMs;
    this.#retries = Math.min(MAX_RETRIES, this.#retries + RETRIES_PER_CALL);
    for (let wait = FIRST_WAIT_MS; ; wait = Math.min(2 * wait, LONGEST_WAIT_MS)) {
      try {
        const left = Math.max(1, Math.floor(ends - performance.now()));
        return await this.#attempt(path, request, either, left);
      } catch (error) {
        stopped(error, either, deadline, timeoutMs);
        const pause = ((error as WebError).retryDelayMs ?? 0) + Math.random() * wait;
        const mayRetry = error instanceof WebError && error.retryable && this.#retries >= 1;
        if (!mayRetry || performance.now() + pause >= ends) throw error;
        this.#retries--;
        await sleep(pause, either);
        stopped(error, either, deadline, timeoutMs);
      }
    }
  }

  async #attempt(path: string, request: object, signal: AbortSignal, ms: number): Promise<object> {
    let response: Response;
    let text: string;
    const authorization = await this.#authorization();
    try {
      response = await fetch(`${this.#base}/${path}`, {
        method: 'POST',
        headers: {
          ...authorization,
          'content-type': 'application/json',
          'connect-protocol-version': '1',
          'connect-timeout-ms': String(ms),
        },
        body: JSON.stringify(request),
        signal,
      });
      text = await response.text();
    } catch (error) {
      const message = `${this.#base} can't be reached, or does not admit this origin: ${String(error)}`;
      throw new WebError('unavailable', message, { cause: error });
    }
    let body: unknown;
    try {
      body = JSON.parse(text);
    } catch (error) {
      throw new WebError(codeOf(response.status), `${this.#base} answers ${response.status} without JSON`, {
        cause: error,
      });
    }
    const answer = typeof body === 'object' && body !== null ? body : {};
    if (!response.ok) throw connectError(answer, response.status);
    return answer;
  }
}

/** The address of a service without a slash at its end. @throws {WebError} for one that is none */
export function serviceAddress(address: unknown, field: string): string {
  const url = typeof address === 'string' && URL.canParse(address) ? new URL(address) : undefined;
  if (url !== undefined && /^https?:$/.test(url.protocol) && url.search === '' && url.hash === '') {
    return url.href.replace(/\/+$/, '');
  }
  throw invalidArgument(
    field,
    `is ${described(address)}; give the address of the service, with https:// and without "?" and "#"`,
  );
}

/** @throws {WebError} where the caller gave up, or the time is over */
function stopped(cause: unknown, either: AbortSignal, deadline: AbortSignal, timeoutMs: number): void {
  if (!either.aborted) return;
  const { reason } = either as { reason: unknown };
  if (reason === deadline.reason) {
    throw new WebError('deadline_exceeded', `no answer in ${timeoutMs} ms`, { cause });
  }
  throw reason instanceof WebError
    ? reason
    : new WebError('canceled', 'the caller gave up', { cause: reason });
}

/** Waits, or until the signal is aborted. */
function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    }
    signal.addEventListener('abort', done);
  });
}
