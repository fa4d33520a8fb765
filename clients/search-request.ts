import type { SearchRequest as WireSearchRequest } from '../proto/generated/scalingnote/v1/SearchRequest.ts';
import { invalidArgument } from './errors.ts';
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
  /**
   * A freshness token, as a watermark or a delete brought it: the answer holds everything that was durable then. The
   * service waits for that until shortly before the deadline, and then fails with `STORE_NOT_FRESH`; with
   * `COLLECTION_REPLACED` where the collection is another one now.
   */
  atLeastAsFreshAs?: string | undefined;
  /** Say of each hit why it ranks where it does; `limit` is 100 at most then. @default false */
  explain?: boolean;
  /** Say of this document why it is in the answer, or why not. */
  explainDocumentId?: string;
  /** Longest snippet around the best sentence of each hit, 16 to 4096 characters; 0 for none. @default 0 */
  snippetLength?: number;
  /** Return the whole text of each document, where it is stored; 2 MiB together. @default false */
  withDocumentText?: boolean;
}

const MODES = {
  dense: 'SEARCH_MODE_DENSE',
  sparse: 'SEARCH_MODE_SPARSE',
  hybrid: 'SEARCH_MODE_HYBRID',
} as const;

/** As the wire has it. @throws {ScalingnoteError} `INVALID_ARGUMENT` for what can't be written */
export function toWireSearch(request: SearchRequest): WireSearchRequest {
  const { filter, mode, collection, query, tenant, limit, offset, atLeastAsFreshAs, ...others } = request;
  const { explainDocumentId, snippetLength, ...rest } = others;
  return {
    ...rest,
    collection: wireText(collection, 'collection'),
    query: wireText(query, 'query'),
    ...(tenant === undefined ? {} : { tenant: wireText(tenant, 'tenant') }),
    ...(limit === undefined ? {} : { limit: wireUint32(limit, 'limit', '1 to 1000') }),
    ...(offset === undefined ? {} : { offset: wireUint32(offset, 'offset', '0 to 10000') }),
    ...(filter === undefined ? {} : { filter: toWireFilter(filter) }),
    ...(mode === undefined ? {} : { mode: MODES[mode] }),
    ...(explainDocumentId === undefined ? {} : { explainDocumentId: wireAsked(explainDocumentId) }),
    ...(snippetLength === undefined
      ? {}
      : { snippetLength: wireUint32(snippetLength, 'snippet_length', '16 to 4096, or 0') }),
    ...(atLeastAsFreshAs === undefined ? {} : { atLeastAsFreshAs: wireToken(atLeastAsFreshAs) }),
  };
}

/** On the wire, no token is an empty one: a caller whose token is empty by mistake would get any answer. */
function wireToken(token: string): string {
  if (token !== '') return wireText(token, 'at_least_as_fresh_as');
  throw invalidArgument(
    'at_least_as_fresh_as',
    'is empty; give the token, or leave it out to take what is there',
  );
}

/** On the wire, no id is an empty one: a caller whose id is empty by mistake would get no explanation. */
function wireAsked(documentId: string): string {
  if (documentId !== '') return wireText(documentId, 'explain_document_id');
  throw invalidArgument('explain_document_id', 'is empty; give the id of a document, or leave it out');
}
