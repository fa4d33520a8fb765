import { readFileSync } from 'node:fs';
import type { ServiceDefinition } from '@grpc/grpc-js';
import { createFileRegistry, fromBinary, type FileRegistry } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema, MethodOptions_IdempotencyLevel } from '@bufbuild/protobuf/wkt';
import { jsonMethod, registry as contract, type JsonMethod } from './json.ts';

/** Descriptors of `grpc.health.v1`. */
const standard = createFileRegistry(
  fromBinary(
    FileDescriptorSetSchema,
    readFileSync(new URL('../../../proto/scalingnote/health.binpb', import.meta.url)),
  ),
);

/** A service whose handlers are bound: the very functions that gRPC calls. */
export interface BoundService {
  definition: ServiceDefinition;
  handlers: Readonly<Record<string, unknown>>;
  /** Descriptors of the service. @default those of our contract */
  registry?: FileRegistry | undefined;
}

/** A method with the handler that gRPC calls, and its messages on the wire and in JSON. */
export interface Method {
  /** `/scalingnote.v1.QueryService/Search`. */
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  /** Whether the contract says that it has no side effects (`idempotency_level`): it may be called by GET. */
  readonly isSafe: boolean;
  /** The handler, as grpc-js has them: of the kind that belongs to the streams. */
  readonly handler: unknown;
  readonly decode: (bytes: Buffer) => object;
  readonly encode: (response: object) => Buffer;
  /** The JSON form; `undefined` where the descriptors do not have the method. */
  readonly json: JsonMethod | undefined;
}

/** All methods of a port, by path. */
export type Methods = ReadonlyMap<string, Method>;

export function methodsOf(services: readonly BoundService[]): Methods {
  const methods = new Map<string, Method>();
  for (const { definition, handlers, registry = contract } of services) {
    for (const [name, method] of Object.entries(definition)) {
      const { path, requestStream, responseStream, originalName } = method;
      methods.set(path, {
        path,
        requestStream,
        responseStream,
        handler: handlers[name] ?? (originalName === undefined ? undefined : handlers[originalName]),
        decode: method.requestDeserialize as Method['decode'],
        encode: method.responseSerialize as Method['encode'],
        isSafe: isSafe(path, registry),
        json: jsonMethod(path, registry) ?? jsonMethod(path, standard),
      });
    }
  }
  return methods;
}

function isSafe(path: string, registry: FileRegistry): boolean {
  const [, service = '', name] = path.split('/');
  const method = registry.getService(service)?.methods.find((each) => each.name === name);
  return method?.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
}
