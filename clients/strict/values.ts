import type { Struct } from '../../proto/generated/google/protobuf/Struct.ts';
import type { Timestamp } from '../../proto/generated/google/protobuf/Timestamp.ts';
import type { Value } from '../../proto/generated/google/protobuf/Value.ts';
import { MAX_JSON_DEPTH, toStruct, toValue } from '../../proto/struct.ts';
import { invalidArgument, ScalingnoteError } from '../errors.ts';
import { text } from './options.ts';
import { Budget, describe, entriesOf, isPlain, itemsOf } from './read.ts';

/** Values of a request as the wire has them. Each is refused here where the encoder would change it without a word. */

/**
 * A whole number from 0 on.
 *
 * @param max - the largest that arrives as it is
 * @param meaning - what the field is, and its real range, in words
 */
export function wireWhole(value: unknown, path: string, max: number, meaning?: string): number {
  if (Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= max) {
    return value as number;
  }
  const range = max === Number.MAX_SAFE_INTEGER ? '2^53 - 1' : String(max);
  const wanted = meaning === undefined ? ` from 0 to ${range}` : `: ${meaning}`;
  throw invalidArgument(path, `is ${describe(value)}, but must be a whole number${wanted}`);
}

/** A number that is one. */
export function wireNumber(value: unknown, path: string): number {
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  throw invalidArgument(path, `is ${describe(value)}, but must be a finite number`);
}

/** A number that single precision holds: the encoder would make infinity of a larger one. */
export function wireFloat(value: unknown, path: string): number {
  const number = wireNumber(value, path);
  if (Number.isFinite(Math.fround(number))) return number;
  throw invalidArgument(path, `is ${number}, but must be at most 3.4e38 from zero`);
}

/** A moment, to the millisecond. */
export function wireTimestamp(value: unknown, path: string): Timestamp {
  const ms = value instanceof Date ? value.getTime() : Number.NaN;
  if (!Number.isFinite(ms)) throw invalidArgument(path, 'must be a valid Date');
  const seconds = Math.floor(ms / 1000);
  return { seconds, nanos: (ms - seconds * 1000) * 1_000_000 };
}

/** A JSON object. */
export function wireStruct(value: unknown, path: string, budget = new Budget()): Struct {
  const copy = Object.fromEntries(
    entriesOf(value, path).map(([key, item]) => [
      text(key, `a key of ${path}`),
      jsonCopy(item, `${path}.${key}`, budget, 2),
    ]),
  );
  return refused(path, () => toStruct(copy, path));
}

/** A JSON value. */
export function wireValue(value: unknown, path: string, budget = new Budget()): Value {
  return refused(path, () => toValue(jsonCopy(value, path, budget, 1), path));
}

/** A copy whose parts were read once each; what is no JSON stays in it, for the conversion to refuse. */
function jsonCopy(value: unknown, path: string, budget: Budget, depth: number): unknown {
  if (typeof value === 'string') return text(value, path);
  if (typeof value !== 'object' || value === null || depth > MAX_JSON_DEPTH) return value;
  budget.spend(path);
  if (Array.isArray(value)) {
    return itemsOf(value, path).map((item, at) => jsonCopy(item, `${path}[${at}]`, budget, depth + 1));
  }
  if (!isPlain(value)) return value;
  return Object.fromEntries(
    entriesOf(value, path).map(([key, item]) => [
      text(key, `a key of ${path}`),
      jsonCopy(item, `${path}.${key}`, budget, depth + 1),
    ]),
  );
}

function refused<T>(path: string, convert: () => T): T {
  try {
    return convert();
  } catch (error) {
    if (error instanceof ScalingnoteError) throw error;
    throw invalidArgument(path, (error as Error).message);
  }
}
