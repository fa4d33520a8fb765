import type { SearchRequest as WireSearchRequest } from '../proto/generated/scalingnote/v1/SearchRequest.ts';
import { invalidArgument } from './errors.ts';
import type { Filter } from './filter.ts';
import type { Fusion } from './answers.ts';
import { toWire } from './strict/message.ts';

/** A search. */
export interface SearchRequest {
  /** Logical name of the collection. @default the service's default collection, else the only one that it has */
  collection?: string;
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
  /**
   * The last word may be unfinished: it matches by its beginning, and is completed from the collection's own words.
   *
   * @default false for a search, true for a query of a search stream
   */
  prefix?: boolean;
  /** Language of the query, an ISO 639 code, or `none`. @default those of the collection's documents */
  language?: string;
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
  /** How a hybrid search fuses its legs; what is left out is as the service has it for the collection. */
  fusion?: Partial<Fusion>;
  /** Say the percentile of each hit. @default false */
  withPercentile?: boolean;
  /** Lowest percentile to return, 0 to 1: it means the same in every mode and collection. */
  percentileThreshold?: number;
  /** Count the documents of the result set. @default false */
  withCount?: boolean;
  /** Count the values of fields in the result set; at most 8. */
  facets?: readonly FacetRequest[];
  /** Order the result set by a field in place of the score. */
  sort?: Sort;
  /** How many documents the result set has at most, 1 to 10 000. @default 1000; 10 000 in sparse mode */
  candidates?: number;
  /** How many of the best documents the service's reranker reads again, 1 to 100; 0 for none. @default 0 */
  rerank?: number;
}

/** Asks for the values of a field in the result set. */
export interface FacetRequest {
  /** `metadata.KEY`; of a list, each element counts. */
  field: string;
  /** How many values, the most frequent first, 1 to 100. @default 10 */
  limit?: number;
}

/** An order of the result set. Documents without the field come last. */
export interface Sort {
  /** `metadata.KEY`, `document_id` or `version`. */
  field: string;
  /** @default false */
  descending?: boolean;
}

/** On the wire, an empty name means the default collection, which nobody means who writes a name. @throws {ScalingnoteError} */
export function checkNamed({ collection }: { collection?: string }, field = 'collection'): void {
  if (collection !== '') return;
  throw invalidArgument(
    field,
    'is empty; name the collection, or leave it out for the default one of the service',
  );
}

/** As the wire has it. @throws {ScalingnoteError} `INVALID_ARGUMENT` for what can't be written */
export function toWireSearch(request: SearchRequest): WireSearchRequest {
  const wire = toWire<WireSearchRequest>('scalingnote.v1.SearchRequest', request, {
    required: ['query'],
  });
  // On the wire, an empty string is none: a caller whose token or id is empty by mistake would get another answer.
  checkNamed(wire);
  if (wire.atLeastAsFreshAs === '') {
    throw invalidArgument(
      'at_least_as_fresh_as',
      'is empty; give the token, or leave it out to take what is there',
    );
  }
  if (wire.explainDocumentId === '') {
    throw invalidArgument('explain_document_id', 'is empty; give the id of a document, or leave it out');
  }
  return wire;
}
