import { metadataPath } from '../../filter.ts';
import type { Filter } from '../../queries.ts';
import {
  EVERYTHING,
  type FieldCondition,
  keyPath,
  NOTHING,
  onKey,
  type QdrantCondition,
  type QdrantFilter,
  toQdrant,
} from '../filters.ts';
import { type PayloadReader, pointIdOf } from './mapping.ts';

/** Every document that we read in a collection of others has this version. */
export const ADOPTED_VERSION = 0;

/** A checked filter over documents as a filter over payloads that others wrote. */
export function adoptedFilter(
  reader: PayloadReader,
  filter: Filter | undefined,
  ...rest: QdrantCondition[]
): QdrantFilter {
  const own = filter && (toQdrant(filter, (one) => translated(reader, one)) as QdrantCondition);
  const must = [...rest, ...(own && Object.keys(own).length > 0 ? [own] : [])];
  return must.length > 0 ? { must } : {};
}

/** Holds for the points of some documents. */
export function ofDocuments(reader: PayloadReader, ids: readonly string[]): QdrantCondition {
  const points = ids.map(pointIdOf).filter((id) => id !== undefined);
  const byPoint: QdrantCondition = { has_id: points };
  if (!reader.grouped) return byPoint;
  const key = keyPath(reader.idPath);
  const numbers = points.filter((id) => typeof id === 'number');
  return {
    should: [
      { key, match: { any: [...ids] } },
      ...numbers.map((value): QdrantCondition => ({ key, range: { gte: value, lte: value } })),
      // A point without an id of a document is a document of its own.
      ...(points.length > 0 ? [{ must: [{ is_empty: { key } }, byPoint] }] : []),
    ],
  };
}

function translated(reader: PayloadReader, one: FieldCondition): QdrantCondition {
  const path = metadataPath(one.field);
  if (path) {
    const isHidden = reader.metadataPath.length === 0 && reader.mapping.hidden.includes(path[0]!);
    return isHidden ? NOTHING : onKey(keyPath([...reader.metadataPath, ...path]), one);
  }
  if (one.field === 'version') return ofVersion(one) ? EVERYTHING : NOTHING;
  if ('exists' in one) return EVERYTHING;
  if ('range' in one) return NOTHING;
  const values: readonly unknown[] = 'equals' in one ? [one.equals] : one.anyOf;
  const ids = values.filter((value) => typeof value === 'string');
  return ids.length > 0 ? ofDocuments(reader, ids) : NOTHING;
}

function ofVersion(one: FieldCondition): boolean {
  if ('exists' in one) return true;
  if ('equals' in one) return one.equals === ADOPTED_VERSION;
  if ('anyOf' in one) return one.anyOf.includes(ADOPTED_VERSION);
  const { gt = -Infinity, gte = -Infinity, lt = Infinity, lte = Infinity } = one.range;
  return ADOPTED_VERSION > gt && ADOPTED_VERSION >= gte && ADOPTED_VERSION < lt && ADOPTED_VERSION <= lte;
}
