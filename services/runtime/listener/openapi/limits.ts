import { RRF_K } from '../../../../store/fusion.ts';
import { knownLanguages } from '../../../../towers/lexical/languages.ts';
import { MAX_ANY_OF_VALUES, MAX_FIELD_BYTES, MAX_FILTER_CONDITIONS } from '../../filter.ts';
import {
  CANDIDATES,
  COLLECTION_NAME,
  DEFAULT_CANDIDATES,
  DEFAULT_LIMIT,
  DEFAULT_PAGE,
  DEFAULT_TENANT_PAGE,
  FACET_VALUES,
  FUSION_K,
  MAX_DELETE_IDS,
  MAX_ENCODE_TEXTS,
  MAX_FACETS,
  MAX_GET_IDS,
  MAX_ID_BYTES,
  MAX_LIMIT,
  MAX_OFFSET,
  MAX_PAGE,
  MAX_QUERY_BYTES,
  MAX_RERANKED,
  MAX_TENANT_BYTES,
  MAX_TENANT_PAGE,
  SNIPPET_LENGTH,
  VISIBLE,
} from '../../validate.ts';

/** Keywords of JSON Schema. */
export type Keywords = Readonly<Record<string, unknown>>;

/** What a field of a request may be, beyond its type. The constants are those that the handlers check. */
export interface FieldLimits {
  /** The caller has to send it, and not empty. */
  required?: true;
  /** Least and largest number. */
  range?: { min: number; max: number };
  /** Where the caller leaves it out. */
  fallback?: number;
  /** A number that means none, beside those of the range. */
  none?: number;
  /** Most bytes of a text, or of each text of a list; a text has no more characters than bytes. */
  maxBytes?: number;
  pattern?: RegExp;
  /** Of a list. */
  items?: { min: number; max?: number };
  /** More of the schema of a value, or of each value of a list. */
  schema?: Keywords;
}

/** A text that somebody can see. */
export const VISIBLE_TEXT: Keywords = { minLength: 1, pattern: VISIBLE.source };

/** What a filter compares with: past 2^53, numbers are not exact. */
const EXACT = { minimum: Number.MIN_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER };
export const FILTER_VALUES: readonly Keywords[] = [
  { type: 'string' },
  { type: 'number', ...EXACT },
  { type: 'boolean' },
];

/** A filter with a condition. */
const NOT_EMPTY: Keywords = {
  anyOf: ['must', 'should', 'mustNot'].map((name) => ({
    required: [name],
    properties: { [name]: { minItems: 1 } },
  })),
};

/** A search whose text stays with the caller. */
const TEXTLESS: Keywords = {
  properties: {
    query: { maxLength: 0 },
    mode: { enum: ['SEARCH_MODE_UNSPECIFIED', 'SEARCH_MODE_DENSE'] },
    explain: { const: false },
    explainDocumentId: { maxLength: 0 },
    snippetLength: { const: 0 },
    rerank: { const: 0 },
    prefix: { const: false },
    language: { maxLength: 0 },
  },
};

/** A key of metadata: plain, or in double quotes. */
const KEY = String.raw`(?:"[^"\\]*"|[^."\[\]\\]+)`;
const METADATA = String.raw`metadata\.${KEY}(?:\.${KEY})*`;

const collection: FieldLimits = { required: true, pattern: COLLECTION_NAME };
/** May be left to the service. */
const anyCollection: FieldLimits = { pattern: new RegExp(`^$|${COLLECTION_NAME.source}`) };
const physicalName: FieldLimits = { required: true, pattern: /^[\w-]{1,64}--sp1_[0-9a-f]{8}$/ };
const tenant: FieldLimits = { maxBytes: MAX_TENANT_BYTES };
const conditions: FieldLimits = { items: { min: 0, max: MAX_FILTER_CONDITIONS } };
const bound: FieldLimits = { schema: EXACT };
const ids = { maxBytes: MAX_ID_BYTES, schema: { minLength: 1 } };

/** The path of a field that a test can be made of. @param own one that is not metadata */
function path(own?: string): FieldLimits {
  const pattern = new RegExp(`^(?:${own === undefined ? '' : `${own}|`}${METADATA})$`);
  return { required: true, maxBytes: MAX_FIELD_BYTES, pattern };
}

