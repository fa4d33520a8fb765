import { LookupError } from './errors.ts';

/** Checks of values that came as JSON, by hand: the library for schemas is larger than all the rest of a page. */

export type Json = Readonly<Record<string, unknown>>;

/** An object with these keys and no others. @throws {LookupError} */
export function object(value: unknown, path: string, keys: readonly string[]): Json {
  const found = anyObject(value, path);
  for (const key of Object.keys(found)) {
    if (!keys.includes(key)) {
      throw new LookupError(`${path}.${key} is not known here; known are ${keys.join(', ')}`);
    }
  }
  return found;
}

/** An object with whatever keys. @throws {LookupError} */
export function anyObject(value: unknown, path: string): Json {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json;
  throw new LookupError(`${path} must be an object`);
}

/** @throws {LookupError} */
export function list(value: unknown, path: string): readonly unknown[] {
  if (Array.isArray(value)) return value as unknown[];
  throw new LookupError(`${path} must be a list`);
}

/** @throws {LookupError} */
export function text(value: unknown, path: string): string {
  if (typeof value === 'string') return value;
  throw new LookupError(`${path} must be a string`);
}

/** @throws {LookupError} */
export function whole(value: unknown, path: string): number {
  if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number;
  throw new LookupError(`${path} must be a whole number, 0 or more`);
}

/** @throws {LookupError} */
export function yes(value: unknown, path: string): boolean {
  if (typeof value === 'boolean') return value;
  throw new LookupError(`${path} must be true or false`);
}
