import { status } from '@grpc/grpc-js';
import type { Facet as FacetMessage } from '../../proto/generated/scalingnote/v1/Facet.ts';
import type { FacetRequest__Output } from '../../proto/generated/scalingnote/v1/FacetRequest.ts';
import type { ResultSet as ResultSetMessage } from '../../proto/generated/scalingnote/v1/ResultSet.ts';
import type { SearchRequest__Output } from '../../proto/generated/scalingnote/v1/SearchRequest.ts';
import { toValue } from '../../proto/struct.ts';
import { StoreError } from '../../store/errors.ts';
import { metadataPath, readPath } from '../../store/filter.ts';
import { FIELD_TYPES, metadataField } from '../../store/indexed-fields.ts';
import type { SearchHit, SearchQuery } from '../../store/queries.ts';
import type { CollectionKey } from '../../store/store.ts';
import { invalidArgument, ServiceError } from '../runtime/errors.ts';
import { MAX_FIELD_BYTES } from '../runtime/filter.ts';
import type { Mode } from '../runtime/scores.ts';
import type { Page } from './rerank.ts';
import { CANDIDATES, checkText, DEFAULT_CANDIDATES, FACET_VALUES, MAX_FACETS } from '../runtime/validate.ts';

/**
 * What a page of results has besides the hits: the number of documents, the values of their fields, another order. All of
 * them are of the result set: what passes the filter and matches, or is among the best.
 */

/** What a search wants of its result set. */
export interface SetWanted {
  count: boolean;
  facets: readonly { field: string; path: readonly string[]; limit: number }[];
  sort?: SortBy;
  /** How many documents the set has at most. */
  candidates: number;
  /** The answer says what the set is. */
  isShown: boolean;
}

interface SortBy {
  field: string;
  /** Reads what is compared. */
  read: (hit: SearchHit) => unknown;
  descending: boolean;
}

/** Different values of a field that are counted: more are no facet. */
const MAX_DISTINCT = 10_000;

/** Longest text that is a value, in UTF-16 code units: what is longer is no value to choose from. */
const MAX_VALUE_CHARS = 256;

/** @returns `undefined` where the search wants nothing of it */
export function parseSet(request: SearchRequest__Output, mode: Mode): SetWanted | undefined {
  const { withCount: count, facets, sort, candidates: asked, percentileThreshold } = request;
  if (asked > CANDIDATES.max) {
    throw invalidArgument(
      'candidates',
      `is ${asked}; send ${CANDIDATES.min} to ${CANDIDATES.max}, or nothing`,
    );
  }
  const isFiltered = mode === 'hybrid' && percentileThreshold !== undefined;
  if (!count && facets.length === 0 && sort === null && !isFiltered) {
    if (asked === 0) return undefined;
    throw invalidArgument(
      'candidates',
      'is set, but nothing is counted or sorted; leave it out, or set with_count',
    );
  }
  if (facets.length > MAX_FACETS) {
    throw invalidArgument('facets', `has ${facets.length} fields; send ${MAX_FACETS} at most`);
  }
  const candidates = asked || (mode === 'sparse' ? CANDIDATES.max : DEFAULT_CANDIDATES);
  return {
    count,
    facets: facets.map(parseFacet),
    ...(sort && {
      sort: { field: sort.field, read: readerOf('sort.field', sort.field), descending: sort.descending },
    }),
    candidates,
    isShown: count || facets.length > 0 || sort !== null,
  };
}

function parseFacet({ field, limit }: FacetRequest__Output, index: number): SetWanted['facets'][number] {
  const at = `facets[${index}]`;
  if (limit > FACET_VALUES.max) {
    throw invalidArgument(
      `${at}.limit`,
      `is ${limit}; send ${FACET_VALUES.min} to ${FACET_VALUES.max}, or nothing`,
    );
  }
  const path = pathOf(`${at}.field`, field);
  if (!path)
    throw invalidArgument(
      `${at}.field`,
      `is "${field}", which each document has for itself; send metadata.KEY`,
    );
  return { field, path, limit: limit || FACET_VALUES.fallback };
}

function readerOf(at: string, field: string): SortBy['read'] {
  const path = pathOf(at, field);
  if (path) return ({ metadata }) => readPath(metadata, path);
  return field === 'version' ? ({ version }) => version : ({ documentId }) => documentId;
}

/** `undefined` for a field that is not metadata. @throws {ServiceError} `INVALID_ARGUMENT` */
function pathOf(at: string, field: string): string[] | undefined {
  checkText(at, field, MAX_FIELD_BYTES);
  try {
    return metadataPath(field);
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    throw invalidArgument(
      at,
      error.message.replace(/^filter field (?<field>".*?") (?:is unknown; )?/s, 'is $<field>; '),
    );
  }
}

/**
 * Facets and orders are for fields with an index alone, so that one that is misspelled, or that nobody reckons with, is no
 * answer without values.
 *
 * @param collection logical name
 * @throws {ServiceError} `FIELD_NOT_INDEXED`, with the command that indexes the field
 */
