import { nearest } from '../../proto/nearest.ts';
import { invalidArgument, ScalingnoteError } from '../errors.ts';

/** What a caller's value becomes, or why it is refused. @throws {ScalingnoteError} `INVALID_ARGUMENT` */
export type Check<T = unknown> = (value: unknown, path: string) => T;

/** Most values that one request may hold: no message of ours that the services take has nearly so many. */
const MAX_VALUES = 200_000;

/** Deepest nesting: deeper messages are not read by implementations of Protocol Buffers, and a cycle has no end. */
const MAX_DEPTH = 32;

/** Characters of a caller's value that an error quotes. */
const QUOTED = 64;

/** Runs a check; whatever the caller's own objects throw (getters, proxies) is a refusal, too. */
export function guarded<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof ScalingnoteError) throw error;
    throw invalidArgument(path, `can't be read: ${messageOf(error)}`);
  }
}

/** Counts what a request holds, so that one whose parts hold each other many times over ends. */
export class Budget {
  #values = 0;
  #depth = 0;

  /** Counts one value. */
  spend(path: string): void {
    if (++this.#values <= MAX_VALUES) return;
    throw invalidArgument(path || 'the request', `is too much: a request holds at most ${MAX_VALUES} values`);
  }

  /** Counts one value and reads what it holds. */
  within<T>(path: string, read: () => T): T {
    this.spend(path);
    if (this.#depth === MAX_DEPTH) {
      throw invalidArgument(
        path,
        `is nested deeper than ${MAX_DEPTH} levels, or holds itself; write it flatter`,
      );
    }
    this.#depth++;
    try {
      return read();
    } finally {
      this.#depth--;
    }
  }
}

/**
 * A plain object of the caller, each property read once; keys whose value is `undefined` are not there, as in JSON.
 *
 * @param names - by each spelling that is taken, the one name
 * @param what - for errors: `option`, `field`
 * @returns by the one name of each, its name as it was written, and its value
 */
export function readObject(
  value: unknown,
  path: string,
  names: ReadonlyMap<string, string>,
  what: string,
): Map<string, [key: string, value: unknown]> {
  const found = new Map<string, [key: string, value: unknown]>();
  for (const [key, item] of entriesOf(value, path, `the ${what}s`)) {
    const name = names.get(key);
    if (name === undefined) throw unknownName(join(path, key), key, names, what);
    if (item === undefined) continue;
    if (found.has(name)) {
      throw invalidArgument(join(path, key), `is given twice, as "${key}" and in another spelling; keep one`);
    }
    if (item === null) throw invalidArgument(join(path, key), 'is null; give a value, or leave it out');
    found.set(name, [key, item]);
  }
  return found;
}

/**
 * The own properties of a plain object, each read once.
 *
 * @param whole - what it is called where the path is empty
 */
export function entriesOf(
  value: unknown,
  path: string,
  whole = 'the value',
): [key: string, value: unknown][] {
  const name = path || whole;
  return guarded(name, () => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw invalidArgument(name, `must be an object, but is ${describe(value)}`);
    }
    if (!isPlain(value)) {
      throw invalidArgument(name, `is ${describe(value)}; give a plain object, such as { ...it }`);
    }
    return Reflect.ownKeys(value).map((key) => {
      if (typeof key === 'symbol') {
        throw invalidArgument(name, `has the key ${String(key)}; keys are strings`);
      }
      return [key, guarded(join(path, key), () => (value as Record<string, unknown>)[key])];
    });
  });
}

/** The items of a list, each read once. */
export function itemsOf(value: unknown, path: string): unknown[] {
  return guarded(path, () => {
    if (!Array.isArray(value)) throw invalidArgument(path, `must be a list, but is ${describe(value)}`);
    return Array.from(value as unknown[]);
  });
}

/** The refusal of a name that nobody knows; it names the nearest one that is known. */
export function unknownName(
  path: string,
  name: string,
  names: ReadonlyMap<string, string>,
  what: string,
): ScalingnoteError {
  const known = [...new Set(names.values())];
  const near = nearest(name, [...names.keys()]);
  const advice =
    near === undefined ? `known are ${known.join(', ') || 'none'}` : `did you mean "${names.get(near)}"?`;
  return invalidArgument(path, `is no ${what} that is known here; ${advice}`);
}

/** What a value is, in a few words. */
export function describe(value: unknown): string {
  if (value === null || typeof value === 'boolean' || value === undefined) return String(value);
  if (typeof value === 'number') return String(value);
  if (typeof value === 'string') return quoted(value);
  if (typeof value === 'bigint') return `the bigint ${quoted(String(value))}`;
  if (typeof value !== 'object') return `a ${typeof value}`;
  try {
    if (Array.isArray(value)) return 'a list';
    if (isPlain(value)) return 'an object';
    const name: unknown = (value as { constructor?: { name?: unknown } }).constructor?.name;
    return typeof name === 'string' && name !== 'Object'
      ? `an instance of ${quoted(name)}`
      : 'an object with a prototype';
  } catch {
    return "an object that can't be read";
  }
}

/** A text as an error quotes it. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > QUOTED ? `${text.slice(0, QUOTED - 1)}…` : text);
}

/** A path one level down. */
export function join(path: string, key: string): string {
  const clipped = key.length > QUOTED ? `${key.slice(0, QUOTED - 1)}…` : key;
  return path === '' ? clipped : `${path}.${clipped}`;
}

/** Whether an object is what `{...}` makes, in this realm or another. */
export function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return (
    prototype === null ||
    (Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype as object, 'isPrototypeOf'))
  );
}

function messageOf(error: unknown): string {
  try {
    return error instanceof Error ? error.message : String(error);
  } catch {
    return 'it throws';
  }
}
