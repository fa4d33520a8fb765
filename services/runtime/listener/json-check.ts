import {
  type DescEnum,
  type DescField,
  type DescMessage,
  type JsonValue,
  ScalarType,
} from '@bufbuild/protobuf';
import { nearest } from '../../../proto/nearest.ts';
import { invalidArgument, type ServiceError } from '../errors.ts';
import { quoted } from '../validate.ts';
import { limitsOf } from './openapi/limits.ts';

/** What the integers of a type can be. */
const INTEGERS: Readonly<Partial<Record<ScalarType, readonly [bigint, bigint]>>> = {
  [ScalarType.INT32]: [-(2n ** 31n), 2n ** 31n - 1n],
  [ScalarType.SINT32]: [-(2n ** 31n), 2n ** 31n - 1n],
  [ScalarType.SFIXED32]: [-(2n ** 31n), 2n ** 31n - 1n],
  [ScalarType.UINT32]: [0n, 2n ** 32n - 1n],
  [ScalarType.FIXED32]: [0n, 2n ** 32n - 1n],
  [ScalarType.INT64]: [-(2n ** 63n), 2n ** 63n - 1n],
  [ScalarType.SINT64]: [-(2n ** 63n), 2n ** 63n - 1n],
  [ScalarType.SFIXED64]: [-(2n ** 63n), 2n ** 63n - 1n],
  [ScalarType.UINT64]: [0n, 2n ** 64n - 1n],
  [ScalarType.FIXED64]: [0n, 2n ** 64n - 1n],
};

/** Largest number that rounds to a float of 32 bits. */
const MAX_FLOAT = 2 ** 127 * (2 - 2 ** -24);

/** A JSON object. */
type JsonObject = Record<string, JsonValue>;

export function isObject(json: JsonValue | undefined): json is JsonObject {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}

/**
 * Refuses JSON that is not the given message: names that it does not have, names given twice, values of another type, and
 * numbers that do not fit or that JSON has rounded.
 *
 * @param path of the object, in the names of JSON; empty for the request itself
 * @throws {ServiceError} `INVALID_ARGUMENT` that names the field, and what to send
 */
export function checkMessage(type: DescMessage, json: JsonValue, path: string): void {
  if (json === null) return;
  if (!isObject(json)) throw wrongType(path, json, 'an object');
  const seen = new Map<string, DescField>();
  for (const key in json) {
    const field = fieldOf(type, key);
    const at = pathOf(path, field?.jsonName ?? key);
    if (!field) throw invalidArgument(at, unknownName(type, key));
    if (seen.has(field.jsonName)) {
      throw invalidArgument(at, `is given twice, as ${field.jsonName} and ${field.name}; send one of them`);
    }
    const value = json[key]!;
    checkField(field, value, at, type);
    if (value === null) continue;
    const { oneof } = field;
    const other = oneof && [...seen.values()].find((one) => one.oneof === oneof);
    if (other) {
      const names = oneof.fields.map(({ jsonName }) => jsonName).join(', ');
      throw invalidArgument(
        path === '' ? at : path,
        `has ${other.jsonName} and ${field.jsonName}; send one of ${names}`,
      );
    }
    seen.set(field.jsonName, field);
  }
}

/** The field of a name, in either spelling. */
function fieldOf(type: DescMessage, key: string): DescField | undefined {
  let index = fieldIndex.get(type);
  if (!index) {
    index = new Map(
      type.fields.flatMap((field) => [[field.name, field] as const, [field.jsonName, field] as const]),
    );
    fieldIndex.set(type, index);
  }
  return index.get(key);
}

const fieldIndex = new WeakMap<DescMessage, Map<string, DescField>>();

