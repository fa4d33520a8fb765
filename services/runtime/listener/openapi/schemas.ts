import { type DescEnum, type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import type { Comments } from './comments.ts';
import { type FieldLimits, limitsOf } from './limits.ts';
import { messageRule } from './rules.ts';

/** A schema of JSON Schema 2020-12. */
export type Schema = Readonly<Record<string, unknown>>;

/** The messages and enums of one document. */
export class Schemas {
  /** By name, without the package. */
  readonly components: Record<string, Schema> = {};
  readonly #comment: Comments;

  constructor(comment: Comments) {
    this.#comment = comment;
  }

  /** A reference to the schema of a message. @param isRequest whether names that it does not have are refused */
  message(type: DescMessage, isRequest: boolean): Schema {
    const special = WELL_KNOWN[type.typeName];
    if (special) return special;
    if (!(type.name in this.components)) {
      // Before its fields: a message may hold itself.
      this.components[type.name] = {};
      this.components[type.name] = this.#object(type, isRequest);
    }
    return reference(type.name);
  }

  #object(type: DescMessage, isRequest: boolean): Schema {
    const required = type.fields.filter(({ name }) => limitsOf(type.name, name).required);
    return {
      type: 'object',
      description: this.#comment(type),
      properties: Object.fromEntries(
        type.fields.map((field) => [field.jsonName, this.#field(field, type, isRequest)]),
      ),
      ...(required.length > 0 && { required: required.map(({ jsonName }) => jsonName) }),
      ...(isRequest && { additionalProperties: false }),
      ...messageRule(type.name),
    };
  }

  #field(field: DescField, owner: DescMessage, isRequest: boolean): Schema {
    const limits = limitsOf(owner.name, field.name);
    const description = this.#comment(field);
    const value = { ...this.#value(field, limits, isRequest), ...limits.schema };
    if (field.fieldKind !== 'list') return { description, ...value };
    const { min = 0, max } = limits.items ?? {};
    return {
      description,
      type: 'array',
      items: value,
      ...(min > 0 && { minItems: min }),
      ...(max !== undefined && { maxItems: max }),
    };
  }

  #value({ message, enum: choice, scalar }: DescField, limits: FieldLimits, isRequest: boolean): Schema {
    if (message) return this.message(message, isRequest);
    if (choice) return this.#enum(choice);
    switch (scalar) {
      case ScalarType.STRING:
        return stringSchema(limits);
      case ScalarType.BOOL:
        return { type: 'boolean' };
      case ScalarType.BYTES:
        return { type: 'string', contentEncoding: 'base64' };
      case ScalarType.DOUBLE:
        return { type: 'number', format: 'double' };
      case ScalarType.FLOAT:
        return { type: 'number', format: 'float' };
      case ScalarType.UINT32:
      case ScalarType.FIXED32:
        return integerSchema(limits, 0, 2 ** 32 - 1);
      case ScalarType.UINT64:
        return { type: 'string', format: 'uint64', pattern: '^[0-9]{1,20}$' };
      default:
        // The contract has no other type; one that is new must not be described wrongly.
        throw new Error(`no schema for the type ${String(scalar)}`);
    }
  }

  #enum(type: DescEnum): Schema {
    this.components[type.name] ??= {
      type: 'string',
      description: [
        this.#comment(type),
        ...type.values.map((value) => `- \`${value.name}\`: ${this.#comment(value)}`),
      ].join('\n'),
      enum: type.values.map(({ name }) => name),
    };
    return reference(type.name);
  }
}

export function reference(name: string): Schema {
  return { $ref: `#/components/schemas/${name}` };
}

function stringSchema({ maxBytes, pattern, required }: FieldLimits): Schema {
  return {
    type: 'string',
    ...(required && { minLength: 1 }),
    ...(maxBytes !== undefined && { maxLength: maxBytes }),
    ...(pattern && { pattern: pattern.source }),
  };
}

function integerSchema({ range, fallback, none }: FieldLimits, min: number, max: number): Schema {
  const schema = {
    type: 'integer',
    format: 'int64',
    minimum: range?.min ?? min,
    maximum: range?.max ?? max,
    ...(fallback !== undefined && { default: fallback }),
  };
  return none === undefined ? schema : { type: 'integer', anyOf: [{ const: none }, schema] };
}

/** Messages with a form of their own in JSON. */
const WELL_KNOWN: Readonly<Record<string, Schema>> = {
  'google.protobuf.Struct': { type: 'object', additionalProperties: true },
  'google.protobuf.Value': {},
  'google.protobuf.ListValue': { type: 'array', items: {} },
  'google.protobuf.Timestamp': { type: 'string', format: 'date-time' },
};
