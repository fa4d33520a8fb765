import type { Struct } from '../proto/generated/google/protobuf/Struct.ts';
import type { Timestamp } from '../proto/generated/google/protobuf/Timestamp.ts';
import type { Value } from '../proto/generated/google/protobuf/Value.ts';
import { toStruct, toValue } from '../proto/struct.ts';
import { invalidArgument, ScalingnoteError } from './errors.ts';

/**
 * Checks that UTF-8 can carry a string. Half a surrogate pair would silently arrive as another character.
 *
 * @throws {ScalingnoteError} `INVALID_ARGUMENT`
 */
export function wireText(value: unknown, field: string): string {
  if (typeof value !== 'string') throw invalidArgument(field, 'must be a string');
  if (!value.isWellFormed()) {
    throw invalidArgument(
      field,
      'holds half a surrogate pair; repair it with String.prototype.toWellFormed()',
    );
  }
  return value;
}

/** A whole number that a JavaScript number holds exactly. @throws {ScalingnoteError} `INVALID_ARGUMENT` */
export function wireInteger(value: number, field: string): number {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw invalidArgument(field, `is ${value}, but must be a whole number from 0 to 2^53 - 1`);
  }
  return value;
}

/**
 * A `uint32`, which the encoder would make of any number by dropping bits: 2^32 would arrive as 0.
 *
 * @param range which of them the service takes; it checks that itself
 * @throws {ScalingnoteError} `INVALID_ARGUMENT`
 */
export function wireUint32(value: number, field: string, range = `0 to ${2 ** 32 - 1}`): number {
  if (value !== value >>> 0) {
    throw invalidArgument(field, `is ${value}, but must be a whole number from ${range}`);
  }
  return value;
}

/** A moment, to the millisecond. @throws {ScalingnoteError} `INVALID_ARGUMENT` */
export function wireTimestamp(value: Date, field: string): Timestamp {
  const ms = value instanceof Date ? value.getTime() : Number.NaN;
  if (!Number.isFinite(ms)) throw invalidArgument(field, 'must be a valid Date');
  const seconds = Math.floor(ms / 1000);
  return { seconds, nanos: (ms - seconds * 1000) * 1_000_000 };
}

/** A JSON object. @throws {ScalingnoteError} `INVALID_ARGUMENT` */
export function wireStruct(object: Readonly<Record<string, unknown>>, field: string): Struct {
  return checked(object, field, () => toStruct(object, field));
}

/** A JSON value. @throws {ScalingnoteError} `INVALID_ARGUMENT` */
export function wireValue(value: unknown, field: string): Value {
  return checked(value, field, () => toValue(value, field));
}

function checked<T>(value: unknown, field: string, convert: () => T): T {
  try {
    // The conversion comes first, because it rejects values that are nested too deep.
    const converted = convert();
    requireWellFormed(value, field);
    return converted;
  } catch (error) {
    if (error instanceof ScalingnoteError) throw error;
    throw invalidArgument(field, (error as Error).message);
  }
}

function requireWellFormed(value: unknown, field: string): void {
  if (typeof value === 'string') {
    wireText(value, field);
  } else if (typeof value === 'object' && value !== null) {
    for (const [key, item] of Object.entries(value)) {
      wireText(key, `a key of ${field}`);
      requireWellFormed(item, `${field}.${key}`);
    }
  }
}
