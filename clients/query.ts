import type { EncodeRequest } from '../proto/generated/scalingnote/v1/EncodeRequest.ts';
import type { MeasureFamiliarityRequest } from '../proto/generated/scalingnote/v1/MeasureFamiliarityRequest.ts';
import type { QueryServiceDefinition } from '../proto/generated/scalingnote/v1/QueryService.ts';
import type { SearchByVectorRequest as WireSearchByVector } from '../proto/generated/scalingnote/v1/SearchByVectorRequest.ts';
import { v1 } from '../proto/load.ts';
import type { SearchResult, Tower } from './answers.ts';
import type { CallBounds, ClientOptions } from './call.ts';
import { fromSearchResponse, fromTower } from './from-wire.ts';
import { checkNamed, type SearchRequest, toWireSearch } from './search-request.ts';
import { SearchStream } from './search-stream.ts';
import { ServiceClient, type StreamBounds } from './service-client.ts';
import { toWire } from './strict/message.ts';
import { checkOptions } from './strict/options.ts';
import { STREAM_BOUNDS } from './strict/tables.ts';

/** A search whose query the caller has encoded. */
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
  vector: readonly number[];
}

/** How well a query tower knows a collection. */
export interface CollectionFamiliarity {
  /** Which one was looked at. */
  collection: string;
  /** Share of the tokens that the tower's training hardly saw; absent where the tower does not say what it saw. */
  unknownTokenShare?: number;
  /** How many were looked at. */
  documents: number;
  tokens: number;
  queryTower: Tower;
}

/** A client of the query service. It holds a connection to each server; close it when done. */
export class QueryClient extends ServiceClient<QueryServiceDefinition> {
  /**
   * @param options - `address` is `127.0.0.1:7402` by default
   * @throws {ScalingnoteError} `INVALID_ARGUMENT` for an option that can't be followed
   */
  constructor(options?: ClientOptions) {
    super(v1.QueryService, options, '127.0.0.1:7402');
  }

  /** Text in, ranked documents out. @throws {ScalingnoteError} */
  async search(request: SearchRequest, bounds?: CallBounds): Promise<SearchResult> {
    return fromSearchResponse(await this.call('Search', toWireSearch(request), bounds));
  }

  /**
   * A vector in, ranked documents out: the text of the query stays with the caller, who has a query tower of the same
   * space.
   *
   * @throws {ScalingnoteError} `SPACE_MISMATCH` where the collection is of another space
   */
  async searchByVector(request: SearchByVectorRequest, bounds?: CallBounds): Promise<SearchResult> {
    const wire = toWire<WireSearchByVector>('scalingnote.v1.SearchByVectorRequest', request, {
      required: ['search', 'space', 'vector'],
    });
    checkNamed(wire.search ?? {}, 'search.collection');
    return fromSearchResponse(await this.call('SearchByVector', wire, bounds));
  }

  /** Vectors of 1 to 256 texts, in order. @throws {ScalingnoteError} */
  async encode(
    texts: readonly string[],
    bounds?: CallBounds,
  ): Promise<{ embeddings: number[][]; queryTower: Tower }> {
    const request = toWire<EncodeRequest>('scalingnote.v1.EncodeRequest', { texts }, { required: ['texts'] });
    const { embeddings, queryTower } = await this.call('Encode', request, bounds);
    return { embeddings: embeddings.map(({ values }) => values), queryTower: fromTower(queryTower) };
  }

  /** How well the query tower knows a collection, by a sample of its documents. @throws {ScalingnoteError} */
  async measureFamiliarity(
    scope: { collection?: string; tenant?: string } = {},
    bounds?: CallBounds,
  ): Promise<CollectionFamiliarity> {
    const request = toWire<MeasureFamiliarityRequest>('scalingnote.v1.MeasureFamiliarityRequest', scope);
    checkNamed(request);
    const answer = await this.call('MeasureFamiliarity', request, bounds);
    const { unknownTokenShare, documents, tokens, queryTower, collection } = answer;
    return {
      collection,
      documents,
      tokens: Number(tokens),
      queryTower: fromTower(queryTower),
      ...(unknownTokenShare === undefined ? {} : { unknownTokenShare }),
    };
  }

  /**
   * Search as you type. Where the connection breaks, the stream opens another one by itself and asks the newest query
   * again; older ones count as superseded. Close it when the search box is gone.
   *
   * @param bounds - of the stream itself; each query has its own deadline, signal and trace context
   */
  searchStream(bounds?: StreamBounds): SearchStream {
    let checked: StreamBounds = {};
    let refusal: unknown;
    try {
      checked = checkOptions(bounds, STREAM_BOUNDS);
    } catch (error) {
      // Each query fails with it: nothing is thrown outside of a promise.
      refusal = error;
    }
    return new SearchStream(
      this.servers,
      (server) => this.duplex('SearchStream', server, checked),
      this.options,
      refusal,
    );
  }
}
