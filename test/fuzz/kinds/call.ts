import * as fc from 'fast-check';
import { registry } from '../../../services/runtime/listener/json.ts';
import type { Case, Header, ServiceName } from '../case.ts';
import { credential, grpcHeaders, type Ground, REFUSED, withCredential } from './kind.ts';

/** Every method of both services, by path. */
export const METHODS = (['query', 'document'] as const).flatMap((service) => {
  const name = service === 'query' ? 'QueryService' : 'DocumentService';
  return registry.getService(`scalingnote.v1.${name}`)!.methods.map((method) => ({
    service,
    path: `/scalingnote.v1.${name}/${method.name}`,
    input: method.input,
    isStream: method.methodKind !== 'unary',
  }));
});
/** The same, to be found. */
export const methodOf = new Map(METHODS.map((method) => [method.path, method]));

/** What a hostile message may be answered with: it may happen to be right. */
export const HOSTILE = ['OK', ...REFUSED, 'ABORTED', 'UNAVAILABLE'];

/** A call of gRPC: its messages, and what may come of them. */
export interface Sent {
  kind: string;
  service: ServiceName;
  path: string;
  data: readonly Buffer[];
  allowed: readonly string[];
  check?: string;
  more?: readonly Header[];
  end?: 'data' | 'trailers' | 'reset';
}

/** Calls as cases, with any credential. */
export const sent = (arbitrary: fc.Arbitrary<Sent>, ground: Ground): fc.Arbitrary<Case> =>
  fc.tuple(arbitrary, credential).map(([one, who]) => {
    const { path, data, more, end = 'data', ...rest } = one;
    return withCredential(rest, { on: 'stream', headers: grpcHeaders(path, more), data, end }, who, ground);
  });
