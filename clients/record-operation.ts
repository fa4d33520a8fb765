import { VERSION_RANGE } from './exact-json.ts';
import type { DeleteInput, DocumentInput, PatchInput } from './operation.ts';

/** What a record of a document may hold; `_id` is how BEIR's files call the identifier. */
export const RECORD_KEYS: ReadonlySet<string> = new Set(
  '_id id title text metadata version expires_at'.split(' '),
);

const DELETE_KEYS: ReadonlySet<string> = new Set(['delete', 'version']);
const PATCH_KEYS: ReadonlySet<string> = new Set(['patch', 'set', 'remove', 'version']);

/** What a record asks for. */
export type RecordOperation = DocumentInput | DeleteInput | PatchInput;

/**
 * A JSON object as an operation of an ingest:
 *
 * - `{"id", "title", "text", "metadata", "version", "expires_at"}` adds or replaces a document (`_id` is `id`);
 * - `{"delete": ID, "version"}` deletes one;
 * - `{"patch": ID, "set": {KEY: VALUE}, "remove": [KEY], "version"}` changes metadata alone.
 *
 * `expires_at` is a date or a time with its zone, as ISO 8601 writes it.
 *
 * @throws {Error} naming the key and the fix
 */
export function toOperation(value: unknown): RecordOperation {
  if (!isObject(value)) {
    throw new Error('is not a JSON object; write {"id": ..., "title": ..., "text": ...}');
  }
  if ('delete' in value) return toDelete(value);
  if ('patch' in value) return toPatch(value);
  return toDocument(value);
}

function toDocument(object: Readonly<Record<string, unknown>>): DocumentInput {
  const unknown = Object.keys(object).find((key) => !RECORD_KEYS.has(key));
  if (unknown !== undefined) {
    throw new Error(`key "${unknown}" is not known; put it under "metadata" to keep it`);
  }
  if (object['_id'] !== undefined && object['id'] !== undefined) {
    throw new Error('"_id" and "id" are the same thing; keep one of them');
  }
  const { _id, id = _id, title = '', text = '', metadata = {}, expires_at } = object;
  if (typeof id !== 'string' || id === '') throw new Error('"id" must be a text that is not empty');
  if (typeof title !== 'string') throw new Error('"title" must be a text');
  if (typeof text !== 'string') throw new Error('"text" must be a text');
  const version = toVersion(object);
  if (!isObject(metadata)) throw new Error('"metadata" must be an object');
  return {
    id,
    title,
    text,
    version,
    metadata,
    ...(expires_at !== undefined && { expiresAt: toTime(expires_at) }),
  };
}

function toDelete(object: Readonly<Record<string, unknown>>): DeleteInput {
  refuseOthers(object, DELETE_KEYS, 'a delete has "delete" and "version" alone');
  const { delete: id } = object;
  if (typeof id !== 'string' || id === '') throw new Error('"delete" must be the id of a document');
  return { delete: id, version: toVersion(object) };
}

function toPatch(object: Readonly<Record<string, unknown>>): PatchInput {
  refuseOthers(object, PATCH_KEYS, 'a patch has "patch", "set", "remove" and "version" alone');
  const { patch: id, set = {}, remove = [] } = object;
  if (typeof id !== 'string' || id === '') throw new Error('"patch" must be the id of a document');
  if (!isObject(set)) throw new Error('"set" must be an object of metadata');
  if (!Array.isArray(remove) || !remove.every((key) => typeof key === 'string')) {
    throw new Error('"remove" must be a list of keys of the metadata');
  }
  return { patch: id, set, remove, version: toVersion(object) };
}

function refuseOthers(object: object, keys: ReadonlySet<string>, allowed: string): void {
  const unknown = Object.keys(object).find((key) => !keys.has(key));
  if (unknown !== undefined) throw new Error(`key "${unknown}" is not known; ${allowed}`);
}

function toVersion({ version = 0 }: { version?: unknown }): number {
  if (typeof version !== 'number') {
    throw new Error(`"version" is ${JSON.stringify(version)}, but must be ${VERSION_RANGE}`);
  }
  return version;
}

const TIME =
  /^(?<year>\d{4})-(?<month>\d\d)-(?<day>\d\d)(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d))?$/i;

function toTime(value: unknown): Date {
  const parts = typeof value === 'string' ? TIME.exec(value)?.groups : undefined;
  const time = new Date(parts ? (value as string) : Number.NaN);
  // A day that its month does not have would be taken for one of the next month.
  const day =
    parts && new Date(Date.UTC(Number(parts['year']), Number(parts['month']) - 1, Number(parts['day'])));
  if (Number.isNaN(time.getTime()) || day?.getUTCDate() !== Number(parts?.['day'])) {
    throw new Error(
      '"expires_at" must be a date, or a time with its zone, such as "2030-01-31" or "2030-01-31T12:00:00Z"',
    );
  }
  return time;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
