import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createFileRegistry, fromBinary, type FileRegistry } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { loadPackageDefinition, type ServiceDefinition } from '@grpc/grpc-js';
import { loadSync, type MessageTypeDefinition } from '@grpc/proto-loader';

/** A header or trailer with its values. */
export interface Header {
  name: string;
  value: string[];
}

/** A packed `google.protobuf.Any`. */
export interface Any {
  type_url: string;
  value: Buffer;
}

/** An error to send, or that came. */
export interface WireError {
  code: string;
  message?: string;
  details: Any[];
}

export interface UnaryPlan {
  responseHeaders: Header[];
  responseTrailers: Header[];
  responseData?: Buffer;
  error?: WireError;
  responseDelayMs: number;
}

export interface StreamPlan {
  responseHeaders: Header[];
  responseTrailers: Header[];
  responseData: Buffer[];
  error?: WireError | null;
  responseDelayMs: number;
}

export interface Request<Plan> {
  responseDefinition?: Plan | null;
  fullDuplex?: boolean;
}

/** The wire contract of the conformance suite, from the files of its module. */
export interface Suite {
  service: ServiceDefinition;
  registry: FileRegistry;
  type<Output>(name: string): MessageTypeDefinition<object, Output>;
}

const PACKAGE = 'connectrpc.conformance.v1';

/**
 * Loads it.
 *
 * @param protos - folder with `connectrpc/conformance/v1/*.proto`
 * @param descriptors - the same as a file of descriptors
 */
export function loadSuite(protos: string, descriptors: string): Suite {
  const names = ['service', 'server_compat', 'client_compat'];
  const definition = loadSync(
    names.map((name) => join('connectrpc/conformance/v1', `${name}.proto`)),
    { includeDirs: [protos], longs: String, enums: String, defaults: true, oneofs: true },
  );
  const loaded = loadPackageDefinition(definition) as unknown as {
    connectrpc: { conformance: { v1: { ConformanceService: { service: ServiceDefinition } } } };
  };
  return {
    service: loaded.connectrpc.conformance.v1.ConformanceService.service,
    registry: createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(descriptors))),
    type: <Output>(name: string) =>
      definition[`${PACKAGE}.${name}`] as unknown as MessageTypeDefinition<object, Output>,
  };
}

/** The URL of a packed message of the suite. */
export function typeUrl(name: string): string {
  return `type.googleapis.com/${PACKAGE}.${name}`;
}

/** What the runner sends and takes: messages, each after its length as 32 bits. */
export async function* messagesOf(input: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, undefined> {
  let bytes = Buffer.alloc(0);
  for await (const chunk of input) {
    bytes = Buffer.concat([bytes, chunk]);
    while (bytes.length >= 4 && bytes.length >= 4 + bytes.readUInt32BE(0)) {
      const end = 4 + bytes.readUInt32BE(0);
      yield bytes.subarray(4, end);
      bytes = bytes.subarray(end);
    }
  }
}

/** A message after its length. */
export function sized(message: Buffer): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(message.length);
  return Buffer.concat([head, message]);
}
