import type { SearchRequest as WireSearchRequest } from '../proto/generated/scalingnote/v1/SearchRequest.ts';
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
  filter?: Filter | undefined;
  /** Lowest score to return. */
  scoreThreshold?: number;
  /** Meaning, wording, or both. @default 'dense' */
  mode?: 'dense' | 'sparse' | 'hybrid';
  /** @default false */
  omitText?: boolean;
  /** @default false */
  omitMetadata?: boolean;
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
