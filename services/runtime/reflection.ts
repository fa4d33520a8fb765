import { readFileSync } from 'node:fs';
import type { PackageDefinition } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';
import protobuf from 'protobufjs';

/** Descriptors as the protobuf compiler makes them, of our contract and of the health service. */
const DESCRIPTOR_SETS = ['descriptors.binpb', 'health.binpb'];

/**
 * Server reflection (`grpc.reflection.v1`), so that any gRPC tool can call the named services without our files.
 *
 * The descriptors that `@grpc/proto-loader` has are of no use for that: it renames fields, merges files and forgets
 * imports, and tools written in Go refuse the result.
 */
export function reflection(services: readonly string[]): ReflectionService {
  const files = DESCRIPTOR_SETS.flatMap((name) =>
    split(readFileSync(new URL(`../../proto/scalingnote/${name}`, import.meta.url))),
  );
  const definition = { files: { fileDescriptorProtos: files } } as unknown as PackageDefinition;
  return new ReflectionService(definition, { services: [...services] });
}

/** The files of a `google.protobuf.FileDescriptorSet`, which is nothing but a list of them. */
function split(set: Buffer): Uint8Array[] {
  const files: Uint8Array[] = [];
  const reader = protobuf.Reader.create(set);
  while (reader.pos < reader.len) {
    reader.uint32();
    files.push(reader.bytes());
  }
  return files;
}
