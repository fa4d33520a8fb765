import type { SearchRequest__Output } from '../../proto/generated/scalingnote/v1/SearchRequest.ts';
import { type Freshness, parseFreshness } from '../../store/freshness.ts';
import { type Filter, type FilterValue, type SearchQuery } from '../../store/queries.ts';
import { languageCode } from '../../towers/lexical/analysis.ts';
import { invalidArgument, invalidArguments, ServiceError } from '../runtime/errors.ts';
import { parseFilter } from '../runtime/filter.ts';
import { type AskedFusion, parseFusion } from './fusion.ts';
import { parseRerank } from './rerank.ts';
import { parseSet, type SetWanted } from './result-set.ts';
import { type Mode, SCORES } from '../runtime/scores.ts';
import {
  checkCollection,
  checkDocumentId,
  checkFinite,
  checkTenant,
  MAX_EXPLAINED,
  MAX_QUERY_BYTES,
  parseLimit,
  parseOffset,
  quoted,
  requireText,
  SNIPPET_LENGTH,
} from '../runtime/validate.ts';

const MODES: Readonly<Record<string, Mode>> = {
  SEARCH_MODE_UNSPECIFIED: 'dense',
  SEARCH_MODE_DENSE: 'dense',
  SEARCH_MODE_SPARSE: 'sparse',
  SEARCH_MODE_HYBRID: 'hybrid',
};

/** A search that has been checked. */
export interface SearchPlan {
  /** Logical name; empty where the request leaves it to the service. */
  collection: string;
  text: string;
  mode: Mode;
  /** Whether the last word may be unfinished; absent where the request does not say. */
  prefix?: boolean;
  /** The request says so, so that a collection that can't is refused. */
  mustPrefix?: boolean;
  /** Language of the text; absent for those of the collection. */
  language?: string;
  /** What the store is asked for, without the vectors of the text. */
  query: SearchQuery;
  /** How it is to fuse its legs, as far as the request says. */
  fusion?: AskedFusion | undefined;
  /** Whether each hit has a percentile, and the lowest one to return. */
  percentile?: { threshold?: number | undefined } | undefined;
  /** How many of the best documents are reranked; 0 for none. */
  rerank: number;
  /** What it wants of its result set. */
  set?: SetWanted | undefined;
  /** What the answer has besides the hits. */
  besides: Besides;
}

/** What a search asks for besides its hits. */
export interface Besides {
  /** Say of each hit why it ranks where it does. */
  explain: boolean;
  /** Say what became of this document; absent for none. */
  explainDocumentId?: string;
  /** Of a snippet, in UTF-16 code units; 0 for no snippet. */
  snippetLength: number;
  /** The whole text of each hit. */
  documentText: boolean;
  /** Leave out the text of the best passage, which a snippet needs all the same. */
  omitText: boolean;
}

/** Checks a request. @throws {ServiceError} `INVALID_ARGUMENT`, with the field and the fix */
export function parseSearch(request: SearchRequest__Output): SearchPlan {
  requireText('query', request.query, MAX_QUERY_BYTES);
  return planOf(request);
}

/** Checks a search whose text stays with the caller. @throws {ServiceError} `INVALID_ARGUMENT`, with the field and the fix */
export function parseTextless(request: SearchRequest__Output | null): SearchPlan {
  if (request === null) throw invalidArgument('search', 'is missing; send it, empty for all defaults');
  const refuse = (field: string, why: string): never => {
    throw invalidArgument(`search.${field}`, why);
  };
  if (request.query !== '') refuse('query', 'is not empty; with a vector, leave it out, or call Search');
  const plan = within('search', () => planOf(request));
  if (plan.mode !== 'dense') refuse('mode', `is ${plan.mode}; without a text, only dense can be searched`);
  const { explain, explainDocumentId, snippetLength } = plan.besides;
  if (explain) refuse('explain', 'needs the text of the query; leave it out, or call Search');
  if (explainDocumentId !== undefined) {
    refuse('explain_document_id', 'needs the text of the query; leave it out, or call Search');
  }
  if (plan.rerank > 0) refuse('rerank', 'needs the text of the query; leave it out, or call Search');
  if (snippetLength > 0)
    refuse('snippet_length', 'needs the text of the query; leave it out, or call Search');
  if (plan.prefix === true) refuse('prefix', 'needs the text of the query; leave it out, or call Search');
  return plan;
}

