import type { Struct, Struct__Output } from './generated/google/protobuf/Struct.ts';
import type { Value, Value__Output } from './generated/google/protobuf/Value.ts';

/** A value that JSON can write. Numbers are finite. */
export type JsonValue = string | number | boolean | null | JsonValue[] | JsonObject;

/** A JSON object. */
export interface JsonObject {
  [key: string]: JsonValue;
}

/**
 * Deepest nesting of a JSON object, itself included. Implementations of Protocol Buffers read messages that are nested
 * 100 deep and refuse the rest (https://protobuf.dev/programming-guides/proto-limits/); a level of JSON takes three
 * (Struct, its map entry, Value), and what it travels in three more at the most.
 */
export const MAX_JSON_DEPTH = 32;

/**
 * A JSON object as `google.protobuf.Struct`. Keys whose value is `undefined` are left out, as JSON does.
 *
 * @throws {TypeError} where a value is one that JSON cannot write, or is nested deeper than {@link MAX_JSON_DEPTH}; the
 *   message names its path.
 */
export function toStruct(object: Readonly<Record<string, unknown>>, path = '', depth = 1): Struct {
  if (depth > MAX_JSON_DEPTH) throw tooDeep(path);
  const fields: [key: string, value: Value][] = [];
  for (const [key, value] of Object.entries(object)) {
    if (value !== undefined) fields.push([key, toValue(value, path === '' ? key : `${path}.${key}`, depth)]);
  }
  // Not by assignment: a key named "__proto__" must become a property like any other.
  return { fields: Object.fromEntries(fields) };
}

/** A JSON value as `google.protobuf.Value`, inside of `depth` others; see {@link toStruct}. */
export function toValue(value: unknown, path = 'value', depth = 0): Value {
  if (value === null) return { nullValue: 'NULL_VALUE' };
  if (typeof value === 'string') return { stringValue: value };
  if (typeof value === 'boolean') return { boolValue: value };
  if (typeof value === 'number' && Number.isFinite(value)) return { numberValue: value };
  if (Array.isArray(value)) {
    if (depth === MAX_JSON_DEPTH) throw tooDeep(path);
    const values = value.map((item, index) => toValue(item, `${path}[${index}]`, depth + 1));
    return { listValue: { values } };
  }
  if (typeof value === 'object' && isPlain(value)) return { structValue: toStruct(value, path, depth + 1) };
  throw new TypeError(
    `${path} is not a JSON value; use strings, finite numbers, booleans, null, lists or objects`,
  );
}

/** The JSON object that a decoded `google.protobuf.Struct` stands for; an absent one is empty. */
export function fromStruct(struct: Struct__Output | null | undefined): JsonObject {
  // A key named "__proto__" must become a property like any other, as `fromEntries` makes it.
  return Object.fromEntries(
    Object.entries(struct?.fields ?? {}).map(([key, value]) => [key, fromValue(value)]),
  );
}

/** The JSON value that a decoded `google.protobuf.Value` stands for; one with nothing set is null. */
export function fromValue(value: Value__Output): JsonValue {
  switch (value.kind) {
    case 'stringValue':
      return value.stringValue ?? '';
    case 'numberValue':
      return value.numberValue ?? 0;
    case 'boolValue':
      return value.boolValue ?? false;
    case 'structValue':
      return fromStruct(value.structValue);
    case 'listValue':
      return (value.listValue?.values ?? []).map(fromValue);
    default:
      return null;
  }
}

function tooDeep(path: string): TypeError {
  return new TypeError(`${path} is nested deeper than ${MAX_JSON_DEPTH} levels; write it flatter`);
}

function isPlain(value: object): value is Record<string, unknown> {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
