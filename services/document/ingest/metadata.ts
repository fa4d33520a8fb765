import type { JsonObject, JsonValue } from '../../../proto/struct.ts';
import { MAX_JSON_DEPTH } from '../../../proto/struct.ts';
import { canonicalJson } from '../../../towers/json.ts';
import { invalidArgument } from '../../runtime/errors.ts';
import { checkExactNumber, checkMetadataKey, checkText, MAX_METADATA_BYTES } from '../../runtime/validate.ts';

/**
 * @returns length in bytes of JSON
 * @throws {ServiceError} `INVALID_ARGUMENT`, naming the path
 */
export function checkMetadata(field: string, metadata: JsonObject): number {
  const bytes = checkMetadataBytes(field, metadata);
  checkValue(field, metadata, { depth: 1, isInList: false });
  return bytes;
}

/** @returns length in bytes of JSON @throws {ServiceError} `INVALID_ARGUMENT` where there is too much */
export function checkMetadataBytes(field: string, metadata: JsonObject): number {
  const bytes = Buffer.byteLength(JSON.stringify(metadata));
  if (bytes > MAX_METADATA_BYTES) {
    throw invalidArgument(
      field,
      `is ${bytes} bytes long as JSON; send at most ${MAX_METADATA_BYTES}, what you filter by or show`,
    );
  }
  return bytes;
}

/** Metadata with some keys set and others removed; `undefined` where that changes nothing. */
export function patchedMetadata(
  metadata: JsonObject,
  { set, remove }: { set: JsonObject; remove: readonly string[] },
): JsonObject | undefined {
  const removed = new Set(remove);
  const kept = Object.entries(metadata).filter(([key]) => !removed.has(key));
  // Not by spread or assignment: a key named "__proto__" must become a property like any other.
  const patched = Object.fromEntries([...kept, ...Object.entries(set)]);
  return canonicalJson(patched) === canonicalJson(metadata) ? undefined : patched;
}

/** Filters reach into objects, not into lists: a key within a list may be anything. */
function checkValue(path: string, value: JsonValue, at: { depth: number; isInList: boolean }): void {
  const { depth, isInList } = at;
  if (typeof value === 'object' && value !== null && depth > MAX_JSON_DEPTH) {
    throw invalidArgument(path, `is nested deeper than ${MAX_JSON_DEPTH} levels; write it flatter`);
  }
  if (typeof value === 'string') {
    checkText(path, value, MAX_METADATA_BYTES);
  } else if (typeof value === 'number') {
    checkExactNumber(path, value);
  } else if (Array.isArray(value)) {
    value.forEach((item, index) =>
      checkValue(`${path}[${index}]`, item, { depth: depth + 1, isInList: true }),
    );
  } else if (typeof value === 'object' && value !== null) {
    for (const [key, item] of Object.entries(value)) {
      checkText(`${path}: a key`, key, MAX_METADATA_BYTES);
      if (!isInList) checkMetadataKey(path, key);
      checkValue(`${path}.${key}`, item, { depth: depth + 1, isInList });
    }
  }
}