/** Names the fields of a message that lies in another by their whole paths. */
function within<Result>(path: string, parse: () => Result): Result {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof ServiceError) || error.violations.length === 0) throw error;
    throw invalidArguments(error.violations.map((one) => ({ ...one, field: `${path}.${one.field}` })));
  }
}

function planOf(request: SearchRequest__Output): SearchPlan {
  const { collection, tenant, query: text, scoreThreshold } = request;
  // An empty one means the default collection.
  if (collection !== '') checkCollection(collection);
  checkTenant(tenant);
  const mode = parseMode(request.mode);
  checkThreshold(scoreThreshold, mode);
  const fusion = parseFusion(request.fusion, mode);
  const atLeast = parseToken(request.atLeastAsFreshAs);
  const query = {
    tenant,
    limit: parseLimit(request.limit),
    offset: parseOffset(request.offset),
    filter: parseFilter(request.filter),
    scoreThreshold,
    withText: !request.omitText || request.snippetLength > 0,
    withMetadata: !request.omitMetadata,
    ...(atLeast && { atLeast }),
  };
  const percentile = parsePercentile(request);
  const set = parseSet(request, mode);
  const besides = parseBesides(request, query.limit);
  if (set) checkExplained(besides, set, mode === 'hybrid' ? percentile?.threshold : undefined);
  const rerank = parseRerank(request.rerank, besides, { sort: request.sort !== null });
  const reading = parseReading(request, mode);
  return { collection, text, mode, ...reading, query, fusion, percentile, rerank, set, besides };
}

/** How the words of the text are read. */
function parseReading(
  { prefix, language }: SearchRequest__Output,
  mode: Mode,
): Pick<SearchPlan, 'prefix' | 'language'> {
  const code = language === 'auto' ? undefined : languageCode(language);
  if (language !== '' && code !== language) {
    const fix = code === undefined ? 'an ISO 639 code, as "en", "none"' : `"${code}"`;
    throw invalidArgument(
      'language',
      `is ${quoted(language)}; send ${fix}, or leave it out for the languages of the collection`,
    );
  }
  if (language !== '' && mode === 'dense') {
    throw invalidArgument('language', 'changes nothing in a dense search; leave it out, or search by words');
  }
  return {
    ...(prefix !== undefined && { prefix, mustPrefix: prefix }),
    ...(language !== '' && { language }),
  };
}

function parsePercentile({
  withPercentile,
  percentileThreshold: threshold,
}: SearchRequest__Output): SearchPlan['percentile'] {
  if (threshold !== undefined && !(threshold >= 0 && threshold <= 1)) {
    throw invalidArgument('percentile_threshold', `is ${threshold}; send a share of queries, 0 to 1`);
  }
  return withPercentile || threshold !== undefined ? { threshold } : undefined;
}

/** Explanations say how the score ranks a document, which is not all that decides here. */
function checkExplained(
  { explain, explainDocumentId }: Besides,
  { sort }: SetWanted,
  percentileThreshold: number | undefined,
): void {
  const field = explain ? 'explain' : 'explain_document_id';
  if (!explain && explainDocumentId === undefined) return;
  if (sort) throw invalidArgument(field, 'explains an order by score; leave it out, or leave out sort');
  if (percentileThreshold !== undefined) {
    throw invalidArgument(
      field,
      'does not know the percentiles of a hybrid search; leave out percentile_threshold',
    );
  }
}

function parseBesides(request: SearchRequest__Output, limit: number): Besides {
  const { explain, explainDocumentId, snippetLength, withDocumentText, omitText } = request;
  if (explain && limit > MAX_EXPLAINED) {
    throw invalidArgument('limit', `is ${limit}; with explain, send 1 to ${MAX_EXPLAINED}`);
  }
  if (explainDocumentId !== '') checkDocumentId(explainDocumentId, 'explain_document_id');
  const { min, max } = SNIPPET_LENGTH;
  if (snippetLength !== 0 && (snippetLength < min || snippetLength > max)) {
    throw invalidArgument(
      'snippet_length',
      `is ${snippetLength}; send ${min} to ${max}, or 0 for no snippet`,
    );
  }
  return {
    explain,
    ...(explainDocumentId !== '' && { explainDocumentId }),
    snippetLength,
    documentText: withDocumentText,
    omitText,
  };
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
  const { from, to, scores } = SCORES[mode];
  if (threshold >= from && threshold <= to) return;
  const range = to === Infinity ? `from ${from} up` : `from ${from} to ${to}`;
  throw invalidArgument('score_threshold', `is ${threshold}; a ${mode} search scores ${scores}, ${range}`);
}
