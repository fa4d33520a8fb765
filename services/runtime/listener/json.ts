import { readFileSync } from 'node:fs';
import {
  createFileRegistry,
  type DescMessage,
  type FileRegistry,
  fromBinary,
  fromJson,
  type JsonValue,
  toBinary,
  toJson,
} from '@bufbuild/protobuf';
import { isFieldError } from '@bufbuild/protobuf/reflect';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import type { ServerErrorResponse } from '@grpc/grpc-js';
import { invalidArgument } from '../errors.ts';
import { checkMessage, isObject, pathOf } from './json-check.ts';
import { withJsonNames } from './json-names.ts';
import { jsonWriter } from './json-write.ts';
import { repeatedKey } from './repeated-key.ts';

/** Every message and service of the wire contract, with the types that they are made of. */
export const registry = createFileRegistry(
  fromBinary(
    FileDescriptorSetSchema,
    readFileSync(new URL('../../../proto/scalingnote/descriptors.binpb', import.meta.url)),
  ),
);

/** Deepest nesting that is taken, as protobuf has it for messages: what recurses must not run out of stack. */
export const MAX_JSON_DEPTH = 100;

/** The messages of a method, in JSON and on the wire. */
export interface JsonMethod {
  /** The bytes of the request that a JSON text means. @throws {ServiceError} that names the field and the fix */
  decode(text: string): Uint8Array;
  /**
   * The JSON text of a response.
   *
   * @param response as a handler makes it
   * @param serialize makes the bytes of it
   */
  encode(response: object, serialize: (response: object) => Uint8Array): string;
  /** The same error, with the fields of the request in the names of JSON. */
  named(error: Partial<ServerErrorResponse>): Partial<ServerErrorResponse>;
}

/** The JSON form of a method by its path, `/scalingnote.v1.QueryService/Search`; `undefined` where it is not ours. */
export function jsonMethod(path: string, from: FileRegistry = registry): JsonMethod | undefined {
  const [, service = '', name] = path.split('/');
  const method = from.getService(service)?.methods.find((each) => each.name === name);
  if (!method) return undefined;
  const { input, output } = method;
  const write = jsonWriter(output);
  return {
    decode: (text) => decode(input, text, from),
    encode: (response, serialize) =>
      JSON.stringify(
        write ? write(response) : toJson(output, fromBinary(output, serialize(response)), { registry: from }),
      ),
    named: (error) => withJsonNames(error, input),
  };
}

function decode(type: DescMessage, text: string, from: FileRegistry): Uint8Array {
  let json: JsonValue;
  try {
    json = JSON.parse(text) as JsonValue;
  } catch (error) {
    throw invalidArgument('body', `is not JSON: ${(error as Error).message}; send one JSON object`);
  }
  const repeated = repeatedKey(text);
  if (repeated !== undefined) {
    throw invalidArgument(
      'body',
      `has the key ${JSON.stringify(repeated)} twice in one object; send it once`,
    );
  }
  if (!isObject(json))
    throw invalidArgument('body', 'is not a JSON object; send one, {} for a request without fields');
  checkText(json, '', 0);
  checkMessage(type, json, '');
  try {
    return toBinary(type, fromJson(type, json, { registry: from }));
  } catch (error) {
    const { cause, message } = error as Error;
    const field = isFieldError(cause) ? cause.field() : undefined;
    throw invalidArgument(field && 'jsonName' in field ? field.jsonName : 'body', message);
  }
}

/** Refuses what is too deep, and texts that have no UTF-8. */
function checkText(json: JsonValue, path: string, depth: number): void {
  if (depth > MAX_JSON_DEPTH) throw invalidArgument('body', `is nested deeper than ${MAX_JSON_DEPTH} levels`);
  if (typeof json === 'string') {
    if (!json.isWellFormed())
      throw invalidArgument(path, 'holds half of a surrogate pair; send whole characters');
  } else if (Array.isArray(json))
    json.forEach((item, index) => checkText(item, `${path}[${index}]`, depth + 1));
  else if (isObject(json)) {
    for (const [key, item] of Object.entries(json)) {
      checkText(key, path === '' ? 'body' : path, depth);
      checkText(item, pathOf(path, key), depth + 1);
    }
  }
}
