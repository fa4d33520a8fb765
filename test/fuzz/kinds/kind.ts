import * as fc from 'fast-check';
import type { Case, Header, ServiceName, Wire } from '../case.ts';

/** What generators know of the services. */
export interface Ground {
  /** A key that may do everything. */
  readonly key: string;
  /** Of the space of both towers. */
  readonly fingerprint: string;
  readonly dimensions: number;
}

/** A generator of cases of one kind. */
export interface Kind {
  readonly name: string;
  /** How often, against the others of its part. */
  readonly weight: number;
  readonly part: 'structured' | 'raw';
  of(ground: Ground): fc.Arbitrary<Case>;
}

/** What any refusal of a wrong request may be. INTERNAL, UNKNOWN and DATA_LOSS never are: these blame the service. */
export const REFUSED = [
  'INVALID_ARGUMENT',
  'NOT_FOUND',
  'FAILED_PRECONDITION',
  'RESOURCE_EXHAUSTED',
  'UNIMPLEMENTED',
] as const;

/** The headers of a call of gRPC. */
export function grpcHeaders(path: string, more: readonly Header[] = []): Header[] {
  return [
    [':method', 'POST'],
    [':scheme', 'http'],
    [':path', path],
    [':authority', 'localhost'],
    ['te', 'trailers'],
    ['content-type', 'application/grpc'],
    ...more,
  ];
}

/** The message in the envelope of gRPC. */
export function enveloped(message: Uint8Array, flags = 0, length = message.length): Buffer {
  const bytes = Buffer.allocUnsafe(5 + message.length);
  bytes[0] = flags;
  bytes.writeUInt32BE(length, 1);
  bytes.set(message, 5);
  return bytes;
}

/** Whether the service of a case wants keys, and what the case brings. */
export const credential = fc.constantFrom<('open' | 'keyed' | 'stranger')[]>(
  'open',
  'open',
  'open',
  'keyed',
  'keyed',
  'stranger',
);
export type Credential = 'open' | 'keyed' | 'stranger';

/** A case of a credential: without a key, services that want one say so whatever else is wrong. */
export function withCredential(
  one: { kind: string; service: ServiceName; allowed: readonly string[]; check?: string },
  wire: Wire & { on: 'stream' },
  who: Credential,
  ground: Ground,
  unauthenticated = 'UNAUTHENTICATED',
): Case {
  if (who === 'open') return { ...one, keyed: false, wire };
  if (who === 'keyed') {
    const headers = [...wire.headers, ['authorization', `Bearer ${ground.key}`] as const];
    return { ...one, keyed: true, wire: { ...wire, headers } };
  }
  const isLeft = wire.end === 'reset';
  return {
    kind: one.kind,
    service: one.service,
    keyed: true,
    wire,
    allowed: isLeft ? one.allowed : [unauthenticated],
  };
}