export function requireIndexed(
  { facets, sort }: SetWanted,
  { indexedFields = {}, readOnly }: Pick<CollectionKey, 'indexedFields' | 'readOnly'>,
  collection: string,
): void {
  const asked = facets.map(({ field }, index) => [`facets[${index}].field`, field] as const);
  for (const [at, field] of sort ? [...asked, ['sort.field', sort.field] as const] : asked) {
    const path = metadataPath(field);
    if (!path || Object.hasOwn(indexedFields, metadataField(path))) continue;
    const fix =
      readOnly === true
        ? `the collection was adopted: whoever owns it indexes the key in Qdrant`
        : `run "scalingnote collections index ${collection} '${field}:TYPE'", with a TYPE of ${FIELD_TYPES.join(', ')}`;
    throw new ServiceError(
      status.FAILED_PRECONDITION,
      'FIELD_NOT_INDEXED',
      `${at}: ${field} has no index in collection "${collection}"; ${fix}`,
      { metadata: { collection, field } },
    );
  }
}

/** The page of a search, and what it wants of the result set. */
export type FoundSet = Page & { set: ResultSetMessage };

/**
 * Searches for a page and its result set.
 *
 * @param keep which documents stay in the set, where scores alone do not say it
 */
export async function searchSet(
  wanted: SetWanted,
  query: SearchQuery,
  mode: Mode,
  {
    ask,
    pageOf,
    keep,
  }: {
    ask: (query: SearchQuery) => Promise<SearchHit[]>;
    /** The page where the order is that of the search. */
    pageOf: (query: SearchQuery) => Promise<Page>;
    keep?: ((hit: SearchHit) => boolean) | undefined;
  },
): Promise<FoundSet> {
  const { candidates, facets, sort } = wanted;
  const whole = { ...query, limit: candidates, offset: 0 };
  if (sort || keep) {
    const all = await ask({ ...whole, withMetadata: true });
    const set = keep ? all.filter(keep) : all;
    const ordered = sort ? set.toSorted((a, b) => compare(sort, a, b)) : set;
    const { offset = 0, limit } = query;
    const hits = ordered.slice(offset, offset + limit).map((hit) => shownBy(query, hit));
    return { hits, set: setMessage(wanted, mode, set, all.length < candidates) };
  }
  // Texts are read for the page alone, and metadata where values are counted.
  const bare = facets.length > 0 ? { withText: false, withMetadata: true } : { idsOnly: true };
  const [page, all] = await Promise.all([pageOf(query), ask({ ...whole, ...bare })]);
  return { ...page, set: setMessage(wanted, mode, all, all.length < candidates) };
}

/** A hit as the search wants it: the set was read with metadata, which it sorts by. */
function shownBy({ withMetadata = true }: SearchQuery, hit: SearchHit): SearchHit {
  if (withMetadata) return hit;
  const { metadata: _, ...bare } = hit;
  return bare;
}

function setMessage(
  { count, facets, candidates }: SetWanted,
  mode: Mode,
  hits: readonly SearchHit[],
  exact: boolean,
): ResultSetMessage {
  return {
    kind: mode === 'sparse' ? 'RESULT_SET_KIND_MATCHES' : 'RESULT_SET_KIND_BEST',
    count: count ? hits.length : 0,
    exact,
    candidates,
    facets: facets.map((facet) => facetOf(facet, hits)),
  };
}

function facetOf(
  { field, path, limit }: SetWanted['facets'][number],
  hits: readonly SearchHit[],
): FacetMessage {
  const counts = new Map<FacetValue, number>();
  let missing = 0;
  let isCut = false;
  for (const { metadata } of hits) {
    const found = readPath(metadata, path);
    // A document counts once for a value, however often its list says it.
    const values = new Set((Array.isArray(found) ? (found as unknown[]) : [found]).filter(isValue));
    if (values.size === 0) missing++;
    for (const value of values) {
      const before = counts.get(value);
      if (before === undefined && counts.size >= MAX_DISTINCT) isCut = true;
      else counts.set(value, (before ?? 0) + 1);
    }
  }
  const sorted = [...counts].sort(([a, often], [b, seldom]) => seldom - often || compareValues(a, b));
  return {
    field,
    values: sorted.slice(0, limit).map(([value, documents]) => ({ value: toValue(value), documents })),
    missing,
    distinct: counts.size,
    distinctAtLeast: isCut,
  };
}

type FacetValue = string | number | boolean;

function isValue(value: unknown): value is FacetValue {
  if (typeof value === 'string') return value.length <= MAX_VALUE_CHARS;
  return typeof value === 'number' || typeof value === 'boolean';
}

/** Documents without the field last; equal ones keep the order of their scores. */
function compare({ read, descending }: SortBy, a: SearchHit, b: SearchHit): number {
  const [one, other] = [sortable(read(a)), sortable(read(b))];
  if (one === undefined || other === undefined)
    return Number(one === undefined) - Number(other === undefined);
  return (descending ? -1 : 1) * compareValues(one, other);
}

/** A list sorts by its first element. */
function sortable(value: unknown): FacetValue | undefined {
  const one: unknown = Array.isArray(value) ? value[0] : value;
  return typeof one === 'string' || typeof one === 'number' || typeof one === 'boolean' ? one : undefined;
}

const TYPES = ['number', 'string', 'boolean'];

function compareValues(a: FacetValue, b: FacetValue): number {
  const [one, other] = [TYPES.indexOf(typeof a), TYPES.indexOf(typeof b)];
  if (one !== other) return one - other;
  return a < b ? -1 : Number(a > b);
}
