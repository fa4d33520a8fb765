import { invalidArgument } from './errors.ts';
import { keysOf, metadataPath, PathError } from './filter.ts';

/** Metadata fields that have an index: what facets and orders may be asked of, and filters are fastest on. */

/** The type of an indexed metadata field. In Qdrant a filter on the field finds values of this type only. */
export const FIELD_TYPES = ['keyword', 'integer', 'float', 'bool'] as const;
export type FieldType = (typeof FIELD_TYPES)[number];

export function isFieldType(type: string): type is FieldType {
  return FIELD_TYPES.some((known) => known === type);
}

/** Most fields that a collection indexes: each takes memory for every document. */
export const MAX_INDEXED_FIELDS = 32;

/** What a key without quotes can't hold; see `metadataPath`. */
const QUOTED = /[."[\]\\]|^$/;

/** A field by its keys, in the one spelling that fields are compared in. */
export function metadataField(keys: readonly string[]): string {
  return `metadata.${keys.map((key) => (QUOTED.test(key) ? `"${key}"` : key)).join('.')}`;
}

/**
 * A metadata field that is to be indexed, in its one spelling.
 *
 * @throws {StoreError} `STORE_INVALID_ARGUMENT` where it is no metadata, or the type is none of {@link FIELD_TYPES}
 */
export function checkIndexed(field: string, type: string): string {
  const keys = metadataPath(field);
  if (!keys) throw invalidArgument(`field "${field}" is part of every document; index "metadata.KEY"`);
  if (!isFieldType(type)) {
    throw invalidArgument(`field "${field}" is to be indexed as "${type}"; use ${FIELD_TYPES.join(', ')}`);
  }
  return metadataField(keys);
}

/** The fields, each with its type, in the one spelling and the order of their names. @param paths below the metadata */
export function indexedFieldsOf(
  paths: Iterable<readonly [path: string, type: string]>,
): Record<string, string> {
  const fields: [string, string][] = [];
  for (const [path, type] of paths) {
    try {
      fields.push([metadataField(keysOf(`metadata.${path}`)), type]);
    } catch (error) {
      // A path into the elements of a list is no field of ours.
      if (!(error instanceof PathError)) throw error;
    }
  }
  return Object.fromEntries(fields.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** @throws {StoreError} `STORE_INVALID_ARGUMENT` where a collection has an index of another type, or too many */
export function checkRoom(indexed: Readonly<Record<string, string>>, field: string, type: string): void {
  const there = indexed[field];
  if (there !== undefined && there !== type) {
    throw invalidArgument(
      `field "${field}" is indexed as ${there} already; its type can't be changed to ${type}`,
    );
  }
  if (there === undefined && Object.keys(indexed).length >= MAX_INDEXED_FIELDS) {
    throw invalidArgument(
      `${MAX_INDEXED_FIELDS} fields are indexed already, and "${field}" would be one more`,
    );
  }
}
