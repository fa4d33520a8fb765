import { invalidArgument } from './errors.ts';
import type { Condition, Filter, FilterValue } from './store.ts';

/** Deepest nesting of a filter, itself included: more than people write, and not too much for any store. */
export const MAX_FILTER_DEPTH = 8;

/**
 * The object keys on a field's path through the document's metadata; `undefined` for `document_id` and
 * `version`, which are not metadata. A field cannot name a key with a dot in it, nor one with a quotation
 * mark, which Qdrant's paths cannot escape.
 *
 * @throws {StoreError} `STORE_INVALID_ARGUMENT`
 */
export function metadataPath(field: string): string[] | undefined {
  if (field === 'document_id' || field === 'version') return undefined;
  const [root, ...path] = field.split('.');
  if (root === 'metadata' && path.length > 0 && path.every((key) => key !== '' && !key.includes('"')))
    return path;
  throw invalidArgument(
    `filter field ${JSON.stringify(field)} is unknown; use "metadata.KEY" (dots lead into nested objects), ` +
      '"document_id" or "version"',
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

function checkValue(field: string, value: FilterValue): void {
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
