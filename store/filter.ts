import { invalidArgument } from './errors.ts';
import type { Condition, Filter, FilterValue } from './queries.ts';

/** Deepest nesting of a filter, itself included: more than people write, and not too much for any store. */
export const MAX_FILTER_DEPTH = 8;

/** Root of every field that is metadata. */
const METADATA = 'metadata.';

/** What a path means something by, and a key without quotes can't hold; Qdrant's paths have no escapes. */
const SPECIAL = /["[\]\\]/;

/** One key of a path with the dot behind it. */
const STEP = /(?:"(?<quoted>[^"\\]*)"|(?<plain>[^."[\]\\]+))(?<more>\.|$)/y;

/** Why a field names no path through metadata. */
export class PathError extends Error {
  override readonly name = 'PathError';
}

/**
 * The object keys on a field's path through the document's metadata; `undefined` for `document_id` and `version`, which
 * are not metadata.
 *
 * Keys have dots between them. One with a dot, a bracket or nothing in it stands in double quotes, and any other may:
 * `metadata."unit.price".net`. A key with a double quote or a backslash can't be named.
 *
 * @throws {StoreError} `STORE_INVALID_ARGUMENT`
 */
export function metadataPath(field: string): string[] | undefined {
  if (field === 'document_id' || field === 'version') return undefined;
  if (!field.startsWith(METADATA)) {
    throw invalidArgument(
      `filter field ${JSON.stringify(field)} is unknown; use "metadata.KEY" (dots lead into nested objects), ` +
        '"document_id" or "version"',
    );
  }
  try {
    return keysOf(field);
  } catch (error) {
    if (!(error instanceof PathError)) throw error;
    throw invalidArgument(`filter field ${JSON.stringify(field)} ${error.message}`);
  }
}

/** The keys of a field that begins with `metadata.`. @throws {PathError} saying what is wrong, and the fix */
export function keysOf(field: string): string[] {
  const path = field.slice(METADATA.length);
  // Most paths have nothing special, and a store may read a path for each document.
  if (SPECIAL.test(path)) return quotedKeysOf(path);
  const keys = path.split('.');
  if (keys.includes('')) throw new PathError(EMPTY_KEY);
  return keys;
}

function quotedKeysOf(path: string): string[] {
  const keys: string[] = [];
  let at = 0;
  for (;;) {
    STEP.lastIndex = at;
    const { quoted, plain, more } = STEP.exec(path)?.groups ?? {};
    const key = quoted ?? plain;
    if (key === undefined) throw new PathError(flawOf(path.slice(at)));
    keys.push(key);
    if (more === '') return keys;
    at = STEP.lastIndex;
  }
}

const EMPTY_KEY =
  'has an empty key; write metadata.KEY or metadata.KEY.KEY, and metadata."" for a key that is empty';

/** @param rest of a path, from the key that can't be read */
function flawOf(rest: string): string {
  if (rest === '' || rest.startsWith('.')) return EMPTY_KEY;
  if (/^[^"\\.]*[[\]]/.test(rest)) {
    return (
      'has a bracket: a path leads into no list (a condition on a list looks at its elements); write a key with ' +
      'brackets in double quotes: metadata."x[0]"'
    );
  }
  return (
    'has a double quote or a backslash out of place: a key is in double quotes as a whole, metadata."unit.price", ' +
    "and one that holds either can't be named"
  );
}

/**
 * The value at a path in a document's metadata; `undefined` if there is none. A path does not lead into
 * lists.
 */
export function readPath(metadata: unknown, path: readonly string[]): unknown {
  let value = metadata;
  for (const key of path) {
    if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, key)) {
      return undefined;
    }
    value = (value as Record<string, unknown>)[key];
  }
  return value;
}

/** Every field that a filter names, each once. */
export function filterFields(filter: Filter): Set<string> {
  const fields = new Set<string>();
  for (const condition of conditions(filter)) {
    if ('filter' in condition) for (const field of filterFields(condition.filter)) fields.add(field);
    else fields.add(condition.field);
  }
  return fields;
}

/** @throws {StoreError} `STORE_INVALID_ARGUMENT`, naming the condition, if a filter cannot be evaluated. */
export function checkFilter(filter: Filter, depth = 1): void {
  if (depth > MAX_FILTER_DEPTH) throw invalidArgument(`filter nests deeper than ${MAX_FILTER_DEPTH} levels`);
  for (const condition of conditions(filter)) {
    if ('filter' in condition) {
      checkFilter(condition.filter, depth + 1);
      continue;
    }
    const { field } = condition;
    metadataPath(field);
    if ('equals' in condition) {
      checkValue(field, condition.equals);
    } else if ('anyOf' in condition) {
      if (condition.anyOf.length === 0)
        throw invalidArgument(`any-of filter on "${field}" has no values; give at least one`);
      for (const value of condition.anyOf) checkValue(field, value);
    } else if ('range' in condition) {
      const bounds = Object.values(condition.range).filter((bound) => bound !== undefined);
      if (bounds.length === 0)
        throw invalidArgument(`range filter on "${field}" has no bound; give gt, gte, lt or lte`);
      if (bounds.some((bound) => Number.isNaN(bound)))
        throw invalidArgument(`range filter on "${field}" has a bound that is NaN`);
      const rounded = bounds.find((bound) => Number.isFinite(bound) && !isExact(bound));
      if (rounded !== undefined)
        throw invalidArgument(`range filter on "${field}" has a bound that ${inexact(rounded)}`);
    }
  }
}

