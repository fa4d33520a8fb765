import { contract } from '../../proto/contract.ts';
import type { ContractEntry, ContractField, ContractNamespace } from '../../proto/contract-types.ts';

/** A field of a message, with what its type leads to. */
export interface FieldSchema extends ContractField {
  name: string;
  /** Of the message or enum; absent for a scalar. */
  typeName?: string;
  /** The oneof of which no other field may be set. */
  oneof?: string;
}

/** A message of the contract as its requests are checked. */
export interface MessageSchema {
  name: string;
  fields: ReadonlyMap<string, FieldSchema>;
  /** By each spelling that is taken, camelCase and the snake_case of the proto, the name in camelCase. */
  spellings: ReadonlyMap<string, string>;
}

const schemas = new Map<string, MessageSchema>();

/** The schema of a message. @param name - in full, for example `scalingnote.v1.SearchRequest` */
export function messageSchema(name: string): MessageSchema {
  const known = schemas.get(name);
  if (known) return known;
  const { fields = {}, oneofs = {} } = entry(name) ?? {};
  const schema: MessageSchema = {
    name,
    fields: new Map(
      Object.entries(fields).map(([key, field]) => [key, fieldSchema(name, key, field, oneofs)]),
    ),
    spellings: new Map(
      Object.keys(fields).flatMap((key) => [
        [key, key],
        [snakeCase(key), key],
      ]),
    ),
  };
  schemas.set(name, schema);
  return schema;
}

/** The names of an enum with their numbers. */
export function enumValues(name: string): Readonly<Record<string, number>> {
  return entry(name)?.values ?? {};
}

/** `scoreThreshold` as the proto has it: `score_threshold`. */
export function snakeCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function fieldSchema(
  message: string,
  name: string,
  field: ContractField,
  oneofs: NonNullable<ContractEntry['oneofs']>,
): FieldSchema {
  // The oneof of an `optional` field holds nothing else.
  const oneof = Object.entries(oneofs).find(([, { oneof: of }]) => of.length > 1 && of.includes(name))?.[0];
  const typeName = resolve(field.type, message);
  return {
    ...field,
    name,
    ...(typeName !== undefined && { typeName }),
    ...(oneof !== undefined && { oneof }),
  };
}

/** A type's full name, looked for from the message outwards. */
function resolve(type: string, from: string): string | undefined {
  const scopes = from.split('.');
  for (let length = scopes.length; length >= 0; length--) {
    const name = [...scopes.slice(0, length), type].join('.');
    const found = entry(name);
    if (found?.fields || found?.values) return name;
  }
  return undefined;
}

function entry(name: string): ContractEntry | undefined {
  let at: ContractNamespace | undefined = contract;
  for (const part of name.split('.')) {
    at = at?.nested !== undefined && Object.hasOwn(at.nested, part) ? at.nested[part] : undefined;
  }
  return at;
}
