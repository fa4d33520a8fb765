import { loadPackageDefinition } from '@grpc/grpc-js';
import { fromJSON, type Options, type PackageDefinition } from '@grpc/proto-loader';
import { contract } from './contract.ts';
import type { ProtoGrpcType as DocumentTypes } from './generated/document_service.ts';
import type { ProtoGrpcType as ErrorDetailTypes } from './generated/error_details.ts';
import type { ProtoGrpcType as QueryTypes } from './generated/query_service.ts';
import { lazily } from './lazy.ts';

/**
 * How messages look in JavaScript. The generated types were made with the same choices (`npm run proto`), so
 * changing one means changing the other.
 *
 * 64-bit integers are decimal strings: a JavaScript number would round what is past 2^53 before anybody could
 * refuse it.
 */
const LOADER_OPTIONS: Options = {
  longs: String,
  enums: String,
  defaults: true,
  oneofs: true,
};

/** Every message and service of the wire contract. */
export const packageDefinition: PackageDefinition = lazily(() => fromJSON(contract, LOADER_OPTIONS));

type Loaded = DocumentTypes & QueryTypes & ErrorDetailTypes;

/** Client constructors and service definitions of `scalingnote.v1`. */
export const v1: Loaded['scalingnote']['v1'] = lazily(
  () => (loadPackageDefinition(packageDefinition) as unknown as Loaded).scalingnote.v1,
);
