import type { SearchRequest as WireSearchRequest } from '../proto/generated/scalingnote/v1/SearchRequest.ts';
import type { SearchResponse__Output } from '../proto/generated/scalingnote/v1/SearchResponse.ts';
import { fromStruct, type JsonObject } from '../proto/struct.ts';
import { fromTower, type Tower } from './describe.ts';
import { type Filter, toWireFilter } from './filter.ts';
import { wireText, wireUint32 } from './values.ts';

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

const MODES = {
  dense: 'SEARCH_MODE_DENSE',
  sparse: 'SEARCH_MODE_SPARSE',
  hybrid: 'SEARCH_MODE_HYBRID',
} as const;

/** As the wire has it. @throws {ScalingnoteError} `INVALID_ARGUMENT` for what can't be written */
export function toWireSearch(request: SearchRequest): WireSearchRequest {
  const { filter, mode, collection, query, tenant, limit, offset, ...rest } = request;
  return {
    ...rest,
    collection: wireText(collection, 'collection'),
    query: wireText(query, 'query'),
    ...(tenant === undefined ? {} : { tenant: wireText(tenant, 'tenant') }),
    ...(limit === undefined ? {} : { limit: wireUint32(limit, 'limit') }),
    ...(offset === undefined ? {} : { offset: wireUint32(offset, 'offset') }),
    ...(filter === undefined ? {} : { filter: toWireFilter(filter) }),
    ...(mode === undefined ? {} : { mode: MODES[mode] }),
  };
}

/** From the wire. */
export function fromSearchResponse(response: SearchResponse__Output): SearchResult {
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
