import type { ClientDuplexStream } from '@grpc/grpc-js';
import type { SearchRequest as WireSearchRequest } from '../proto/generated/scalingnote/v1/SearchRequest.ts';
import type { SearchResponse__Output } from '../proto/generated/scalingnote/v1/SearchResponse.ts';
import type { SearchStreamRequest } from '../proto/generated/scalingnote/v1/SearchStreamRequest.ts';
import type { SearchStreamResponse__Output } from '../proto/generated/scalingnote/v1/SearchStreamResponse.ts';
import type { QueryServiceClient } from '../proto/generated/scalingnote/v1/QueryService.ts';
import { v1 } from '../proto/load.ts';
import { unpackStatus } from '../proto/status.ts';
import { fromStruct, type JsonObject } from '../proto/struct.ts';
import { type CallBounds, CHANNEL_OPTIONS, type ClientOptions, type Resolved, resolve, unary } from './call.ts';
import { fromServiceInfo, fromTower, type ServiceInfo, type Tower } from './describe.ts';
import { ScalingnoteError, toScalingnoteError } from './errors.ts';
import { type Filter, toWireFilter } from './filter.ts';

/** A search. */
export interface SearchRequest {
  /** Logical name of the collection. */
  collection: string;
  /** What to search for. */
  query: string;
  /** @default '' */
  tenant?: string;
  /** How many documents, 1 to 1000. @default 10 */
  limit?: number;
  /** How many of the best documents to skip. @default 0 */
  offset?: number;
  filter?: Filter;
  /** Lowest score to return. */
  scoreThreshold?: number;
  /** Meaning, wording, or both. @default 'dense' */
  mode?: 'dense' | 'sparse' | 'hybrid';
  /** @default false */
  omitText?: boolean;
  /** @default false */
  omitMetadata?: boolean;
}

/** One document that was found. */
export interface Hit {
  id: string;
  score: number;
  title: string;
  /** Index of its best passage. */
  passage: number;
  /** Text of its best passage. */
  text: string;
  metadata: JsonObject;
  version: number;
}

/** Where the time of a search went on the server, in milliseconds. */
export interface SearchTimings {
  tokenizeMs: number;
  queueMs: number;
  encodeMs: number;
  searchMs: number;
  totalMs: number;
  /** Whether the query's vector came from the cache. */
  cached: boolean;
}

/** Ranked documents. */
export interface SearchResult {
  hits: Hit[];
  timings: SearchTimings;
  queryTower: Tower;
}

/** A client of the query service. It holds one connection; close it when done. */
export class QueryClient {
  readonly #client: QueryServiceClient;
  readonly #options: Resolved;

  /** @param options - `address` is `127.0.0.1:7402` by default */
  constructor(options: ClientOptions = {}) {
    this.#options = resolve(options, '127.0.0.1:7402');
    this.#client = new v1.QueryService(this.#options.address, this.#options.credentials, CHANNEL_OPTIONS);
  }

  /** Text in, ranked documents out. @throws {ScalingnoteError} */
  async search(request: SearchRequest, bounds?: CallBounds): Promise<SearchResult> {
    const message = toWireSearch(request);
    return fromSearchResponse(
      await unary<SearchResponse__Output>(
        (options, callback) => this.#client.search(message, options, callback as never),
        this.#options,
        bounds,
      ),
    );
  }

  /** Vectors of 1 to 256 texts, in order. @throws {ScalingnoteError} */
  async encode(
    texts: readonly string[],
    bounds?: CallBounds,
  ): Promise<{ embeddings: number[][]; queryTower: Tower }> {
    const response = await unary<{ embeddings: { values: number[] }[]; queryTower: never }>(
      (options, callback) => this.#client.encode({ texts: [...texts] }, options, callback as never),
      this.#options,
      bounds,
    );
    return {
      embeddings: response.embeddings.map(({ values }) => values),
      queryTower: fromTower(response.queryTower),
    };
  }

