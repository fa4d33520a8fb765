import { type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import * as fc from 'fast-check';

/** Any JSON value that metadata can have. */
const jsonValue = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.string({ unit: 'grapheme' }),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.boolean(),
    fc.constant(null),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(fc.oneof(fc.string(), fc.constant('__proto__')), tie('value'), { maxKeys: 3 }),
  ),
})).value;

const text = fc.string({ unit: 'grapheme', maxLength: 12 });
const number = fc.oneof(fc.constant(0), fc.double({ noNaN: true, noDefaultInfinity: true }));
const uint32 = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 2 ** 32 - 1 }));
const uint64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map(String);

/** What a message may be, as `proto/load.ts` has it, by its descriptor. @param depth how deep messages may nest */
export function messages(type: DescMessage, depth = 3): fc.Arbitrary<Record<string, unknown>> {
  const loose = type.fields.filter(({ oneof }) => oneof === undefined || isOptional(oneof.name));
  const fields = fc.record(
    Object.fromEntries(loose.map((field) => [field.jsonName, values(field, depth)])) as Record<
      string,
      fc.Arbitrary<unknown>
    >,
    { requiredKeys: [] },
  );
  const choices = type.oneofs
    .filter(({ name }) => !isOptional(name))
    .map(({ fields: own }) =>
      fc.oneof(
        fc.constant({}),
        ...own.map((field) => value(field, depth).map((item) => ({ [field.jsonName]: item }))),
      ),
    );
  return fc.tuple(fields, ...choices).map((parts) => Object.assign({}, ...parts) as Record<string, unknown>);
}

/** Optional scalars are oneofs of one field that nobody wrote. */
function isOptional(oneof: string): boolean {
  return oneof.startsWith('_');
}

function values(field: DescField, depth: number): fc.Arbitrary<unknown> {
  return field.fieldKind === 'list' ? fc.array(value(field, depth), { maxLength: 3 }) : value(field, depth);
}

function value({ message, enum: choice, scalar }: DescField, depth: number): fc.Arbitrary<unknown> {
  if (choice) {
    return fc.oneof(fc.constantFrom(...choice.values.map(({ name }) => name)), fc.constant(0));
  }
  if (message) {
    if (message.typeName === 'google.protobuf.Struct') {
      return fc.dictionary(text, jsonValue, { maxKeys: 3 }).map((object) => wireValue(object)['structValue']);
    }
    if (message.typeName === 'google.protobuf.Value') return jsonValue.map(wireValue);
    if (message.typeName === 'google.protobuf.Timestamp') {
      return fc.record({
        seconds: fc.integer({ min: 0, max: 253_402_300_799 }).map(String),
        nanos: fc.constantFrom(0, 1_000_000, 120_000, 3),
      });
    }
    return depth === 0 ? fc.constant({}) : messages(message, depth - 1);
  }
  switch (scalar) {
    case ScalarType.STRING:
      return text;
    case ScalarType.BOOL:
      return fc.boolean();
    case ScalarType.BYTES:
      return fc.uint8Array({ maxLength: 9 }).map((bytes) => Buffer.from(bytes));
    case ScalarType.DOUBLE:
      return number;
    case ScalarType.FLOAT:
      return fc.float({ noNaN: true, noDefaultInfinity: true });
    case ScalarType.UINT64:
      return uint64;
    default:
      return uint32;
  }
}

/** As `proto/struct.ts` makes it, without its bounds. */
function wireValue(json: unknown): Record<string, unknown> {
  if (json === null) return { nullValue: 'NULL_VALUE' };
  if (typeof json === 'string') return { stringValue: json };
  if (typeof json === 'number') return { numberValue: json };
  if (typeof json === 'boolean') return { boolValue: json };
  if (Array.isArray(json)) return { listValue: { values: json.map(wireValue) } };
  const fields = Object.entries(json as object).map(([key, item]) => [key, wireValue(item)] as const);
  return { structValue: { fields: Object.fromEntries(fields) } };
}
