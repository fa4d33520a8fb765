import { utf8 } from './exchange.ts';
import type { Method } from './methods.ts';
import type { GrpcError } from './wire-error.ts';

/** How the messages of a method stand in a body. */
export interface Codec {
  readonly name: 'proto' | 'json';
  /** @throws {ServiceError} that names what is wrong; what the decoder of gRPC refuses, the handler refuses */
  decode(bytes: Buffer): object;
  encode(response: object): Buffer;
  /** The error with the names of fields that this form has. */
  named(error: GrpcError): GrpcError;
}

/** The form by its name; `undefined` where the method does not have it. */
export function codecOf(method: Method, name: string): Codec | undefined {
  const { decode, encode, json } = method;
  if (name === 'proto') return { name, decode, encode, named: (error) => error };
  if (name !== 'json' || !json) return undefined;
  return {
    name,
    decode: (bytes) => decode(Buffer.from(json.decode(utf8(bytes)))),
    encode: (response) => Buffer.from(json.encode(response, encode)),
    named: (error) => json.named(error),
  };
}
