import { readFileSync } from 'node:fs';
import {
  createFileRegistry,
  fromBinary,
  fromJson,
  ScalarType,
  toBinary,
  toJson,
  type DescMessage,
  type JsonObject,
  type JsonValue,
} from '@bufbuild/protobuf';
import { isFieldError } from '@bufbuild/protobuf/reflect';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { nearest } from '../../../proto/nearest.ts';
import { invalidArgument } from '../errors.ts';
import { repeatedKey } from './repeated-key.ts';

const registry = createFileRegistry(
  fromBinary(
    FileDescriptorSetSchema,
    readFileSync(new URL('../../../proto/scalingnote/descriptors.binpb', import.meta.url)),
  ),
);

/** Deepest nesting that is taken, as protobuf has it for messages: what recurses must not run out of stack. */
export const MAX_JSON_DEPTH = 100;
/** 64-bit integers, which JSON numbers hold up to 2^53 only. */
const LONGS: ReadonlySet<ScalarType> = new Set([
  ScalarType.INT64,
  ScalarType.UINT64,
  ScalarType.SINT64,
  ScalarType.FIXED64,
  ScalarType.SFIXED64,
]);

/** The messages of a method, in JSON and on the wire. */
export interface JsonMethod {
  /** The bytes of the request that a JSON text means. @throws {ServiceError} that names the field and the fix */
  decode(text: string): Uint8Array;
  /** The JSON text of a response. */
  encode(bytes: Uint8Array): string;
}

/** The JSON form of a method by its path, `/scalingnote.v1.QueryService/Search`; `undefined` where it is not ours. */
export function jsonMethod(path: string): JsonMethod | undefined {
  const [, service = '', name] = path.split('/');
  const method = registry.getService(service)?.methods.find((each) => each.name === name);
  return (
    method && {
      decode: (text) => decode(method.input, text),
      encode: (bytes) => encode(method.output, bytes),
    }
  );
}

function encode(type: DescMessage, bytes: Uint8Array): string {
  return JSON.stringify(toJson(type, fromBinary(type, bytes), { registry }));
}

function decode(type: DescMessage, text: string): Uint8Array {
  let json: JsonValue;
  try {
    json = JSON.parse(text) as JsonValue;
  } catch (error) {
    throw invalidArgument('body', `is not JSON: ${(error as Error).message}; send one JSON object`);
  }
  const repeated = repeatedKey(text);
  if (repeated !== undefined) {
    throw invalidArgument(
      'body',
      `has the key ${JSON.stringify(repeated)} twice in one object; send it once`,
    );
  }
  if (!isObject(json))
    throw invalidArgument('body', 'is not a JSON object; send one, {} for a request without fields');
  checkText(json, 'body', 0);
  checkNames(type, json, '');
  try {
    return toBinary(type, fromJson(type, json, { registry }));
  } catch (error) {
    const { cause, message } = error as Error;
    throw invalidArgument(isFieldError(cause) ? cause.field().name : 'body', message);
  }
}

function isObject(json: JsonValue | undefined): json is JsonObject {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}

/** Refuses what is too deep, and texts that have no UTF-8. */
function checkText(json: JsonValue, path: string, depth: number): void {
  if (depth > MAX_JSON_DEPTH) throw invalidArgument('body', `is nested deeper than ${MAX_JSON_DEPTH} levels`);
  if (typeof json === 'string') {
    if (!json.isWellFormed())
      throw invalidArgument(path, 'holds half of a surrogate pair; send whole characters');
  } else if (Array.isArray(json))
    json.forEach((item, index) => checkText(item, `${path}[${index}]`, depth + 1));
  else if (isObject(json)) {
    for (const [key, item] of Object.entries(json)) {
      checkText(key, path, depth);
      checkText(item, path === 'body' ? key : `${path}.${key}`, depth + 1);
    }
  }
}

/** Refuses names that the message does not have, names given twice, and numbers that JSON has rounded. */
function checkNames(type: DescMessage, json: JsonValue, path: string): void {
  if (!isObject(json) || type.typeName.startsWith('google.protobuf.')) return;
  const seen = new Set<string>();
  for (const [key, value] of Object.entries(json)) {
    const at = path === '' ? key : `${path}.${key}`;
    const field = type.fields.find(({ name, jsonName }) => key === name || key === jsonName);
    if (!field) throw invalidArgument(at, unknownName(type, key));
    if (seen.has(field.name)) {
      throw invalidArgument(at, `is given twice, as ${field.jsonName} and ${field.name}; send one of them`);
    }
    seen.add(field.name);
    const items: [JsonValue, string][] = Array.isArray(value)
      ? value.map((item, index) => [item, `${at}[${index}]`])
      : field.fieldKind === 'map' && isObject(value)
        ? Object.entries(value).map(([name, item]) => [item, `${at}.${name}`])
        : [[value, at]];
    for (const [item, where] of items) {
      if (field.message) checkNames(field.message, item, where);
      else if (field.scalar !== undefined) checkNumber(field.scalar, item, where);
    }
  }
}

function checkNumber(type: ScalarType, value: JsonValue, path: string): void {
  if (LONGS.has(type) && typeof value === 'number' && !Number.isSafeInteger(value)) {
    throw invalidArgument(
      path,
      'is no integer that a JSON number holds exactly; send it as a string of digits',
    );
  }
  const isFloat = type === ScalarType.DOUBLE || type === ScalarType.FLOAT;
  if (isFloat && typeof value === 'string' && !Number.isFinite(Number(value))) {
    throw invalidArgument(path, `is ${JSON.stringify(value)}; send a finite number`);
  }
}

function unknownName(type: DescMessage, key: string): string {
  const names = type.fields.map(({ jsonName }) => jsonName);
  const near = nearest(key, names);
  return `is not a field of ${type.name}; ${near === undefined ? `its fields are ${names.join(', ')}` : `did you mean ${near}?`}`;
}
