import type { Struct, Struct__Output } from './generated/google/protobuf/Struct.ts';
import type { Value, Value__Output } from './generated/google/protobuf/Value.ts';

/** A value that JSON can write. Numbers are finite. */
export type JsonValue = string | number | boolean | null | JsonValue[] | JsonObject;

/** A JSON object. */
export interface JsonObject {
  [key: string]: JsonValue;
}

/**
 * A JSON object as `google.protobuf.Struct`. Keys whose value is `undefined` are left out, as JSON does.
 *
 * @throws {TypeError} where a value is one that JSON cannot write; the message names its path.
 */
export function toStruct(object: Readonly<Record<string, unknown>>, path = ''): Struct {
  const fields: Record<string, Value> = {};
  for (const [key, value] of Object.entries(object)) {
    if (value !== undefined) fields[key] = toValue(value, path === '' ? key : `${path}.${key}`);
  }
  return { fields };
}

/** A JSON value as `google.protobuf.Value`; see {@link toStruct}. */
export function toValue(value: unknown, path = 'value'): Value {
  if (value === null) return { nullValue: 'NULL_VALUE' };
  if (typeof value === 'string') return { stringValue: value };
  if (typeof value === 'boolean') return { boolValue: value };
  if (typeof value === 'number' && Number.isFinite(value)) return { numberValue: value };
  if (Array.isArray(value)) {
    return { listValue: { values: value.map((item, index) => toValue(item, `${path}[${index}]`)) } };
  }
  if (typeof value === 'object' && isPlain(value)) return { structValue: toStruct(value, path) };
  throw new TypeError(
    `${path} is not a JSON value; use strings, finite numbers, booleans, null, lists or objects`,
  );
}

/** The JSON object that a decoded `google.protobuf.Struct` stands for; an absent one is empty. */
export function fromStruct(struct: Struct__Output | null | undefined): JsonObject {
  const object: JsonObject = {};
  for (const [key, value] of Object.entries(struct?.fields ?? {})) {
    // A key named "__proto__" must become a property like any other.
    Object.defineProperty(object, key, {
      value: fromValue(value),
      enumerable: true,
      writable: true,
      configurable: true,
    });
  }
  return object;
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

function isPlain(value: object): value is Record<string, unknown> {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
