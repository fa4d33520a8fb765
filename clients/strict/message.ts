import { invalidArgument } from '../errors.ts';
import { toWireCondition } from './condition.ts';
import { flag, oneOf, text } from './options.ts';
import { Budget, guarded, itemsOf, join, readObject } from './read.ts';
import { enumValues, type FieldSchema, messageSchema } from './schema.ts';
import { wireFloat, wireNumber, wireStruct, wireTimestamp, wireValue, wireWhole } from './values.ts';

/** How a value becomes what the wire has. @throws {ScalingnoteError} `INVALID_ARGUMENT` */
type Convert = (value: unknown, path: string, budget: Budget, message: WriteMessage) => unknown;

/** Writes a message of a type. */
export type WriteMessage = (typeName: string, value: unknown, path: string, budget: Budget) => object;

/** Where a request of this package differs from its message. */
export interface RequestForm {
  /** Fields that have to be given. */
  required?: readonly string[];
  /** Fields that have another name here; the wire's own is taken, too. */
  renamed?: Readonly<Record<string, string>>;
  /** Fields that the caller does not set. */
  hidden?: readonly string[];
  /** What the caller's object holds besides, and somebody else checks. */
  beside?: readonly string[];
}

const ALL_FIELDS: RequestForm = {};

/** Messages that are written in a way of their own, by full name. */
const CONVERTERS: ReadonlyMap<string, Convert> = new Map<string, Convert>([
  ['scalingnote.v1.Condition', toWireCondition],
  ['google.protobuf.Struct', wireStruct],
  ['google.protobuf.Value', wireValue],
  ['google.protobuf.Timestamp', wireTimestamp],
]);

/**
 * A request as its message on the wire. The schema is that of the proto: what it does not know is refused by name, and
 * so is what would arrive as something else.
 *
 * @param typeName - of the message, in full
 * @throws {ScalingnoteError} `INVALID_ARGUMENT` that names the field
 */
export function toWire<Message>(typeName: string, value: unknown, form: RequestForm = ALL_FIELDS): Message {
  return guarded('the request', () => {
    const { required = [], renamed = {} } = form;
    const wire = message(typeName, value, '', new Budget(), form);
    const missing = required.find((name) => !(name in wire));
    if (missing === undefined) return wire as Message;
    const own = Object.entries(renamed).find(([, name]) => name === missing)?.[0] ?? missing;
    throw invalidArgument(
      own,
      `is missing; ${meaningOf(messageSchema(typeName).fields.get(missing)) ?? 'give it'}`,
    );
  });
}

/** One message; its fields may have either spelling. */
function message(
  typeName: string,
  value: unknown,
  path: string,
  budget: Budget,
  form?: RequestForm,
): Record<string, unknown> {
  const { fields, spellings } = messageSchema(typeName);
  const names = form === undefined ? spellings : namesOf(spellings, form);
  return budget.within(path, () => {
    const wire: Record<string, unknown> = {};
    const chosen = new Map<string, string>();
    for (const [name, [key, item]] of readObject(value, path, names, 'field')) {
      const field = fields.get(name);
      if (field === undefined) continue;
      const at = join(path, key);
      const other = field.oneof && chosen.get(field.oneof);
      if (other) throw invalidArgument(at, `is given beside "${other}"; give one of them`);
      if (field.oneof) chosen.set(field.oneof, key);
      wire[name] = convertField(field, item, at, budget);
    }
    return wire;
  });
}

/** By form, and by message: several share a form. */
const namesByForm = new WeakMap<RequestForm, Map<object, ReadonlyMap<string, string>>>();

/** The spellings of a message's fields as a form has them. */
function namesOf(spellings: ReadonlyMap<string, string>, form: RequestForm): ReadonlyMap<string, string> {
  const { renamed = {}, hidden = [], beside = [] } = form;
  const known = namesByForm.get(form) ?? new Map<object, ReadonlyMap<string, string>>();
  namesByForm.set(form, known);
  let names = known.get(spellings);
  if (names === undefined) {
    names = new Map([
      ...Object.entries(renamed),
      ...beside.map((name) => [name, name] as const),
      ...[...spellings].filter(([, name]) => !hidden.includes(name)),
    ]);
    known.set(spellings, names);
  }
  return names;
}

function convertField(field: FieldSchema, value: unknown, path: string, budget: Budget): unknown {
  if (field.keyType !== undefined) throw invalidArgument(path, 'is a map, which no request has');
  if (field.rule !== 'repeated') return convertOne(field, value, path, budget);
  return itemsOf(value, path).map((item, index) => {
    const at = `${path}[${index}]`;
    if (item === null || item === undefined) {
      throw invalidArgument(at, `is ${String(item)}; give a value, or leave it out`);
    }
    budget.spend(at);
    return convertOne(field, item, at, budget);
  });
}

function convertOne(field: FieldSchema, value: unknown, path: string, budget: Budget): unknown {
  const { type, typeName } = field;
  if (typeName !== undefined) {
    const own = CONVERTERS.get(typeName);
    if (own) return own(value, path, budget, message);
    const values = enumValues(typeName);
    if (Object.keys(values).length > 0) return enumName(typeName, values, value, path);
    return message(typeName, value, path, budget);
  }
  switch (type) {
    case 'string':
      return text(value, path);
    case 'bool':
      return flag(value, path);
    case 'double':
      return wireNumber(value, path);
    case 'float':
      return wireFloat(value, path);
    case 'uint32':
    case 'fixed32':
      return wireWhole(value, path, 2 ** 32 - 1, meaningOf(field));
    case 'uint64':
    case 'fixed64':
      return wireWhole(value, path, Number.MAX_SAFE_INTEGER, meaningOf(field));
    default:
      throw invalidArgument(path, `is of the type ${type}, which this client can't write`);
  }
}

/** What a field is, as the proto says it. */
function meaningOf(field: FieldSchema | undefined): string | undefined {
  const comment = field?.comment?.replaceAll(/\s+/g, ' ').replace(/\.$/, '');
  return comment && comment[0]!.toLowerCase() + comment.slice(1);
}

/** An enum's name: short and in lower case, or as the proto has it. The number 0 stands for "not set", which is no choice. */
function enumName(
  typeName: string,
  values: Readonly<Record<string, number>>,
  value: unknown,
  path: string,
): string {
  const { full, short } = namesOfEnum(typeName, values);
  if (typeof value === 'string' && full.includes(value)) return value;
  return full[short.indexOf(oneOf(...short)(value, path))]!;
}

const enumNames = new Map<string, { full: readonly string[]; short: readonly string[] }>();

function namesOfEnum(
  typeName: string,
  values: Readonly<Record<string, number>>,
): { full: readonly string[]; short: readonly string[] } {
  let names = enumNames.get(typeName);
  if (names === undefined) {
    const prefix = `${typeName
      .slice(typeName.lastIndexOf('.') + 1)
      .replaceAll(/(?<=[a-z])[A-Z]/g, '_$&')
      .toUpperCase()}_`;
    const full = Object.keys(values).filter((name) => values[name] !== 0);
    names = { full, short: full.map((name) => name.replace(prefix, '').toLowerCase()) };
    enumNames.set(typeName, names);
  }
  return names;
}
