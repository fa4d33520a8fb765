import { MAX_ANY_OF_VALUES, MAX_FIELD_BYTES, MAX_FILTER_CONDITIONS } from '../../filter.ts';
import {
  COLLECTION_NAME,
  DEFAULT_LIMIT,
  DEFAULT_PAGE,
  MAX_DELETE_IDS,
  MAX_ENCODE_TEXTS,
  MAX_GET_IDS,
  MAX_ID_BYTES,
  MAX_LIMIT,
  MAX_OFFSET,
  MAX_PAGE,
  MAX_QUERY_BYTES,
  MAX_TENANT_BYTES,
  SNIPPET_LENGTH,
} from '../../validate.ts';

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
}

const collection: FieldLimits = { required: true, pattern: COLLECTION_NAME };
/** May be left to the service. */
const anyCollection: FieldLimits = { pattern: new RegExp(`^$|${COLLECTION_NAME.source}`) };
const tenant: FieldLimits = { maxBytes: MAX_TENANT_BYTES };
const path: FieldLimits = { required: true, maxBytes: MAX_FIELD_BYTES };
const conditions: FieldLimits = { items: { min: 0, max: MAX_FILTER_CONDITIONS } };

/** By the name of the message, and of the field as the contract spells it. */
const LIMITS: Readonly<Record<string, Readonly<Record<string, FieldLimits>>>> = {
  SearchRequest: {
    collection: anyCollection,
    tenant,
    query: { maxBytes: MAX_QUERY_BYTES },
    limit: { range: { min: 1, max: MAX_LIMIT }, fallback: DEFAULT_LIMIT },
    offset: { range: { min: 0, max: MAX_OFFSET } },
    explain_document_id: { maxBytes: MAX_ID_BYTES },
    snippet_length: { range: SNIPPET_LENGTH, none: 0 },
  },
  SearchByVectorRequest: {
    search: { required: true },
    space: { required: true },
    vector: { required: true, items: { min: 1 } },
  },
  EncodeRequest: {
    texts: { required: true, items: { min: 1, max: MAX_ENCODE_TEXTS }, maxBytes: MAX_QUERY_BYTES },
  },
  MeasureFamiliarityRequest: { collection: anyCollection, tenant },
  DeleteRequest: {
    collection,
    tenant,
    document_ids: { items: { min: 0, max: MAX_DELETE_IDS }, maxBytes: MAX_ID_BYTES },
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
    document_ids: { required: true, items: { min: 1, max: MAX_GET_IDS }, maxBytes: MAX_ID_BYTES },
  },
  ExportRequest: {
    collection,
    tenant,
    after_document_id: { maxBytes: MAX_ID_BYTES },
    after_tenant: { maxBytes: MAX_TENANT_BYTES },
  },
  SwitchAliasRequest: {
    alias: { required: true, pattern: COLLECTION_NAME },
    physical_name: { required: true },
  },
  DropCollectionRequest: { physical_name: { required: true } },
  Filter: { must: conditions, should: conditions, must_not: conditions },
  Equals: { field: path, value: { required: true } },
  AnyOf: { field: path, values: { required: true, items: { min: 1, max: MAX_ANY_OF_VALUES } } },
  Range: { field: path },
  Exists: { field: path },
};

/** Methods whose request has to have fields that its message need not have elsewhere. */
export const REQUIRED_BY_METHOD: Readonly<Record<string, readonly string[]>> = {
  Search: ['query'],
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
