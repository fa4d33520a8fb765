import { metadataPath } from '../filter.ts';
import type { Condition, Filter, FilterValue } from '../queries.ts';
import type { Schemas } from '@qdrant/js-client-rest';

export type QdrantFilter = Schemas['Filter'];
export type QdrantCondition = Schemas['Condition'];

/** A condition on a field, without nested filters. */
export type FieldCondition = Exclude<Condition, { filter: Filter }>;

/** Holds for nothing. */
export const NOTHING: QdrantCondition = { has_id: [] };

/** Holds for everything. */
export const EVERYTHING: QdrantCondition = { must_not: [NOTHING] };

/** Keys that a Qdrant path takes as they are; others need quotation marks. */
const PLAIN_KEY = /^[A-Za-z0-9_]+$/;

/**
 * A checked filter as a Qdrant filter.
 *
 * @param leaf translates the conditions on fields. @default for payloads of our own layout
 */
export function toQdrant(filter: Filter, leaf = ownField): QdrantFilter {
  const { must = [], should = [], mustNot = [] } = filter;
  const condition = (one: Condition): QdrantCondition => {
    if (!('filter' in one)) return leaf(one);
    const inner = toQdrant(one.filter, leaf);
    // An empty filter holds for everything, as a condition too.
    return Object.keys(inner).length > 0 ? inner : EVERYTHING;
  };
  return {
    ...(must.length > 0 && { must: must.map(condition) }),
    ...(should.length > 0 && { should: should.map(condition) }),
    ...(mustNot.length > 0 && { must_not: mustNot.map(condition) }),
  };
}

/** A field as a Qdrant path into a point's payload. */
export function payloadPath(field: string): string {
  const path = metadataPath(field);
  return path ? keyPath(['metadata', ...path]) : field;
}

/** Keys as a Qdrant path into a point's payload. */
export function keyPath(keys: readonly string[]): string {
  return keys.map((key) => (PLAIN_KEY.test(key) ? key : `"${key}"`)).join('.');
}

/** Matches the points of one tenant that match a filter and have not expired. */
export function ofTenant(tenant: string, filter?: Filter, ...rest: QdrantCondition[]): QdrantFilter {
  return {
    must: [equals('tenant', tenant), ...rest, ...(filter ? [toQdrant(filter) as QdrantCondition] : [])],
    must_not: [expired(Date.now())],
  };
}

/** Holds for points of documents that have expired at a moment, in milliseconds since the epoch. */
export function expired(now: number): QdrantCondition {
  return { key: 'expires_at', range: { lte: now } };
}

/** Holds if a field of the payload equals a value, or has it as an element. */
export function equals(key: string, value: FilterValue): QdrantCondition {
  // Qdrant's match takes strings, booleans and whole numbers; a range takes all numbers.
  if (typeof value === 'number') return { key, range: { gte: value, lte: value } };
  return { key, match: { value } };
}

/** Holds if a field of the payload is one of some strings. */
export function anyOf(key: string, values: readonly string[]): QdrantCondition {
  return { key, match: { any: [...values] } };
}

function ownField(one: FieldCondition): QdrantCondition {
  return onKey(payloadPath(one.field), one);
}

/** A condition on what is at a path of the payload. */
export function onKey(key: string, one: FieldCondition): QdrantCondition {
  if ('exists' in one) return { must_not: [{ is_empty: { key } }] };
  if ('equals' in one) return equals(key, one.equals);
  if ('range' in one) return range(key, one.range);
  const strings = one.anyOf.filter((value) => typeof value === 'string');
  const others = one.anyOf.filter((value) => typeof value !== 'string');
  return {
    should: [
      ...(strings.length > 0 ? [anyOf(key, strings)] : []),
      ...others.map((value) => equals(key, value)),
    ],
  };
}

/** JSON has no infinities, so leave out a bound that holds for every number. */
function range(key: string, { gt, gte, lt, lte }: Schemas['Range']): QdrantCondition {
  if (gt === Infinity || gte === Infinity || lt === -Infinity || lte === -Infinity) return NOTHING;
  const bounds = Object.entries({ gt, gte, lt, lte }).filter(([, bound]) => Number.isFinite(bound));
  if (bounds.length === 0) return { key, range: { gte: -Number.MAX_VALUE } };
  return { key, range: Object.fromEntries(bounds) };
}
