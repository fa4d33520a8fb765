import type { Timestamp__Output } from '../../proto/generated/google/protobuf/Timestamp.ts';
import { invalidArgument } from './errors.ts';

/** Longest query: longer than any tower here reads, and short enough that a queue full of them fits into memory. */
export const MAX_QUERY_BYTES = 32 * 1024;
/** Longest text of a document: a book of average length has 1 MiB; more than one book is more than one document. */
export const MAX_TEXT_BYTES = 8 * 1024 * 1024;
/** Longest title: it is part of the first passage, which no tower reads further than that. */
export const MAX_TITLE_BYTES = 4 * 1024;
/** Most metadata of a document, as JSON: it travels with every hit. */
export const MAX_METADATA_BYTES = 64 * 1024;
/** Longest document id: room for a URL. */
export const MAX_ID_BYTES = 512;
/** Longest tenant. */
export const MAX_TENANT_BYTES = 256;
/** Most documents that one search returns: one page, not an export. */
export const MAX_LIMIT = 1000;
/** How many documents a search returns where the request does not say. */
export const DEFAULT_LIMIT = 10;
/** Deepest page: what comes before it has to be ranked and thrown away each time. */
export const MAX_OFFSET = 10_000;
/** Most hits that one search explains: each is looked up in every ranking. */
export const MAX_EXPLAINED = 100;
/** Shortest and longest snippet, in UTF-16 code units: a few words, and more than a screen shows. */
export const SNIPPET_LENGTH = { min: 16, max: 4096 } as const;
/** Most documents that one search has reranked: each is a run of a model. */
export const MAX_RERANKED = 100;
/** Most fields whose values one search counts, and how many values of each it lists. */
export const MAX_FACETS = 8;
export const FACET_VALUES = { min: 1, max: 100, fallback: 10 } as const;
/** How many documents a result set may have: each is read, and its metadata may have 64 KiB. */
export const CANDIDATES = { min: 1, max: 10_000 } as const;
export const DEFAULT_CANDIDATES = 1000;
/** Least and greatest k of a fusion by ranks: the first place alone counts, and the first thousand hardly differ. */
export const FUSION_K = { min: 1, max: 1000 } as const;
/** Documents of a page by default and at most: a page is one message, and a document may have megabytes. */
export const DEFAULT_PAGE = 20;
export const MAX_PAGE = 100;
/** Most tenants on a page of a list, and as many as there are where the request says nothing. */
export const MAX_TENANT_PAGE = 1000;
export const DEFAULT_TENANT_PAGE = 100;
/** Most ids of one GetDocuments. */
export const MAX_GET_IDS = 100;
/** Most texts of one Encode call: a batch that leaves the encoder to others within a fraction of a second. */
export const MAX_ENCODE_TEXTS = 256;
/** Most ids of one Delete call: one transaction of the store. */
export const MAX_DELETE_IDS = 10_000;

/**
 * Collection names have to be names in every store, in URLs and in file names; "--" separates the name of a
 * physical collection from its space.
 */
export const COLLECTION_NAME = /^(?!.*--)[\w-]{1,64}$/;

const IDENTITY = /^col_[0-9a-f]{32}$/;

const DECIMAL = /^\d{1,16}$/;

/** White space, control characters, and what Unicode says to show as nothing: U+200B, U+FEFF, variation selectors, ... */
export const VISIBLE = /[^\s\p{Cc}\p{Default_Ignorable_Code_Point}]/u;

/** Last second of the year 9999, where timestamps of Protocol Buffers end. */
const LAST_SECOND = 253_402_300_799;

/** Whether a text has no character that anybody could see. */
export function isBlank(text: string): boolean {
  return !VISIBLE.test(text);
}

/** Refuses an empty text (nothing but white space and invisible characters counts as empty) and all that {@link checkText} refuses. */
export function requireText(field: string, text: string, maxBytes: number): void {
  if (text === '') throw invalidArgument(field, 'is empty; send at least one character');
  checkText(field, text, maxBytes);
  if (isBlank(text)) {
    throw invalidArgument(
      field,
      'is white space only, or invisible characters; send at least one other character',
    );
  }
}

/** Refuses a text that is too long, or holds NUL or a lone surrogate; an empty one is fine. */
export function checkText(field: string, text: string, maxBytes: number): void {
  // A UTF-16 unit takes up to three bytes of UTF-8: most texts are short enough to need no counting.
  if (text.length * 3 > maxBytes) {
    const bytes = Buffer.byteLength(text);
    if (bytes > maxBytes) {
      throw invalidArgument(field, `is ${bytes} bytes long; send at most ${maxBytes}`);
    }
  }
  const nul = text.indexOf('\0');
  if (nul !== -1) throw invalidArgument(field, `has a NUL character at ${nul}; remove it`);
  if (!text.isWellFormed()) {
    throw invalidArgument(
      field,
      'has half a surrogate pair, which is no character; send well-formed Unicode',
    );
  }
}

