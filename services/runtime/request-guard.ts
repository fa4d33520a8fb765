import { isUtf8 } from 'node:buffer';
import type { ServiceDefinition } from '@grpc/grpc-js';
import { checkFraming } from './framing.ts';
import { invalidArguments, malformedMessage, type ServiceError } from './errors.ts';

/**
 * What was wrong with the bytes of a request. The decoder replaces bytes that are not UTF-8 by U+FFFD without a
 * word, and says of a request that does not decode nothing that helps; here both become errors that name
 * the field. Kept beside the messages, for a message has no room for it.
 */
const flaws = new WeakMap<object, Flaw>();

interface Flaw {
  error: ServiceError;
  /** Whether the message could be read at all, so that a stream can answer this one and go on. */
  readable: boolean;
}

const REPLACEMENT = '\uFFFD';
const REPLACEMENT_BYTES = Buffer.from(REPLACEMENT);

/**
 * The error in the bytes of a request that one of {@link guarded}'s services decoded, or `undefined` where all is
 * well. A stream's handler asks this for each message; unary handlers never see a flawed request.
 */
export function flawOf(request: object): ServiceError | undefined {
  return flaws.get(request)?.error;
}

/** The error of a request that could not be read at all: not even a stream can go on after it. */
export function fatalFlawOf(request: object): ServiceError | undefined {
  const flaw = flaws.get(request);
  return flaw?.readable === false ? flaw.error : undefined;
}

/** What could be read of a request that does not decode as a whole, and what is wrong with the rest. */
export interface Salvaged {
  request: object;
  error: ServiceError;
}

/** Reads what it can of a request that does not decode; `undefined` where a stream can't go on after it. */
export type Salvage = (bytes: Buffer) => Salvaged | undefined;

/**
 * A service definition whose requests are checked as they are decoded; see {@link flawOf}.
 *
 * @param salvage by name of the method. @default none
 */
export function guarded<Definition extends ServiceDefinition>(
  definition: Definition,
  salvage: Readonly<Record<string, Salvage>> = {},
): Definition {
  const methods = Object.entries(definition).map(([name, method]) => {
    const decode = method.requestDeserialize as (bytes: Buffer) => object;
    const requestDeserialize = (bytes: Buffer): object => decodeChecked(bytes, decode, salvage[name]);
    return [name, { ...method, requestDeserialize }];
  });
  return Object.fromEntries(methods) as Definition;
}

function decodeChecked(
  bytes: Buffer,
  decode: (bytes: Buffer) => object,
  salvage: Salvage | undefined,
): object {
  let request: object;
  try {
    checkFraming(bytes);
    request = decode(bytes);
  } catch (error) {
    const salvaged = salvage?.(bytes);
    request = salvaged?.request ?? {};
    flaws.set(request, {
      error: salvaged?.error ?? malformedMessage(error),
      readable: salvaged !== undefined,
    });
    return request;
  }
  // Field tags are ASCII and a string's length ends in a byte below 0x80, so bytes that are UTF-8 as a whole hold
  // nothing but strings that are UTF-8. Most queries take this way out; lengths and doubles rule out the others.
  if (isUtf8(bytes) || !holdsReplacement(request)) return request;
  const suspects: Suspect[] = [];
  const replaced = collectReplacements(request, '', suspects);
  if (replaced > 0 && replaced > countOccurrences(bytes, REPLACEMENT_BYTES)) {
    flaws.set(request, { error: invalidUtf8(suspects, bytes), readable: true });
  }
  return request;
}

function holdsReplacement(value: unknown): boolean {
  if (typeof value === 'string') return value.includes(REPLACEMENT);
  if (typeof value !== 'object' || value === null) return false;
  if (Array.isArray(value)) return value.some(holdsReplacement);
  for (const key in value) {
    if (key.includes(REPLACEMENT) || holdsReplacement((value as Record<string, unknown>)[key])) return true;
  }
  return false;
}

interface Suspect {
  field: string;
  text: string;
}

/** Collects the strings with U+FFFD in them; says how many of these characters there are. */
function collectReplacements(value: unknown, path: string, suspects: Suspect[]): number {
  if (typeof value === 'string') {
    if (!value.includes(REPLACEMENT)) return 0;
    suspects.push({ field: path, text: value });
    return value.split(REPLACEMENT).length - 1;
  }
  if (typeof value !== 'object' || value === null) return 0;
  let count = 0;
  if (Array.isArray(value)) {
    value.forEach((item, index) => (count += collectReplacements(item, `${path}[${index}]`, suspects)));
    return count;
  }
  for (const [key, item] of Object.entries(value)) {
    count += collectReplacements(key, path, suspects);
    count += collectReplacements(item, fieldPath(path, key), suspects);
  }
  return count;
}

/** Parts of the path that the wire form of JSON has and nobody who sends JSON knows. */
const STRUCT_PARTS = new Set(['fields', 'stringValue', 'structValue', 'listValue', 'values']);

/** The path as the `.proto` spells it: `score_threshold`, `metadata.colour`. */
function fieldPath(path: string, key: string): string {
  if (path !== '' && STRUCT_PARTS.has(key)) return path;
  const name = path.includes('metadata')
    ? key
    : key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return path === '' ? name : `${path}.${name}`;
}

/** A string that was UTF-8 stands in the message as it is; the field to blame is one that does not. */
function invalidUtf8(suspects: readonly Suspect[], bytes: Buffer): ServiceError {
  const guilty = suspects.filter(({ text }) => !bytes.includes(text));
  const named = guilty.length > 0 ? guilty : suspects;
  return invalidArguments(
    named.map(({ field }) => ({ field, description: 'holds bytes that are not UTF-8; send it as UTF-8' })),
  );
}

function countOccurrences(bytes: Buffer, pattern: Buffer): number {
  let count = 0;
  for (let at = bytes.indexOf(pattern); at !== -1; at = bytes.indexOf(pattern, at + pattern.length)) count++;
  return count;
}