/**
 * A filter as a predicate. It calls `reader` once for each field; `reader` returns a function that reads the
 * field of an item as a JSON value.
 */
export function compileFilter<Item>(
  filter: Filter,
  reader: (field: string) => (item: Item) => unknown,
): (item: Item) => boolean {
  const compile = (condition: Condition) => compileCondition(condition, reader);
  const must = filter.must?.map(compile) ?? [];
  if (filter.should && filter.should.length > 0) must.push(any(filter.should.map(compile)));
  if (filter.mustNot && filter.mustNot.length > 0) {
    const forbidden = any(filter.mustNot.map(compile));
    must.push((item) => !forbidden(item));
  }
  return all(must);
}

/** The parts of a document that a filter reads. */
export interface FilteredDocument {
  documentId: string;
  version: number;
  /** JSON value. */
  metadata: unknown;
}

/** A filter as a predicate on whole documents. */
export function documentFilter(filter: Filter): (document: FilteredDocument) => boolean {
  return compileFilter<FilteredDocument>(filter, (field) => {
    const path = metadataPath(field);
    if (path) return ({ metadata }) => readPath(metadata, path);
    return field === 'document_id' ? ({ documentId }) => documentId : ({ version }) => version;
  });
}

// Most filters have a single condition, which runs for every document: leave out the loop around it.
function all<Item>(tests: ((item: Item) => boolean)[]): (item: Item) => boolean {
  return tests.length === 1 ? tests[0]! : (item) => tests.every((holds) => holds(item));
}

function any<Item>(tests: ((item: Item) => boolean)[]): (item: Item) => boolean {
  return tests.length === 1 ? tests[0]! : (item) => tests.some((holds) => holds(item));
}

function compileCondition<Item>(
  condition: Condition,
  reader: (field: string) => (item: Item) => unknown,
): (item: Item) => boolean {
  if ('filter' in condition) return compileFilter(condition.filter, reader);
  const read = reader(condition.field);
  if ('exists' in condition) {
    return (item) => {
      const value = read(item);
      return value !== undefined && value !== null && !(Array.isArray(value) && value.length === 0);
    };
  }
  const test = valueTest(condition);
  return (item) => {
    const value = read(item);
    return Array.isArray(value) ? value.some(test) : test(value);
  };
}

function valueTest(
  condition: Exclude<Condition, { exists: true } | { filter: Filter }>,
): (value: unknown) => boolean {
  if ('equals' in condition) {
    const { equals } = condition;
    return (value) => value === equals;
  }
  if ('anyOf' in condition) {
    const values = new Set<unknown>(condition.anyOf);
    return (value) => values.has(value);
  }
  const { gt, gte, lt, lte } = condition.range;
  return (value) =>
    typeof value === 'number' &&
    (gt === undefined || value > gt) &&
    (gte === undefined || value >= gte) &&
    (lt === undefined || value < lt) &&
    (lte === undefined || value <= lte);
}

function conditions(filter: Filter): Condition[] {
  return [...(filter.must ?? []), ...(filter.should ?? []), ...(filter.mustNot ?? [])];
}

/** Whether a number is the only one that arrives as this double: from 2^53 on, doubles leave whole numbers out. */
export function isExact(value: number): boolean {
  return Math.abs(value) <= Number.MAX_SAFE_INTEGER;
}

/** What is wrong with a number that is not {@link isExact}, and the fix. */
export function inexact(value: number): string {
  return `is ${value}, beyond 2^53 - 1, where numbers are not exact; keep such values as text, and compare with text`;
}

function checkValue(field: string, value: FilterValue): void {
  if (typeof value === 'number' && Number.isFinite(value) && !isExact(value)) {
    throw invalidArgument(`filter on "${field}" has a value that ${inexact(value)}`);
  }
  if (
    typeof value === 'number'
      ? Number.isFinite(value)
      : typeof value === 'string' || typeof value === 'boolean'
  ) {
    return;
  }
  throw invalidArgument(
    `filter on "${field}" compares with ${String(value)}; use a string, a finite number or a boolean`,
  );
}