  /** A stream for search as you type. Close it when the box is gone. */
  searchStream(): SearchStream {
    return new SearchStream(this.#client.searchStream());
  }

  /** What the service is and which tower it runs. @throws {ScalingnoteError} */
  async describe(bounds?: CallBounds): Promise<ServiceInfo> {
    const response = await unary<{ service: never }>(
      (options, callback) => this.#client.describe({}, options, callback as never),
      this.#options,
      bounds,
    );
    return fromServiceInfo(response.service);
  }

  /** Gives the connection back. */
  close(): void {
    this.#client.close();
  }
}

/** Search as you type: a newer query supersedes the older one. */
export class SearchStream {
  readonly #call: ClientDuplexStream<SearchStreamRequest, SearchStreamResponse__Output>;
  readonly #waiting = new Map<number, PromiseWithResolvers<SearchResult | undefined>>();
  #sequence = 0;
  #failure: unknown;

  constructor(call: ClientDuplexStream<SearchStreamRequest, SearchStreamResponse__Output>) {
    this.#call = call;
    call.on('data', (response: SearchStreamResponse__Output) => this.#answer(response));
    call.on('error', (error: Error) => this.#end(toScalingnoteError(error)));
    call.on('end', () => this.#end(new Error('the search stream has ended')));
  }

  /**
   * Searches; `undefined` where a newer query came first.
   *
   * @throws {ScalingnoteError} why this query failed; the stream goes on unless it is the stream that failed
   */
  async search(request: SearchRequest): Promise<SearchResult | undefined> {
    if (this.#failure !== undefined) throw this.#failure;
    const sequence = ++this.#sequence;
    const answer = withResolvers<SearchResult | undefined>();
    this.#waiting.set(sequence, answer);
    this.#call.write({ sequence, search: toWireSearch(request) });
    return answer.promise;
  }

  /** Ends the stream; what is waiting is still answered. */
  close(): void {
    this.#call.end();
  }

  #answer(response: SearchStreamResponse__Output): void {
    const sequence = Number(response.sequence);
    const waiting = this.#waiting.get(sequence);
    this.#waiting.delete(sequence);
    if (response.result) waiting?.resolve(fromSearchResponse(response.result));
    else if (response.error) waiting?.reject(new ScalingnoteError(unpackStatus(response.error)));
    else waiting?.resolve(undefined);
  }

  #end(failure: unknown): void {
    this.#failure ??= failure;
    for (const waiting of this.#waiting.values()) waiting.reject(this.#failure);
    this.#waiting.clear();
  }
}

interface PromiseWithResolvers<T> {
  promise: Promise<T>;
  resolve: (value: T) => void;
  reject: (error: unknown) => void;
}

// Promise.withResolvers is not in Node 20.
function withResolvers<T>(): PromiseWithResolvers<T> {
  let resolvers: Omit<PromiseWithResolvers<T>, 'promise'> | undefined;
  const promise = new Promise<T>((resolvePromise, reject) => {
    resolvers = { resolve: resolvePromise, reject };
  });
  return { promise, ...resolvers! };
}

const MODES = { dense: 'SEARCH_MODE_DENSE', sparse: 'SEARCH_MODE_SPARSE', hybrid: 'SEARCH_MODE_HYBRID' } as const;

function toWireSearch(request: SearchRequest): WireSearchRequest {
  const { filter, mode, ...rest } = request;
  return {
    ...rest,
    ...(filter === undefined ? {} : { filter: toWireFilter(filter) }),
    ...(mode === undefined ? {} : { mode: MODES[mode] }),
  };
}

function fromSearchResponse(response: SearchResponse__Output): SearchResult {
  return {
    hits: response.hits.map((hit) => ({
      id: hit.documentId,
      score: hit.score,
      title: hit.title,
      passage: hit.passage,
      text: hit.text,
      metadata: fromStruct(hit.metadata),
      version: Number(hit.version),
    })),
    timings: {
      tokenizeMs: response.timings?.tokenizeMs ?? 0,
      queueMs: response.timings?.queueMs ?? 0,
      encodeMs: response.timings?.encodeMs ?? 0,
      searchMs: response.timings?.searchMs ?? 0,
      totalMs: response.timings?.totalMs ?? 0,
      cached: response.timings?.cached ?? false,
    },
    queryTower: fromTower(response.queryTower),
  };
}
