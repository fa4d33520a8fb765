import { nearest } from '../../proto/nearest.ts';
import { invalidArgument } from '../errors.ts';
import { type Check, describe, entriesOf, guarded, itemsOf, join, quoted, readObject } from './read.ts';

/** A check for each option that there is; the compiler sees to it that none is missing. */
export type OptionTable<Options> = { readonly [Name in keyof Required<Options>]: Check };

const namesByTable = new WeakMap<object, ReadonlyMap<string, string>>();

/**
 * Checks options, and refuses what nobody would follow: unknown names, wrong types, numbers that do not fit.
 *
 * @param options - `undefined` stands for none
 * @param table - what each option may be
 * @returns a copy, each option read once
 * @throws {ScalingnoteError} `INVALID_ARGUMENT` that names the option
 */
export function checkOptions<Options extends object>(
  options: Options | undefined,
  table: OptionTable<Options>,
  path = '',
): Options {
  if (options === undefined) return {} as Options;
  let names = namesByTable.get(table);
  if (names === undefined) {
    names = new Map(Object.keys(table).map((name) => [name, name]));
    namesByTable.set(table, names);
  }
  const checked: Record<string, unknown> = {};
  for (const [name, [, value]] of readObject(options, path, names, 'option')) {
    const at = join(path, name);
    checked[name] = guarded(at, () => (table as unknown as Record<string, Check>)[name]!(value, at));
  }
  return checked as Options;
}

/** Longest time that a timer of Node can wait: 24.8 days. */
const MAX_MS = 2 ** 31 - 1;

/** A time in milliseconds. */
export const milliseconds: Check<number> = (value, path) => {
  if (typeof value === 'number' && value >= 0 && value <= MAX_MS) return value;
  throw invalidArgument(path, `is ${describe(value)}; give milliseconds, a number from 0 to ${MAX_MS}`);
};

/** A time in milliseconds that no timer waits for; may be Infinity. */
export const duration: Check<number> = (value, path) => {
  if (typeof value === 'number' && value >= 0) return value;
  throw invalidArgument(path, `is ${describe(value)}; give milliseconds, a number from 0`);
};

/** A whole number that counts things. */
export function count(min: number, max = Number.MAX_SAFE_INTEGER): Check<number> {
  return (value, path) => {
    if (Number.isInteger(value) && (value as number) >= min && (value as number) <= max)
      return value as number;
    throw invalidArgument(path, `is ${describe(value)}; give a whole number from ${min} to ${max}`);
  };
}

/** True or false. */
export const flag: Check<boolean> = (value, path) => {
  if (typeof value === 'boolean') return value;
  throw invalidArgument(path, `is ${describe(value)}; give true or false`);
};

/** Any text that UTF-8 can carry. */
export const text: Check<string> = (value, path) => {
  if (typeof value !== 'string') throw invalidArgument(path, `must be a string, but is ${describe(value)}`);
  if (value.isWellFormed()) return value;
  throw invalidArgument(path, 'holds half a surrogate pair; repair it with String.prototype.toWellFormed()');
};

/** One of some words. */
export function oneOf(...words: readonly string[]): Check<string> {
  return (value, path) => {
    if (typeof value === 'string' && words.includes(value)) return value;
    const near = typeof value === 'string' ? nearest(value, words) : undefined;
    const advice = near === undefined ? '' : `; did you mean "${near}"?`;
    throw invalidArgument(
      path,
      `is ${describe(value)}, but must be one of ${words.map(quoted).join(', ')}${advice}`,
    );
  };
}

/** A function that is called back. */
export const callback: Check = (value, path) => {
  if (typeof value === 'function') return value;
  throw invalidArgument(path, `is ${describe(value)}; give a function`);
};

/** An object of a class, known by the members that it has; several copies of a package have several classes. */
export function instance(className: string, members: readonly string[]): Check {
  return (value, path) => {
    const fits =
      typeof value === 'object' && value !== null && members.every((name) => Reflect.has(value, name));
    if (fits) return value;
    throw invalidArgument(path, `is ${describe(value)}; give ${className}`);
  };
}

export const signal: Check = instance('an AbortSignal', [
  'aborted',
  'addEventListener',
  'removeEventListener',
]);

/** W3C, https://www.w3.org/TR/trace-context/#traceparent-header; empty for none. */
const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[!-~]*)?$/;

/** A W3C trace context, or an empty text for none. */
export const traceparent: Check<string> = (value, path) => {
  if (value === '' || (typeof value === 'string' && TRACEPARENT.test(value))) return value;
  throw invalidArgument(
    path,
    `is ${describe(value)}; give a W3C trace context, such as "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"`,
  );
};