export function pathOf(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`;
}

function checkField(field: DescField, value: JsonValue, path: string, owner: DescMessage): void {
  // In JSON, null is the absence of a field, but for a field whose type has a null of its own.
  if (value === null) return;
  if (field.fieldKind === 'list') {
    if (!Array.isArray(value)) throw wrongType(path, value, 'a list');
    value.forEach((item, index) => {
      const at = `${path}[${index}]`;
      if (item === null && field.message?.typeName !== VALUE) throw wrongType(at, item, 'a value');
      checkValue(field, item, at, owner);
    });
  } else if (field.fieldKind === 'map') {
    if (!isObject(value)) throw wrongType(path, value, 'an object');
    for (const key in value) checkValue(field, value[key]!, `${path}.${key}`, owner);
  } else checkValue(field, value, path, owner);
}

const VALUE = 'google.protobuf.Value';

function checkValue(field: DescField, value: JsonValue, path: string, owner: DescMessage): void {
  const { message, enum: choice, scalar } = field;
  if (message) checkSubmessage(message, value, path);
  else if (choice) checkEnum(choice, value, path);
  else if (scalar === ScalarType.BOOL) {
    if (typeof value !== 'boolean') throw wrongType(path, value, 'true or false');
  } else if (scalar === ScalarType.STRING) {
    if (typeof value !== 'string') throw wrongType(path, value, 'a string');
  } else if (scalar === ScalarType.BYTES) {
    if (typeof value !== 'string') throw wrongType(path, value, 'a string in base64');
  } else if (scalar === ScalarType.FLOAT || scalar === ScalarType.DOUBLE) {
    checkFloat(value, path, scalar === ScalarType.FLOAT);
  } else checkInteger(INTEGERS[scalar]!, value, path, limitsOf(owner.name, field.name));
}

function checkSubmessage(type: DescMessage, value: JsonValue, path: string): void {
  if (!type.typeName.startsWith('google.protobuf.')) checkMessage(type, value, path);
  else if (type.typeName === 'google.protobuf.Struct') {
    if (!isObject(value)) throw wrongType(path, value, 'an object');
  } else if (type.typeName === 'google.protobuf.ListValue') {
    if (!Array.isArray(value)) throw wrongType(path, value, 'a list');
  }
}

function checkEnum({ values }: DescEnum, value: JsonValue, path: string): void {
  if (typeof value === 'number' && Number.isInteger(value) && Math.abs(value) < 2 ** 31) return;
  const names = values.map(({ name }) => name);
  if (typeof value === 'string' && names.includes(value)) return;
  const near = typeof value === 'string' ? nearest(value, names) : undefined;
  const fix = near === undefined ? `send one of ${names.join(', ')}` : `did you mean ${near}?`;
  throw invalidArgument(path, `is ${shown(value)}; ${fix}`);
}

function checkFloat(value: JsonValue, path: string, isShort: boolean): void {
  const isNumber = typeof value === 'number' || (typeof value === 'string' && /^\S+$/.test(value));
  const number = isNumber ? Number(value) : Number.NaN;
  if (!Number.isFinite(number)) throw invalidArgument(path, `is ${shown(value)}; send a finite number`);
  if (isShort && Math.abs(number) >= MAX_FLOAT) {
    throw invalidArgument(path, `is ${shown(value)}; send a number that fits into 32 bits`);
  }
}

function checkInteger(
  [least, most]: readonly [bigint, bigint],
  value: JsonValue,
  path: string,
  { range, fallback, none }: ReturnType<typeof limitsOf>,
): void {
  const { min, max } = range ?? { min: least, max: most };
  const or =
    fallback === undefined
      ? none === undefined
        ? ''
        : `, or ${none} for none`
      : `, or leave it out for ${fallback}`;
  const isWhole = typeof value === 'number' ? Number.isInteger(value) : isDigits(value);
  if (!isWhole)
    throw invalidArgument(path, `is ${shown(value)}; send a whole number from ${min} to ${max}${or}`);
  if (typeof value === 'number' && !Number.isSafeInteger(value) && most > 2n ** 32n) {
    throw invalidArgument(
      path,
      'is no integer that a JSON number holds exactly; send it as a string of digits',
    );
  }
  const number = BigInt(value as number | string);
  if (number < least || number > most) {
    throw invalidArgument(path, `is ${shown(value)}; send ${min} to ${max}${or}`);
  }
}

/** At most the digits of 64 bits: the value of longer ones takes long to find. */
function isDigits(value: JsonValue): boolean {
  return typeof value === 'string' && /^-?\d{1,20}$/.test(value);
}

function wrongType(path: string, value: JsonValue, wanted: string): ServiceError {
  return invalidArgument(path === '' ? 'body' : path, `is ${shown(value)}; send ${wanted}`);
}

function shown(value: JsonValue): string {
  if (Array.isArray(value)) return 'a list';
  if (isObject(value)) return 'an object';
  return typeof value === 'string' ? quoted(value) : String(value);
}

function unknownName(type: DescMessage, key: string): string {
  const names = type.fields.map(({ jsonName }) => jsonName);
  const near = nearest(key, names);
  const known = names.length === 0 ? 'it has no fields' : `its fields are ${names.join(', ')}`;
  return `is not a field of ${type.name}; ${near === undefined ? known : `did you mean ${near}?`}`;
}
