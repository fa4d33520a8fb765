import type { EncodeResponse__Output } from '../proto/generated/scalingnote/v1/EncodeResponse.ts';
import type { MeasureFamiliarityResponse__Output } from '../proto/generated/scalingnote/v1/MeasureFamiliarityResponse.ts';
import type { QueryServiceClient } from '../proto/generated/scalingnote/v1/QueryService.ts';
import type { QueryServiceDescribeResponse__Output } from '../proto/generated/scalingnote/v1/QueryServiceDescribeResponse.ts';
import type { SearchResponse__Output } from '../proto/generated/scalingnote/v1/SearchResponse.ts';
import { v1 } from '../proto/load.ts';
import {
  type CallBounds,
  channelOptions,
  type ClientOptions,
  type Resolved,
  resolve,
  unary,
} from './call.ts';
import { fromServiceInfo, fromTower, type ServiceInfo, type Tower } from './describe.ts';
import { checkHealth, type Health } from './health.ts';
import { fromSearchResponse, type SearchRequest, type SearchResult, toWireSearch } from './search.ts';
import { SearchStream } from './search-stream.ts';
import { metadataOf } from './tracing-interceptor.ts';
import { wireText } from './values.ts';

/** How well a query tower knows a collection. */
export interface CollectionFamiliarity {
  /** Share of the tokens that the tower's training hardly saw; absent where the tower does not say what it saw. */
  unknownTokenShare?: number;
  /** How many were looked at. */
  documents: number;
  tokens: number;
  queryTower: Tower;
}

/** A client of the query service. It holds one connection; close it when done. */
export class QueryClient {
  readonly #client: QueryServiceClient;
  readonly #options: Resolved;

  /** @param options - `address` is `127.0.0.1:7402` by default */
  constructor(options: ClientOptions = {}) {
    this.#options = resolve(options, '127.0.0.1:7402');
    this.#client = new v1.QueryService(
      this.#options.address,
      this.#options.credentials,
      channelOptions(this.#options.address),
    );
  }

  /** Text in, ranked documents out. @throws {ScalingnoteError} */
  async search(request: SearchRequest, bounds?: CallBounds): Promise<SearchResult> {
    const message = toWireSearch(request);
    return fromSearchResponse(
      await unary<SearchResponse__Output>(
        (metadata, options, callback) => this.#client.search(message, metadata, options, callback),
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
    const message = { texts: texts.map((text, index) => wireText(text, `texts[${index}]`)) };
    const response = await unary<EncodeResponse__Output>(
      (metadata, options, callback) => this.#client.encode(message, metadata, options, callback),
      this.#options,
      bounds,
    );
    return {
      embeddings: response.embeddings.map(({ values }) => values),
      queryTower: fromTower(response.queryTower),
    };
  }

  /** How well the query tower knows a collection, by a sample of its documents. @throws {ScalingnoteError} */
  async measureFamiliarity(
    scope: { collection: string; tenant?: string },
    bounds?: CallBounds,
  ): Promise<CollectionFamiliarity> {
    const { collection, tenant = '' } = scope;
    const response = await unary<MeasureFamiliarityResponse__Output>(
      (metadata, options, callback) =>
        this.#client.measureFamiliarity({ collection, tenant }, metadata, options, callback),
      this.#options,
      bounds,
    );
    const { unknownTokenShare, documents, tokens, queryTower } = response;
    return {
      documents,
      tokens: Number(tokens),
      queryTower: fromTower(queryTower),
      ...(unknownTokenShare === undefined ? {} : { unknownTokenShare }),
    };
  }

  /**
   * Search as you type, over one stream. Close it when the box is gone.
   *
   * @param options - `traceparent`: W3C trace context of the stream itself; each query may have its own
   */
  searchStream({ traceparent }: { traceparent?: string } = {}): SearchStream {
    return new SearchStream(() => this.#client.searchStream(metadataOf(traceparent)));
  }

  /** What the service is and which tower it runs. @throws {ScalingnoteError} */
  async describe(bounds?: CallBounds): Promise<ServiceInfo> {
    const response = await unary<QueryServiceDescribeResponse__Output>(
      (metadata, options, callback) => this.#client.describe({}, metadata, options, callback),
      this.#options,
      bounds,
    );
    return fromServiceInfo(response.service);
  }

  /** What the server says of its own health. @throws {ScalingnoteError} where it can't be asked */
  health(bounds?: CallBounds): Promise<Health> {
    return checkHealth(this.#client, this.#options, bounds);
  }

  /** Gives the connection back. */
  close(): void {
    this.#client.close();
  }
}
