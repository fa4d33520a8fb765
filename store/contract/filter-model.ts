import * as fc from 'fast-check';
import type { Condition, Filter } from '../queries.ts';

interface Document {
  documentId: string;
  version: number;
  metadata: Readonly<Record<string, unknown>>;
}

/** What a filter means, written as plainly as can be. */
export function holds(filter: Filter, document: Document): boolean {
  const { must = [], should = [], mustNot = [] } = filter;
  const condition = (one: Condition) => conditionHolds(one, document);
  if (must.some((one) => !condition(one))) return false;
  if (should.length > 0 && !should.some(condition)) return false;
  return !mustNot.some(condition);
}

function conditionHolds(condition: Condition, document: Document): boolean {
  if ('filter' in condition) return holds(condition.filter, document);
  const value = lookUp(condition.field, document);
  if ('exists' in condition) return value !== undefined && value !== null && JSON.stringify(value) !== '[]';
  const elements: unknown[] = Array.isArray(value) ? value : [value];
  if ('equals' in condition) return elements.includes(condition.equals);
  if ('anyOf' in condition) return elements.some((element) => condition.anyOf.some((one) => one === element));
  const { gt = -Infinity, gte = -Infinity, lt = Infinity, lte = Infinity } = condition.range;
  return elements.some(
    (element) =>
      typeof element === 'number' && element > gt && element >= gte && element < lt && element <= lte,
  );
}

function lookUp(field: string, document: Document): unknown {
  if (field === 'document_id') return document.documentId;
  if (field === 'version') return document.version;
  const [outer, inner] = PATHS.get(field)!;
  const value = document.metadata[outer];
  if (inner === undefined) return value;
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)[inner]
    : undefined;
}

/** Values are few, so that filters often hold. */
const scalar = fc.constantFrom<(string | number | boolean)[]>(
  'x',
  'y',
  '',
  '1',
  'true',
  0,
  1,
  -1,
  1.5,
  true,
  false,
);
const leaf = fc.oneof(
  { weight: 4, arbitrary: scalar },
  { weight: 2, arbitrary: fc.array(fc.oneof(scalar, fc.constant(null)), { maxLength: 3 }) },
  { weight: 1, arbitrary: fc.constant(null) },
);
/** One of them has to be quoted in a path, and looks like a path of the others without its quotes. */
const KEYS = ['a', 'b', 'a.b'] as const;

/** The keys that each field leads through, one or two. */
const PATHS: ReadonlyMap<string, readonly [string, string?]> = new Map(
  KEYS.flatMap((outer) =>
    [[outer] as const, ...KEYS.map((inner) => [outer, inner] as const)].map(
      (keys): [string, readonly [string, string?]] => [fieldOf(...keys), keys],
    ),
  ),
);

function fieldOf(...keys: readonly string[]): string {
  return ['metadata', ...keys.map((key) => (key.includes('.') ? `"${key}"` : key))].join('.');
}

/** Metadata of a document: three keys, some of them absent, some of them objects. */
export const metadata: fc.Arbitrary<Record<string, unknown>> = fc.dictionary(
  fc.constantFrom(...KEYS),
  fc.oneof(
    { weight: 3, arbitrary: leaf },
    { weight: 1, arbitrary: fc.dictionary(fc.constantFrom(...KEYS), leaf) },
  ),
);

const key = fc.constantFrom(...KEYS);
const field = fc.oneof(
  { weight: 5, arbitrary: key.map((outer) => fieldOf(outer)) },
  { weight: 2, arbitrary: fc.tuple(key, key).map(([outer, inner]) => fieldOf(outer, inner)) },
  { weight: 1, arbitrary: fc.constant('version') },
);
const bound = fc.constantFrom(-2, -1, 0, 0.5, 1, 1.5, 3);
const range = fc
  .record({ gt: bound, gte: bound, lt: bound, lte: bound }, { requiredKeys: [] })
  .filter((bounds) => Object.keys(bounds).length > 0);

const simple: fc.Arbitrary<Condition> = fc.oneof(
  fc.record({ field, equals: scalar }),
  fc.record({ field, anyOf: fc.array(scalar, { minLength: 1, maxLength: 3 }) }),
  fc.record({ field, range }),
  fc.record({ field, exists: fc.constant<true>(true) }),
);

/** Any filter, nested up to `depth` times. */
export function filter(depth: number): fc.Arbitrary<Filter> {
  const condition: fc.Arbitrary<Condition> =
    depth === 0
      ? simple
      : fc.oneof(
          { weight: 4, arbitrary: simple },
          { weight: 1, arbitrary: fc.record({ filter: filter(depth - 1) }) },
        );
  const conditions = fc.array(condition, { maxLength: 2 });
  return fc.record({ must: conditions, should: conditions, mustNot: conditions }, { requiredKeys: [] });
}
