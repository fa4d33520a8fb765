import { type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import * as fc from 'fast-check';
import { text } from './hostile.ts';

const NUMBERS = [
  '0',
  '-0',
  '1',
  '-1',
  '10',
  '1.0',
  '1e0',
  '1e400',
  '-1e400',
  '1e-400',
  '0.1',
  '1.5',
  '4294967295',
  '4294967296',
  '9007199254740993',
  '18446744073709551616',
  '1'.repeat(400),
  'NaN',
  'Infinity',
  '01',
  '+1',
  '.5',
  '1.',
  '0x10',
];
const number = fc.constantFrom(...NUMBERS);
const quoted = text.map((one) => JSON.stringify(one));
/** Anything that a text of JSON may have, and some that it may not. */
const any: fc.Arbitrary<string> = fc.oneof(
  number,
  quoted,
  number.map((one) => `"${one}"`),
  fc.constantFrom(
    'null',
    'true',
    'false',
    '[]',
    '{}',
    '[null]',
    '',
    'undefined',
    '"\\ud800"',
    '"\\x"',
    "'a'",
  ),
  fc.constantFrom(3, 90, 101, 120, 20_000).map((depth) => '['.repeat(depth) + ']'.repeat(depth)),
  fc.constantFrom(3, 101, 9_000).map((depth) => '{"a":'.repeat(depth) + '1' + '}'.repeat(depth)),
);

const known = new Map<string, fc.Arbitrary<string>>();

/** Texts that look like the JSON of a message: names in both spellings, wrong types, unknown and repeated keys. */
export function jsonOf(type: DescMessage, depth = 0): fc.Arbitrary<string> {
  const key = `${type.typeName} ${depth}`;
  let made = known.get(key);
  if (!made) {
    const fields = type.fields.map((field) => ({ weight: 6, arbitrary: entryOf(field, depth) }));
    const odd = fc.tuple(quoted, any).map(([name, value]) => `${name}:${value}`);
    made = fc
      .array(fc.oneof(...fields, { weight: 1, arbitrary: odd }), { maxLength: 5 })
      .map((entries) => `{${entries.join(',')}}`);
    known.set(key, made);
  }
  return made;
}

function entryOf(field: DescField, depth: number): fc.Arbitrary<string> {
  return fc
    .tuple(
      fc.constantFrom(field.jsonName, field.jsonName, field.name),
      fc.oneof({ weight: 5, arbitrary: valueOf(field, depth) }, { weight: 1, arbitrary: any }),
    )
    .map(([name, value]) => `"${name}":${value}`);
}

function valueOf(field: DescField, depth: number): fc.Arbitrary<string> {
  const one = singleOf(field, depth);
  if (field.fieldKind === 'list') {
    return fc.array(one, { maxLength: 4 }).map((all) => `[${all.join(',')}]`);
  }
  if (field.fieldKind === 'map') return fc.tuple(quoted, one).map(([name, value]) => `{${name}:${value}}`);
  return one;
}

function singleOf(field: DescField, depth: number): fc.Arbitrary<string> {
  if (field.message) {
    if (depth > 3 || field.message.typeName.startsWith('google.')) return any;
    return jsonOf(field.message, depth + 1);
  }
  if (field.enum) {
    return fc.constantFrom('0', '1', '99', '-1', ...field.enum.values.map(({ name }) => `"${name}"`), '"X"');
  }
  if (field.scalar === ScalarType.BOOL) return fc.constantFrom('true', 'false');
  if (field.scalar === ScalarType.STRING || field.scalar === ScalarType.BYTES) return quoted;
  return number;
}
