import type { SearchRequest__Output } from '../../proto/generated/scalingnote/v1/SearchRequest.ts';
import { type Freshness, parseFreshness } from '../../store/freshness.ts';
import type { Filter, FilterValue, SearchQuery } from '../../store/queries.ts';
import { invalidArgument } from '../runtime/errors.ts';
import { parseFilter } from '../runtime/filter.ts';
import {
  checkCollection,
  checkFinite,
  checkTenant,
  MAX_QUERY_BYTES,
  parseLimit,
  parseOffset,
  quoted,
  requireText,
} from '../runtime/validate.ts';

/** What to match by; see `SearchMode` in the contract. */
export type Mode = 'dense' | 'sparse' | 'hybrid';

const MODES: Readonly<Record<string, Mode>> = {
  SEARCH_MODE_UNSPECIFIED: 'dense',
  SEARCH_MODE_DENSE: 'dense',
  SEARCH_MODE_SPARSE: 'sparse',
  SEARCH_MODE_HYBRID: 'hybrid',
};

/** A search that has been checked. */
export interface SearchPlan {
  collection: string;
  text: string;
  mode: Mode;
  /** What the store is asked for, without the vectors of the text. */
  query: SearchQuery;
}

/** Checks a request. @throws {ServiceError} `INVALID_ARGUMENT`, with the field and the fix */
export function parseSearch(request: SearchRequest__Output): SearchPlan {
  const { collection, tenant, query: text, scoreThreshold } = request;
  checkCollection(collection);
  checkTenant(tenant);
  requireText('query', text, MAX_QUERY_BYTES);
  const mode = parseMode(request.mode);
  checkThreshold(scoreThreshold, mode);
  const atLeast = parseToken(request.atLeastAsFreshAs);
  const query = {
    tenant,
    limit: parseLimit(request.limit),
    offset: parseOffset(request.offset),
    filter: parseFilter(request.filter),
    scoreThreshold,
    withText: !request.omitText,
    withMetadata: !request.omitMetadata,
    ...(atLeast && { atLeast }),
  };
  return { collection, text, mode, query };
}

/** About how much memory a plan takes, in bytes: as much as its texts and its conditions. */
export function bytesOf({ text, query }: SearchPlan): number {
  return 2 * text.length + (query.filter ? filterBytes(query.filter) : 0);
}

/** A condition's own objects, in bytes. */
const CONDITION_BYTES = 128;

function filterBytes({ must = [], should = [], mustNot = [] }: Filter): number {
  let sum = 0;
  for (const condition of [...must, ...should, ...mustNot]) {
    sum += CONDITION_BYTES;
    if ('filter' in condition) sum += filterBytes(condition.filter);
    else sum += 2 * condition.field.length;
    if ('equals' in condition) sum += valueBytes(condition.equals);
    if ('anyOf' in condition) for (const value of condition.anyOf) sum += valueBytes(value);
  }
  return sum;
}

function valueBytes(value: FilterValue): number {
  return typeof value === 'string' ? 2 * value.length : 8;
}

/** A number that the contract does not know comes as a number. */
function parseMode(mode: string | number): Mode {
  const known = Object.hasOwn(MODES, mode) ? MODES[mode] : undefined;
  if (known) return known;
  throw invalidArgument(
    'mode',
    `is ${mode}; send SEARCH_MODE_DENSE, SEARCH_MODE_SPARSE, SEARCH_MODE_HYBRID, or nothing for dense`,
  );
}

function parseToken(token: string): Freshness | undefined {
  if (token === '') return undefined;
  const freshness = parseFreshness(token);
  if (freshness) return freshness;
  throw invalidArgument(
    'at_least_as_fresh_as',
    `is ${quoted(token)}, which is no token; send the freshness_token of a watermark or a delete, as it came`,
  );
}

function checkThreshold(threshold: number | undefined, mode: Mode): void {
  if (threshold === undefined) return;
  checkFinite('score_threshold', threshold);
  if (mode === 'dense' && Math.abs(threshold) > 1) {
    const why = `is ${threshold}; a dense search scores by cosine, from -1 to 1`;
    throw invalidArgument('score_threshold', why);
  }
}
