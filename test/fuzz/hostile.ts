import { type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import * as fc from 'fast-check';
import type { Node } from './wire-message.ts';

/** Collections that hostile cases name. One is there, and may be harmed. */
export const PREY = 'prey';
const NAMES = [PREY, '', 'nowhere', 'a--b', '../../etc/passwd', 'x'.repeat(65), 'prey\0', '*', '__proto__'];

const TEXTS = [
  ...NAMES,
  'a red fox',
  'constructor',
  ' \u200b\ufeff ',
  '\ud83e\udd8a'.repeat(50),
  '\u202e\u0000',
  'e\u0301'.repeat(300),
  '%s%n%x',
  "'; DROP TABLE passages; --",
  '"' + '\\'.repeat(99),
  'NEAR(a b) OR * ^"',
  'x'.repeat(40_000),
  '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  'col_0123456789abcdef0123456789abcdef',
];

/** Bytes that are not UTF-8. */
const BROKEN_TEXTS = ['ff', 'c0af', 'eda080', 'f4908080', 'e2821b', '61c3', 'f0288cbc', '80'.repeat(40)].map(
  (hex) => Buffer.from(hex, 'hex'),
);

export const text: fc.Arbitrary<string> = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...TEXTS) },
  { weight: 2, arbitrary: fc.string({ maxLength: 40, unit: 'binary' }) },
  { weight: 1, arbitrary: fc.string({ maxLength: 600 }) },
);

const textBytes: fc.Arbitrary<Buffer> = fc.oneof(
  { weight: 8, arbitrary: text.map((one) => Buffer.from(one)) },
  { weight: 1, arbitrary: fc.constantFrom(...BROKEN_TEXTS) },
);

const WHOLES = [
  0n,
  1n,
  2n,
  9n,
  1000n,
  1001n,
  10_001n,
  2n ** 31n - 1n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 32n,
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 63n - 1n,
  2n ** 63n,
  2n ** 64n - 1n,
  2n ** 64n,
  2n ** 69n,
  -1n,
  -(2n ** 31n),
  -(2n ** 63n),
];
const whole: fc.Arbitrary<bigint> = fc.oneof(
  fc.constantFrom(...WHOLES),
  fc.bigInt({ min: 0n, max: 2n ** 70n - 1n }),
);

const FLOATS = [
  0,
  -0,
  1,
  -1,
  0.1,
  Number.NaN,
  Infinity,
  -Infinity,
  5e-324,
  1.7e308,
  3.5e38,
  1e-46,
  2 ** 53,
  -(2 ** 31),
];
const doubleBytes: fc.Arbitrary<Buffer> = fc.oneof(fc.constantFrom(...FLOATS), fc.double()).map((value) => {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return bytes;
});
const floatBytes: fc.Arbitrary<Buffer> = fc.oneof(fc.constantFrom(...FLOATS), fc.double()).map((value) => {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return bytes;
});
const someBytes: fc.Arbitrary<Buffer> = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes));

const known = new Map<string, fc.Arbitrary<readonly Node[]>>();

/** Fields of a message: right types with all kinds of values, several of one oneof, some twice, and some that are none. */
export function nodesOf(type: DescMessage, depth = 0): fc.Arbitrary<readonly Node[]> {
  const key = `${type.typeName} ${depth}`;
  let made = known.get(key);
  if (!made) {
    const fields = type.fields.map((field) => ({ weight: 6, arbitrary: fieldOf(field, depth) }));
    made = fc.array(fc.oneof(...fields, { weight: 2, arbitrary: oddNode(type) }), { maxLength: 6 });
    known.set(key, made);
  }
  return made;
}

/** The right wire type, and seldom another. */
function fieldOf(field: DescField, depth: number): fc.Arbitrary<Node> {
  return fc.oneof(
    { weight: 12, arbitrary: rightlyTyped(field, depth) },
    { weight: 1, arbitrary: wronglyTyped(field.number) },
  );
}

