import { CHOICES, ENUMS, MESSAGES } from './contract.ts';
import { invalidArgument } from './errors.ts';

/** Deepest nesting of what is sent: the service takes less. */
const MAX_DEPTH = 64;

/** Largest number of each type of whole numbers that requests have. */
const LARGEST: Readonly<Record<string, number>> = { uint32: 2 ** 32 - 1, uint64: Number.MAX_SAFE_INTEGER };

/**
 * Checks a request against the contract, so that nothing that was written is lost on the way, and writes it as the
 * service takes it.
 *
 * @param type - name of the message
 * @param except - fields that this call does not take
 * @throws {WebError} `INVALID_ARGUMENT`, with the field and the fix
 */
export function toWire(
  type: string,
  value: unknown,
  except: readonly string[] = [],
): Record<string, unknown> {
  return message(type, value, '', 0, except);
}

/** The keys of an object that somebody wrote. @throws {WebError} for a key that is none of these, by name */
export function entriesOf(
  value: unknown,
  path: string,
  known: readonly string[],
  what: string,
): [key: string, value: unknown][] {
  const isPlain = typeof value === 'object' && value !== null && !Array.isArray(value);
  if (!isPlain)
    throw invalidArgument(path || `the ${what}s`, `must be an object, but is ${described(value)}`);
  const found = new Map<string, unknown>();
  for (const [given, item] of Object.entries(value)) {
    if (item === undefined) continue;
    const key = known.includes(given) ? given : camelCase(given);
    if (!known.includes(key)) {
      throw invalidArgument(
        join(path, given),
        `is no ${what} that is known here; known are ${known.join(', ')}`,
      );
    }
    if (item === null) throw invalidArgument(join(path, given), 'is null; give a value, or leave it out');
    if (found.has(key)) throw invalidArgument(join(path, given), `is given twice, as ${key} besides`);
    found.set(key, item);
  }
  return [...found];
}

function message(
  type: string,
  given: unknown,
  path: string,
  depth: number,
  except: readonly string[] = [],
): Record<string, unknown> {
  if (depth > MAX_DEPTH)
    throw invalidArgument(path, `is nested deeper than ${MAX_DEPTH} levels, or holds itself`);
  const fields = MESSAGES[type] ?? {};
  const known = Object.keys(fields).filter((key) => !except.includes(key));
  const isChoice = CHOICES.includes(type);
  const value = isChoice ? inFull(type, given, path) : given;
  const entries = entriesOf(value, path, known, 'field');
  if (isChoice && entries.length !== 1) {
    throw invalidArgument(path, `must have exactly one of ${known.join(', ')}`);
  }
  return Object.fromEntries(
    entries.map(([key, item]) => [key, converted(fields[key] ?? '', item, join(path, key), depth + 1)]),
  );
}

/** A condition as the contract has it, of one in short: `{ field: 'metadata.colour', equals: 'red' }`. */
function inFull(type: string, given: unknown, path: string): unknown {
  if (typeof given !== 'object' || given === null || !('field' in given)) return given;
  const { field, ...tests } = given;
  const known = Object.keys(MESSAGES[type] ?? {});
  const [first, second] = entriesOf(tests, path, known, 'test');
  if (first === undefined || second !== undefined || first[0] === 'filter') {
    throw invalidArgument(path, `must have exactly one of equals, anyOf, range, exists beside "field"`);
  }
  const [test, value] = first;
  if (test === 'range') {
    return {
      range: {
        ...Object.fromEntries(entriesOf(value, join(path, test), ['gt', 'gte', 'lt', 'lte'], 'bound')),
        field,
      },
    };
  }
  if (test === 'exists') {
    if (value === true) return { exists: { field } };
    throw invalidArgument(
      join(path, test),
      `is ${described(value)}; give true, and put the condition into mustNot for its contrary`,
    );
  }
  return { [test]: { field, [test === 'anyOf' ? 'values' : 'value']: value } };
}

function converted(type: string, value: unknown, path: string, depth: number): unknown {
  if (type.endsWith('[]')) {
    // A vector may be an array of numbers of any kind.
    if (!Array.isArray(value) && !ArrayBuffer.isView(value)) {
      throw invalidArgument(path, `must be a list, but is ${described(value)}`);
    }
    return Array.from(value as unknown[], (item, index) =>
      converted(type.slice(0, -2), item, `${path}[${index}]`, depth),
    );
  }
  if (MESSAGES[type] !== undefined) return message(type, value, path, depth);
  if (ENUMS[type] !== undefined) return enumName(type, value, path);
  const wanted = wantedOf(type, value);
  if (wanted !== undefined) throw invalidArgument(path, `must be ${wanted}, but is ${described(value)}`);
  return value;
}

/** What a value would have to be; `undefined` where it is that. */
function wantedOf(type: string, value: unknown): string | undefined {
  const is = typeof value;
  switch (type) {
    case 'string':
      return is === 'string' ? undefined : 'a string';
    case 'bool':
      return is === 'boolean' ? undefined : 'true or false';
    case 'double':
    case 'float':
      return Number.isFinite(value) ? undefined : 'a finite number';
    case 'google.protobuf.Value':
      return is === 'string' || is === 'boolean' || Number.isFinite(value)
        ? undefined
        : 'a string, a finite number or a boolean';
    default: {
      const most = LARGEST[type] ?? 0;
      const isWhole = Number.isInteger(value) && (value as number) >= 0 && (value as number) <= most;
      return isWhole ? undefined : `a whole number from 0 to ${most}`;
    }
  }
}

function enumName(type: string, value: unknown, path: string): string {
  const [none = '', ...names] = ENUMS[type] ?? [];
  // The name without what all names of the enum begin with.
  const start = none.replace(/UNSPECIFIED$/, '');
  const short = names.map((name) => name.slice(start.length).toLowerCase());
  const at = typeof value === 'string' ? Math.max(short.indexOf(value), names.indexOf(value)) : -1;
  const name = names[at];
  if (name === undefined) throw invalidArgument(path, `is ${described(value)}; give ${short.join(', ')}`);
  return name;
}

function camelCase(name: string): string {
  return name.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

function join(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`;
}

/** A value for people: short, and never what it holds. */
export function described(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}