const PORT = /^[1-9]\d{0,4}$/;
const HOST_NAME = /^(?=.{1,253}$)[\p{L}\p{N}_](?:[\p{L}\p{N}_-]*[\p{L}\p{N}_])?(?:\.[\p{L}\p{N}_-]+)*\.?$/u;
const IPV6 = /^[\da-f:.]*:[\da-f:.]*:[\da-f:.]*(?:%[\w.-]+)?$/i;

/** `host:port` of a server. */
export const serverAddress: Check<string> = (value, path) => {
  const refuse = (why: string): never => {
    throw invalidArgument(path, `is ${describe(value)}${why}; write HOST:PORT, such as "127.0.0.1:7402"`);
  };
  if (typeof value !== 'string' || value === '') return refuse('');
  if (/^unix:/i.test(value)) return value;
  if (value.includes('://')) return refuse(', with a scheme; leave out what is before "//"');
  if (/[\s\0]/.test(value)) return refuse(', with white space');
  const {
    bracketed,
    host = '',
    port,
  } = /^(?:\[(?<bracketed>[^[\]]*)\]|(?<host>[^[\]]*?))(?::(?<port>[^:]*))?$/.exec(value)?.groups ?? {};
  if (bracketed === undefined && IPV6.test(value)) {
    return refuse(', an IPv6 address without brackets; write "[::1]:7402"');
  }
  if (port === undefined) return refuse(', without a port');
  if (!PORT.test(port) || Number(port) > 65_535) return refuse(', but a port is a number from 1 to 65535');
  if (bracketed !== undefined && !IPV6.test(bracketed))
    return refuse(', with no IPv6 address in the brackets');
  if (bracketed === undefined && !HOST_NAME.test(host))
    return refuse(`, where ${quoted(host)} names no host`);
  return value;
};

/** Addresses of several servers. */
export const serverAddresses: Check<string[]> = (value, path) => {
  const addresses = itemsOf(value, path).map((item, index) => serverAddress(item, `${path}[${index}]`));
  if (addresses.length === 0)
    throw invalidArgument(path, 'is empty; name at least one server, or leave it out');
  const again = addresses.findIndex((address, index) => addresses.indexOf(address) < index);
  if (again === -1) return addresses;
  throw invalidArgument(`${path}[${again}]`, `is ${quoted(addresses[again]!)} again; name each server once`);
};

/** How names of gRPC begin. */
const CHANNEL_OPTION = /^grpc(?:-node)?\.[a-z0-9_.]+$/;

/** Options of a gRPC channel: names that gRPC knows are many, so their form is checked. */
export const channelOptionTable: Check<Record<string, unknown>> = (value, path) => {
  const options: Record<string, unknown> = {};
  for (const [name, item] of entriesOf(value, path)) {
    if (item === undefined) continue;
    const at = join(path, name);
    if (!CHANNEL_OPTION.test(name))
      throw invalidArgument(at, 'is no option of gRPC; these begin with "grpc."');
    const isNumber = typeof item === 'number' && !Number.isNaN(item);
    if (!isNumber && typeof item !== 'string' && typeof item !== 'function') {
      throw invalidArgument(at, `is ${describe(item)}; give a number or a string`);
    }
    options[name] = item;
  }
  return options;
};

const METADATA_KEY = /^[0-9a-z_.-]+$/;
const METADATA_TEXT = /^[ -~]*$/;

/** What a call carries besides its message: keys in lower case, with printable ASCII or (`-bin`) bytes. */
export const callMetadata: Check<Record<string, (string | Buffer)[]>> = (value, path) => {
  const metadata: Record<string, (string | Buffer)[]> = {};
  for (const [key, item] of entriesOf(value, path)) {
    if (item === undefined) continue;
    const at = join(path, key);
    if (!METADATA_KEY.test(key) || key.startsWith('grpc-')) {
      throw invalidArgument(
        at,
        'is no key; write a-z, 0-9, "_", "-" and "." that does not begin with "grpc-"',
      );
    }
    const items = Array.isArray(item) ? itemsOf(item, at) : [item];
    metadata[key] = items.map((each) => {
      if (key.endsWith('-bin')) {
        if (Buffer.isBuffer(each)) return each;
        throw invalidArgument(at, `is ${describe(each)}; a key that ends with "-bin" carries a Buffer`);
      }
      if (typeof each === 'string' && METADATA_TEXT.test(each)) return each;
      throw invalidArgument(at, `is ${describe(each)}; give printable ASCII without line breaks`);
    });
  }
  return metadata;
};
