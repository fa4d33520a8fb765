import { invalidArgument } from './errors.ts';
import { checkFilter } from './filter.ts';
import type { Filter, SearchQuery } from './queries.ts';
import type { Ingested, SparseVector } from './document.ts';
import type { DocumentWrite } from './writes.ts';

/** A norm this close to 1 counts as 1: the difference is float32 rounding. */
const UNIT_TOLERANCE = 1e-6;

/**
 * The factor that scales a vector to unit length; exactly 1 for a unit vector.
 *
 * @param what names the vector in the error
 * @throws {StoreError} `STORE_INVALID_ARGUMENT` if a component is not finite, or all are zero
 */
export function unitFactor(vector: Float32Array, what: string): number {
  let squares = 0;
  for (let index = 0; index < vector.length; index++) squares += vector[index]! * vector[index]!;
  if (!Number.isFinite(squares)) {
    const index = vector.findIndex((component) => !Number.isFinite(component));
    throw invalidArgument(`${what} has ${vector[index]} at index ${index}; every component has to be finite`);
  }
  if (squares === 0) throw invalidArgument(`${what} is zero; it has no direction to compare`);
  const norm = Math.sqrt(squares);
  return Math.abs(norm - 1) <= UNIT_TOLERANCE ? 1 : 1 / norm;
}

/** @throws {StoreError} `STORE_INVALID_ARGUMENT` if the vector's length differs from the collection's. */
export function checkDimensions(vector: Float32Array, dimensions: number, what: string): void {
  if (vector.length !== dimensions) {
    throw invalidArgument(`${what} has ${vector.length} dimensions; the collection has ${dimensions}`);
  }
}

/** @throws {StoreError} as {@link checkDimensions}, for every vector of some steps */
export function checkWriteDimensions(writes: readonly SizedWrite[], dimensions: number): void {
  for (const [index, write] of writes.entries()) {
    for (const [passage, { vector }] of (write.passages ?? []).entries()) {
      checkDimensions(vector, dimensions, vectorName(write, index, passage));
    }
  }
}

/** The part of a write that {@link checkWriteDimensions} reads. */
interface SizedWrite {
  documentId: string;
  passages?: readonly { vector: Float32Array }[];
}

/** @throws {StoreError} `STORE_INVALID_ARGUMENT`, naming the step and what is wrong with it. Does not check dense vectors. */
export function checkWrites(writes: readonly DocumentWrite[]): void {
  for (const [index, write] of writes.entries()) {
    const what = writeName(write, index);
    checkText(write.tenant, `tenant of ${what}`);
    checkText(write.documentId, `document id of ${what}`);
    if (write.documentId === '') throw invalidArgument(`document id of write ${index} is empty`);
    if (!Number.isSafeInteger(write.version) || write.version < 0) {
      throw invalidArgument(`version of ${what} is ${write.version}; use a whole number from 0 to 2^53 - 1`);
    }
    if (write.kind === 'put' || write.kind === 'update') {
      checkExpiry(write.expiresAt, what);
      checkIngested(write.ingested, what);
    }
    if (write.kind !== 'put') continue;
    if (write.passages.length === 0)
      throw invalidArgument(`${what} has no passages; a document has at least one`);
    for (const [passage, { sparse, words = [] }] of write.passages.entries()) {
      if (sparse) checkSparse(sparse, `sparse vector of passage ${passage} of ${what}`);
      checkWords(words, `words of passage ${passage} of ${what}`);
    }
  }
}

function checkExpiry(expiresAt: number | undefined, what: string): void {
  if (expiresAt === undefined || (Number.isSafeInteger(expiresAt) && expiresAt >= 0)) return;
  throw invalidArgument(
    `expiry of ${what} is ${expiresAt}; use a whole number of milliseconds since the epoch, from 0`,
  );
}

function checkIngested(ingested: Ingested | undefined, what: string): void {
  if (!ingested) return;
  for (const part of ['at', 'sequence'] as const) {
    if (Number.isSafeInteger(ingested[part]) && ingested[part] >= 0) continue;
    throw invalidArgument(`"${part}" of how ${what} came in is ${ingested[part]}; use a whole number from 0`);
  }
  if (ingested.trace === undefined || /^[0-9a-f]{32}$/.test(ingested.trace)) return;
  throw invalidArgument(`the trace that ${what} came in with is not 32 hex digits`);
}

