import type { ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js';
import { ruleOf } from '../access/rules.ts';
import type { Call, Implementation } from '../handler.ts';
import type { Quotas } from './quotas.ts';
import { onlyTenant } from './whose.ts';

type Handler = (request: object, call: Call) => unknown;

/**
 * The same handlers, which count each request for its tenant first, and say in its span whose it is. The tenant is that of
 * the field which the descriptor has for it, or else that of the credential, so that a new RPC is counted without a word here.
 * Streams of requests count theirs by {@link countRequest}.
 */
export function perTenant<Handlers extends UntypedServiceImplementation>(
  definition: ServiceDefinition,
  implementation: Implementation<Handlers>,
  quotas: Quotas,
): Implementation<Handlers> {
  const handlers = implementation as Readonly<Record<string, Handler>>;
  return Object.fromEntries(
    Object.entries(definition).map(([name, { path, requestStream }]) => {
      const handler = handlers[name]!;
      if (requestStream) return [name, handler];
      const place = ruleOf(path).places.find(({ what }) => what === 'tenant')?.path;
      const counted: Handler = (request, call) => {
        try {
          countRequest(quotas, call, place && valueAt(request, place));
        } catch (error) {
          // What is refused rejects, as whatever the handler throws.
          return Promise.reject(error);
        }
        return handler(request, call);
      };
      return [name, counted];
    }),
  ) as Implementation<Handlers>;
}

/** Counts one request, and says in its span whose it is. @throws {ServiceError} `QUOTA_EXCEEDED` */
export function countRequest(quotas: Quotas, call: Pick<Call, 'span' | 'caller'>, named?: string): void {
  const tenant = named ?? (call.caller && onlyTenant(call.caller));
  if (tenant === undefined) return;
  if (tenant !== '') call.span?.setAttribute('scalingnote.tenant', tenant);
  quotas.request(tenant);
}

function valueAt(from: unknown, path: readonly string[]): string | undefined {
  let value = from;
  for (const step of path) value = (value as Record<string, unknown> | null | undefined)?.[step];
  return typeof value === 'string' ? value : undefined;
}
