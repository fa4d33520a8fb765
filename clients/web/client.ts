/** A search; the same names and meanings as in the contract. */
export interface SearchRequest {
  collection: string;
  query: string;
  tenant?: string;
  limit?: number;
  offset?: number;
  /** As the contract has it, in JSON: `{ must: [{ equals: { field: 'metadata.colour', value: 'red' } }] }`. */
  filter?: object;
  scoreThreshold?: number;
  mode?: 'dense' | 'sparse' | 'hybrid';
  omitText?: boolean;
  omitMetadata?: boolean;
  atLeastAsFreshAs?: string;
  explain?: boolean;
  explainDocumentId?: string;
  snippetLength?: number;
  withDocumentText?: boolean;
}

/** One document that was found, as JSON of the contract. What has its default value is not there. */
export interface Hit {
  documentId: string;
  score?: number;
  title?: string;
  passage?: number;
  text?: string;
  metadata?: Record<string, unknown>;
  version?: string;
}

/** What bounds a call. */
export interface CallOptions {
  /** @default 10_000 */
  timeoutMs?: number;
  signal?: AbortSignal;
}

/** What a call failed with. Its message names the field and the fix. */
export class WebError extends Error {
  override readonly name = 'WebError';
  /** Of Connect: `invalid_argument`, `unavailable`, ... */
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }

  /** Whether the same call may go through later. */
  get retryable(): boolean {
    return this.code === 'unavailable';
  }
}

const REQUEST_KEYS: readonly (keyof SearchRequest)[] = [
  'collection',
  'query',
  'tenant',
  'limit',
  'offset',
  'filter',
  'scoreThreshold',
  'mode',
  'omitText',
  'omitMetadata',
  'atLeastAsFreshAs',
  'explain',
  'explainDocumentId',
  'snippetLength',
  'withDocumentText',
];

const DEADLINE_MS = 10_000;
/** Of a timer in browsers: what is longer would fire at once. */
const MAX_DEADLINE_MS = 2 ** 31 - 1;
const FIRST_WAIT_MS = 100;
const LONGEST_WAIT_MS = 1_000;

/** A client of the query service for pages and workers: JSON over `fetch`. */
export class WebClient {
  readonly #base: string;
  #newest: AbortController | undefined;

  /** @param base - address of the query service, for example `https://search.example.org` */
  constructor(base: string) {
    try {
      this.#base = new URL(base).href.replace(/\/$/, '');
    } catch (error) {
      throw invalid(
        'base',
        `is ${JSON.stringify(base)}; give the address of the service with https://`,
        error,
      );
    }
  }

  /** Text in, ranked documents out. @throws {WebError} */
  async search(request: SearchRequest, options?: CallOptions): Promise<{ hits: Hit[] }> {
    return this.#call('Search', wire(request, REQUEST_KEYS), options);
  }

  /**
   * A vector in, ranked documents out: of the query, the vector leaves this device, and its text does not.
   *
   * @throws {WebError}
   */
  async searchByVector(
    request: { search: Omit<SearchRequest, 'query'>; space: string; vector: ArrayLike<number> },
    options?: CallOptions,
  ): Promise<{ hits: Hit[] }> {
    known(request, ['search', 'space', 'vector'], 'field');
    const search = wire(
      request.search,
      REQUEST_KEYS.filter((key) => key !== 'query'),
    );
    const { space, vector } = request;
    return this.#call('SearchByVector', { search, space, vector: Array.from(vector) }, options);
  }

  /** {@link search} as one types: a newer call ends the older one, which rejects with `canceled`. */
  async searchAsYouType(request: SearchRequest, options: CallOptions = {}): Promise<{ hits: Hit[] }> {
    this.#newest?.abort(new WebError('canceled', 'a newer query came'));
    const own = (this.#newest = new AbortController());
    const signal = options.signal ? AbortSignal.any([options.signal, own.signal]) : own.signal;
    return this.search(request, { ...options, signal });
  }

  async #call(method: string, request: object, options: CallOptions = {}): Promise<{ hits: Hit[] }> {
    known(options, ['timeoutMs', 'signal'], 'option');
    const { timeoutMs = DEADLINE_MS, signal } = options;
    if (typeof timeoutMs !== 'number' || !(timeoutMs > 0 && timeoutMs <= MAX_DEADLINE_MS)) {
      throw invalid(
        'timeoutMs',
        `is ${String(timeoutMs)}; give milliseconds, more than 0 and at most 2^31 - 1`,
      );
    }
    const deadline = AbortSignal.timeout(timeoutMs);
    const either = signal === undefined ? deadline : AbortSignal.any([signal, deadline]);
    const ends = performance.now() + timeoutMs;
    for (let wait = FIRST_WAIT_MS; ; wait = Math.min(2 * wait, LONGEST_WAIT_MS)) {
      try {
        return await this.#attempt(
          method,
          request,
          either,
          Math.max(1, Math.floor(ends - performance.now())),
        );
      } catch (error) {
        if (deadline.aborted)
          throw new WebError('deadline_exceeded', `no answer in ${timeoutMs} ms`, { cause: error });
        if (signal?.aborted) {
          const { reason } = signal as { reason: unknown };
          throw reason instanceof WebError
            ? reason
            : new WebError('canceled', 'the caller gave up', { cause: reason });
        }
        const pause = Math.random() * wait;
        if (!(error instanceof WebError && error.retryable) || performance.now() + pause >= ends) throw error;
        await new Promise((resolve) => setTimeout(resolve, pause));
      }
    }
  }

  async #attempt(method: string, request: object, signal: AbortSignal, ms: number): Promise<{ hits: Hit[] }> {
    let response: Response;
    let text: string;
    try {
      response = await fetch(`${this.#base}/scalingnote.v1.QueryService/${method}`, {
        method: 'POST',
        headers: {
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
    let body: { hits?: Hit[]; code?: string; message?: string };
    try {
      body = JSON.parse(text) as typeof body;
    } catch (error) {
      const code = response.status >= 502 ? 'unavailable' : 'unknown';
      throw new WebError(code, `${this.#base} answers ${response.status} without JSON`, { cause: error });
    }
    if (!response.ok) throw new WebError(body.code ?? 'unknown', body.message ?? `status ${response.status}`);
    return { ...body, hits: body.hits ?? [] };
  }
}

function wire(request: object, keys: readonly string[]): object {
  known(request, keys, 'field');
  const { mode, ...rest } = request as { mode?: unknown };
  if (mode === undefined) return rest;
  if (mode !== 'dense' && mode !== 'sparse' && mode !== 'hybrid') {
    throw invalid('mode', `is ${JSON.stringify(mode)}; give dense, sparse or hybrid`);
  }
  return { ...rest, mode: `SEARCH_MODE_${mode.toUpperCase()}` };
}

function known(value: object, keys: readonly string[], what: string): void {
  if (typeof value !== 'object' || value === null) throw invalid(`the ${what}s`, 'must be an object');
  for (const key of Object.keys(value)) {
    if (!keys.includes(key))
      throw invalid(key, `is no ${what} that is known here; known are ${keys.join(', ')}`);
  }
}

function invalid(field: string, why: string, cause?: unknown): WebError {
  return new WebError('invalid_argument', `${field}: ${why}`, { cause });
}