/** Refuses what is no logical name of a collection. */
export function checkCollection(name: string, field = 'collection'): void {
  if (name === '') throw invalidArgument(field, 'is empty; name the collection');
  if (!COLLECTION_NAME.test(name)) {
    throw invalidArgument(
      field,
      `${quoted(name)} is no name; use 1 to 64 of a-z, A-Z, 0-9, "_" and "-", with no "--"`,
    );
  }
}

/** Refuses what is no identity of a collection. */
export function checkIdentity(identity: string, field: string): void {
  if (IDENTITY.test(identity)) return;
  throw invalidArgument(
    field,
    `is ${quoted(identity)}; send the identity of an IngestReady, "col_" and 32 hex digits, or leave it out`,
  );
}

/** Refuses what is no tenant; empty is the tenant of a single-tenant collection. */
export function checkTenant(tenant: string, field = 'tenant'): void {
  checkText(field, tenant, MAX_TENANT_BYTES);
}

/** Refuses what is no document id. */
export function checkDocumentId(id: string, field = 'id'): void {
  if (id === '') throw invalidArgument(field, `is empty; send 1 to ${MAX_ID_BYTES} bytes`);
  checkText(field, id, MAX_ID_BYTES);
}

/** A `uint64` as the loader gives it (a decimal string), as a number from 0 to 2^53 - 1. */
export function parseVersion(text: string, field = 'version'): number {
  const version = DECIMAL.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(version)) {
    throw invalidArgument(
      field,
      `is ${quoted(text)}; send a whole number from 0 to ${Number.MAX_SAFE_INTEGER}`,
    );
  }
  return version;
}

/** A sequence number of a stream, from 1 to 2^53 - 1, higher than the one before it. */
export function parseSequence(text: string, previous: number, field = 'sequence'): number {
  const sequence = parseVersion(text, field);
  if (sequence <= previous) {
    throw invalidArgument(
      field,
      previous === 0
        ? 'is 0; count from 1'
        : `is ${sequence}, after ${previous}; each must be higher than the one before`,
    );
  }
  return sequence;
}

/** How many documents to return. @default {@link DEFAULT_LIMIT} */
export function parseLimit(limit: number | undefined): number {
  if (limit === undefined) return DEFAULT_LIMIT;
  if (limit < 1 || limit > MAX_LIMIT) {
    throw invalidArgument(
      'limit',
      `is ${limit}; send 1 to ${MAX_LIMIT}, or leave it out for ${DEFAULT_LIMIT}`,
    );
  }
  return limit;
}

/** How many documents to skip. */
export function parseOffset(offset: number): number {
  if (offset > MAX_OFFSET) {
    throw invalidArgument(
      'offset',
      `is ${offset}; send at most ${MAX_OFFSET}, and narrow the search by a filter`,
    );
  }
  return offset;
}

/** Refuses NaN and infinities. */
export function checkFinite(field: string, value: number): void {
  if (!Number.isFinite(value)) throw invalidArgument(field, `is ${value}; send a finite number`);
}

/**
 * Refuses numbers that can't be kept as they were sent: NaN, infinities, and whole numbers that a double may have rounded
 * on the way here.
 */
export function checkExactNumber(field: string, value: number): void {
  checkFinite(field, value);
  if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
    throw invalidArgument(
      field,
      `is about ${value}; whole numbers past 2^53 - 1 arrive rounded, so send it as a string`,
    );
  }
}

/** Refuses a key of metadata that the path of no filter reaches. */
export function checkMetadataKey(path: string, key: string): void {
  if (key === '') throw invalidArgument(path, 'has an empty key, which no filter can name; name it');
  if (key.includes('"')) {
    throw invalidArgument(
      path,
      `has the key ${quoted(key)}; no filter can name a double quote, so take it out of the key`,
    );
  }
}

/** A moment as milliseconds since the epoch; what is finer is cut off. */
export function parseTimestamp({ seconds, nanos }: Timestamp__Output, field: string): number {
  const whole = Number(seconds);
  if (!(whole >= 0 && whole <= LAST_SECOND)) {
    throw invalidArgument(
      field,
      `is ${seconds} seconds after the epoch; send a time from 1970 to 9999, or leave it out`,
    );
  }
  if (!(nanos >= 0 && nanos <= 999_999_999)) {
    throw invalidArgument(field, `has ${nanos} nanoseconds; send 0 to 999999999`);
  }
  return whole * 1000 + Math.floor(nanos / 1_000_000);
}

/** What a caller sent, cut to a length that an error can bear. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > 64 ? `${text.slice(0, 63)}…` : text);
}