/** @throws {StoreError} `STORE_INVALID_ARGUMENT`, naming the field. Does not check the dense vector. */
export function checkQuery(query: SearchQuery): void {
  checkScope(query.tenant, query.filter);
  if (!query.vector && !query.sparse)
    throw invalidArgument('a search needs a vector, a sparse vector or both');
  if (query.sparse) checkSparse(query.sparse, 'sparse query vector');
  checkLimit(query.limit);
  const offset = query.offset ?? 0;
  if (!Number.isSafeInteger(offset) || offset < 0)
    throw invalidArgument(`offset is ${offset}; use a whole number from 0`);
  if (Number.isNaN(query.scoreThreshold)) throw invalidArgument('score threshold is NaN');
}

/**
 * Checks the documents that a call names. @throws {StoreError} `STORE_INVALID_ARGUMENT`, naming what is wrong
 */
export function checkScope(tenant: string, filter: Filter | undefined): void {
  checkText(tenant, 'tenant');
  if (filter) checkFilter(filter);
}

/** @throws {StoreError} `STORE_INVALID_ARGUMENT` if the limit is not a whole number from 1. */
export function checkLimit(limit: number): void {
  if (!Number.isSafeInteger(limit) || limit < 1)
    throw invalidArgument(`limit is ${limit}; use a whole number from 1`);
}

/** Rejects lone surrogates: UTF-8 writes each of them as the same character, so different strings would collide. */
export function checkText(text: string, what: string): void {
  if (!text.isWellFormed()) throw invalidArgument(`${what} has a lone surrogate; use well-formed Unicode`);
}

/** Metadata as JSON. @throws {StoreError} `STORE_INVALID_ARGUMENT` if JSON cannot express them */
export function metadataJson(metadata: Readonly<Record<string, unknown>>, what: string): string {
  try {
    return JSON.stringify(metadata);
  } catch (error) {
    throw invalidArgument(`metadata of ${what} are not JSON: ${String(error)}`);
  }
}

/** The name of a step in errors. */
export function writeName({ documentId }: { documentId: string }, index: number): string {
  return `write ${index} ("${documentId}")`;
}

/** The name of a vector in errors. */
export function vectorName(write: { documentId: string }, index: number, passage: number): string {
  return `vector of passage ${passage} of ${writeName(write, index)}`;
}

/** First characters that say what kind of word follows. */
const MARKS = { first: 1, last: 8 };

/** Whether something is a word, after one mark at most. */
function isCounted(word: string): boolean {
  for (let index = 0; index < word.length; index++) {
    const unit = word.charCodeAt(index);
    const isMark = index === 0 && unit >= MARKS.first && unit <= MARKS.last && word.length > 1;
    if (unit < 0x20 && !isMark) return false;
  }
  return word !== '';
}

function checkWords(words: readonly string[], what: string): void {
  for (const word of words) {
    checkText(word, what);
    if (!isCounted(word)) {
      throw invalidArgument(`${what}: ${JSON.stringify(word)} is empty, or has a control character in it`);
    }
  }
  if (new Set(words).size !== words.length) throw invalidArgument(`${what} have a word twice`);
}

function checkSparse({ indices, values }: SparseVector, what: string): void {
  if (indices.length !== values.length) {
    throw invalidArgument(
      `${what} has ${indices.length} indices and ${values.length} values; give as many of each`,
    );
  }
  if (indices.some((index) => !Number.isInteger(index) || index < 0 || index > 0xffff_ffff)) {
    throw invalidArgument(`${what} has an index that is not an unsigned 32-bit integer`);
  }
  if (new Set(indices).size !== indices.length) throw invalidArgument(`${what} has an index twice`);
  // Stores keep weights as float32, which turns a value that is too large or too small into infinity or zero.
  if (values.some((value) => !(Math.fround(value) > 0 && Math.fround(value) < Infinity))) {
    throw invalidArgument(`${what} has a value that is not positive and finite as float32`);
  }
}