function rightlyTyped(field: DescField, depth: number): fc.Arbitrary<Node> {
  const no = field.number;
  if (field.fieldKind === 'map') {
    const value: fc.Arbitrary<readonly Node[]> = field.message
      ? depth > 3
        ? fc.constant<readonly Node[]>([])
        : nodesOf(field.message, depth + 1)
      : fc.constant<readonly Node[]>([]);
    return fc.tuple(textBytes, value).map(([name, inside]) => ({
      no,
      type: 2,
      value: [
        { no: 1, type: 2, value: name },
        { no: 2, type: 2, value: inside },
      ],
    }));
  }
  if (field.message) {
    if (depth > 3) return fc.constant<Node>({ no, type: 2, value: [] });
    const { message } = field;
    return fc
      .nat({ max: 40 })
      .chain((turn) =>
        turn === 0
          ? fc.constantFrom(10, 99, 101, 500, 5_000).map((levels) => nested(no, message, levels))
          : nodesOf(message, depth + 1).map((inside): Node => ({ no, type: 2, value: inside })),
      );
  }
  if (field.enum) return whole.map((value): Node => ({ no, type: 0, value }));
  const isList = field.fieldKind === 'list';
  switch (field.scalar) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return textBytes.map((value): Node => ({ no, type: 2, value }));
    case ScalarType.DOUBLE:
      return doubleBytes.map((bytes): Node => ({ no, type: 1, bytes }));
    case ScalarType.FLOAT:
      return isList
        ? fc
            .array(floatBytes, { maxLength: 8 })
            .map((values): Node => ({ no, type: 2, value: Buffer.concat(values) }))
        : floatBytes.map((bytes): Node => ({ no, type: 5, bytes }));
    case ScalarType.FIXED32:
      return floatBytes.map((bytes): Node => ({ no, type: 5, bytes }));
    default:
      return fc.tuple(whole, fc.boolean()).map(([value, padded]): Node => ({ no, type: 0, value, padded }));
  }
}

/** A message in itself, so many levels deep, where it can hold itself; else in a field of that number all the way. */
function nested(no: number, message: DescMessage, levels: number): Node {
  const path = cycleOf(message) ?? [1];
  let bytes = Buffer.alloc(0);
  for (let level = levels; level >= 0; level--) {
    const number = level === 0 ? no : path[(level - 1) % path.length]!;
    bytes = Buffer.concat([tagOf(number), lengthOf(bytes.length), bytes]);
  }
  return { type: 'raw', bytes };
}

function tagOf(no: number): Buffer {
  return lengthOf(no * 8 + 2);
}

function lengthOf(length: number): Buffer {
  const bytes: number[] = [];
  let rest = length;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  bytes.push(rest);
  return Buffer.from(bytes);
}

/** Numbers of fields that lead from a message to itself. */
function cycleOf(
  message: DescMessage,
  from = message,
  path: readonly number[] = [],
): readonly number[] | undefined {
  if (path.length > 4) return undefined;
  for (const field of from.fields) {
    if (!field.message || field.fieldKind === 'map') continue;
    const next = [...path, field.number];
    if (field.message.typeName === message.typeName) return next;
    const found = cycleOf(message, field.message, next);
    if (found) return found;
  }
  return undefined;
}

function wronglyTyped(no: number): fc.Arbitrary<Node> {
  return fc.oneof(
    whole.map((value): Node => ({ no, type: 0, value })),
    doubleBytes.map((bytes): Node => ({ no, type: 1, bytes })),
    floatBytes.map((bytes): Node => ({ no, type: 5, bytes })),
    someBytes.map((value): Node => ({ no, type: 2, value })),
    fc.constantFrom<(3 | 4 | 6 | 7)[]>(3, 4, 6, 7).map((type): Node => ({ no, type, value: [] })),
  );
}

/** What is no field of the message, or no field at all. */
function oddNode(type: DescMessage): fc.Arbitrary<Node> {
  const free = Math.max(0, ...type.fields.map(({ number }) => number)) + 1;
  return fc.oneof(
    fc
      .tuple(fc.constantFrom(free, free + 90, 19_000, 2 ** 29 - 1), someBytes)
      .map(([no, value]): Node => ({ no, type: 2, value })),
    fc.tuple(fc.constantFrom(free, 0, 2 ** 29), whole).map(([no, value]): Node => ({ no, type: 0, value })),
    fc.constantFrom(free, 1).chain((no) => wronglyTyped(no)),
    fc
      .tuple(fc.constantFrom(1, 2, 3, free), someBytes, fc.constantFrom(1, 41, 2 ** 20, 2 ** 31 - 1, 2 ** 32))
      .map(([no, value, claim]): Node => ({ no, type: 2, value, claim })),
    someBytes.map((bytes): Node => ({ type: 'raw', bytes })),
  );
}
