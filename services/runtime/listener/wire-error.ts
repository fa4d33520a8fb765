import { Metadata, status, type handleUnaryCall } from '@grpc/grpc-js';
import type { Status__Output } from '../../../proto/generated/google/rpc/Status.ts';
import { packageDefinition } from '../../../proto/load.ts';
import { STATUS_DETAILS_TRAILER } from '../../../proto/status.ts';

/** An error as a handler answers with it. */
export type GrpcError = NonNullable<Parameters<Parameters<handleUnaryCall<object, object>>[1]>[0]>;

/** The HTTP status of each gRPC status, as the Connect protocol has it. */
const HTTP_STATUS: Readonly<Record<number, number>> = {
  1: 499,
  2: 500,
  3: 400,
  4: 504,
  5: 404,
  6: 409,
  7: 403,
  8: 429,
  9: 400,
  10: 409,
  11: 400,
  12: 501,
  13: 500,
  14: 503,
  15: 500,
  16: 401,
};

/** The error JSON of Connect, which plain addresses answer with, too. */
export interface ErrorJson {
  code: string;
  message: string;
  details: { type: string; value: string }[];
}

const statusType = packageDefinition['google.rpc.Status'] as unknown as {
  deserialize(bytes: Buffer): Status__Output;
};

export function httpStatus(error: GrpcError): number {
  return HTTP_STATUS[error.code ?? status.UNKNOWN] ?? 500;
}

export function errorJson(error: GrpcError): ErrorJson {
  const code = error.code ?? status.UNKNOWN;
  const [packed] = error.metadata?.get(STATUS_DETAILS_TRAILER) ?? [];
  const rich = Buffer.isBuffer(packed) ? statusType.deserialize(packed) : undefined;
  const details = (rich?.details ?? []) as unknown as { type_url: string; value: Buffer }[];
  return {
    code: code === status.CANCELLED ? 'canceled' : (status[code] ?? 'UNKNOWN').toLowerCase(),
    message: error.details ?? '',
    details: details.map(({ type_url: url, value }) => ({
      type: url.slice(url.lastIndexOf('/') + 1),
      value: unpadded(value),
    })),
  };
}

/** What goes with an error beside its status: its trailers but for the rich status. */
export function trailersOf(error: GrpcError): Metadata {
  const trailers = error.metadata?.clone() ?? new Metadata();
  trailers.remove(STATUS_DETAILS_TRAILER);
  return trailers;
}

/** Metadata as header fields: names that end in `-bin` hold base64, without the padding. */
export function fieldsOf(metadata: Metadata | undefined): [name: string, value: string][] {
  if (!metadata) return [];
  return Object.keys(metadata.getMap()).flatMap((name) =>
    metadata
      .get(name)
      .map((value): [string, string] => [name, typeof value === 'string' ? value : unpadded(value)]),
  );
}

/** Header fields as `node:http` takes them, where a name may stand more than once. */
export function grouped(fields: readonly [string, string][]): Record<string, string[]> {
  const headers: Record<string, string[]> = {};
  for (const [name, value] of fields) (headers[name] ??= []).push(value);
  return headers;
}

/** Base64 without the padding, as gRPC and Connect send it. */
export function unpadded(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64').replace(/=+$/, '');
}