/** By the name of the message, and of the field as the contract spells it. */
const LIMITS: Readonly<Record<string, Readonly<Record<string, FieldLimits>>>> = {
  SearchRequest: {
    collection: anyCollection,
    tenant,
    query: { maxBytes: MAX_QUERY_BYTES },
    limit: { range: { min: 1, max: MAX_LIMIT }, fallback: DEFAULT_LIMIT },
    offset: { range: { min: 0, max: MAX_OFFSET } },
    at_least_as_fresh_as: { pattern: /^(?:col_[0-9a-f]{32}\.[\w-]{1,128})?$/ },
    explain_document_id: { maxBytes: MAX_ID_BYTES },
    snippet_length: { range: SNIPPET_LENGTH, none: 0 },
    percentile_threshold: { schema: { minimum: 0, maximum: 1 } },
    facets: { items: { min: 0, max: MAX_FACETS } },
    rerank: { range: { min: 1, max: MAX_RERANKED }, none: 0 },
    language: { pattern: new RegExp(`^(?:none|${knownLanguages().join('|')})?$`) },
    candidates: { range: CANDIDATES, none: 0, fallback: DEFAULT_CANDIDATES },
  },
  FacetRequest: { field: path(), limit: { range: FACET_VALUES, none: 0, fallback: FACET_VALUES.fallback } },
  Sort: { field: path('document_id|version') },
  Fusion: { k: { range: FUSION_K, fallback: RRF_K }, dense_weight: { schema: { minimum: 0, maximum: 1 } } },
  SearchStreamRequest: {
    sequence: {
      required: true,
      schema: { type: ['integer', 'string'], minimum: 1, maximum: Number.MAX_SAFE_INTEGER },
    },
    search: { required: true, schema: { required: ['query'], properties: { query: VISIBLE_TEXT } } },
  },
  SearchByVectorRequest: {
    search: { required: true, schema: TEXTLESS },
    space: { required: true, pattern: /^sp1_[0-9a-f]{32}$/ },
    vector: { required: true, items: { min: 1 } },
  },
  EncodeRequest: {
    texts: {
      required: true,
      items: { min: 1, max: MAX_ENCODE_TEXTS },
      maxBytes: MAX_QUERY_BYTES,
      schema: VISIBLE_TEXT,
    },
  },
  MeasureFamiliarityRequest: { collection: anyCollection, tenant },
  DeleteRequest: {
    collection,
    tenant,
    document_ids: { items: { min: 0, max: MAX_DELETE_IDS }, ...ids },
    filter: { schema: NOT_EMPTY },
  },
  CountRequest: { collection, tenant },
  ListDocumentsRequest: {
    collection,
    tenant,
    page_size: { range: { min: 1, max: MAX_PAGE }, fallback: DEFAULT_PAGE },
  },
  GetDocumentsRequest: {
    collection,
    tenant,
    document_ids: { required: true, items: { min: 1, max: MAX_GET_IDS }, ...ids },
  },
  SwitchAliasRequest: {
    alias: { required: true, pattern: COLLECTION_NAME },
    physical_name: physicalName,
  },
  DropCollectionRequest: { physical_name: physicalName },
  DropTenantRequest: {
    tenant: { required: true, maxBytes: MAX_TENANT_BYTES, schema: { minLength: 1 } },
    confirm_tenant: tenant,
    collection: anyCollection,
  },
  ListTenantsRequest: {
    collection: anyCollection,
    page_size: { range: { min: 1, max: MAX_TENANT_PAGE }, fallback: DEFAULT_TENANT_PAGE },
    page_token: { pattern: /^(?:t[\s\S]*)?$/ },
  },
  GetTenantUsageRequest: { tenant },
  Filter: { must: conditions, should: conditions, must_not: conditions },
  Condition: { filter: { schema: NOT_EMPTY } },
  Equals: {
    field: path('document_id'),
    value: { required: true, schema: { anyOf: FILTER_VALUES } },
  },
  AnyOf: {
    field: path('document_id'),
    values: {
      required: true,
      items: { min: 1, max: MAX_ANY_OF_VALUES },
      schema: { anyOf: FILTER_VALUES },
    },
  },
  Range: { field: path('version'), gt: bound, gte: bound, lt: bound, lte: bound },
  Exists: { field: path() },
};

/** The limits of a field. @param message its name without the package @param field as the contract spells it */
export function limitsOf(message: string, field: string): FieldLimits {
  return LIMITS[message]?.[field] ?? {};
}

/** Every field that has limits, so that a test can look for those that the contract does not have. */
export function limitedFields(): [message: string, field: string][] {
  return Object.entries(LIMITS).flatMap(([message, fields]) =>
    Object.keys(fields).map((field): [string, string] => [message, field]),
  );
}
