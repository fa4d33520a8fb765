import { StartError } from '../start-error.ts';
import type { Arrival } from '../listener/seams.ts';
import { standardNeed, type Need } from './rules.ts';

/**
 * What each address asks for that calls no RPC, of all services; one that ends in `/*` stands for everything below it.
 * An address that is not here can't be served.
 */
export const ROUTE_NEEDS: Readonly<Record<string, Need>> = {
  '/healthz': 'open',
  // What the service can do is in its repository; a page can't send a credential for its script.
  '/openapi.json': 'open',
  '/v1/tower': 'encode',
  '/v1/tower/*': 'encode',
  '/metrics': 'metrics',
  '/metrics.json': 'metrics',
};

/** What an address asks for. @throws {StartError} where it declares nothing: then it can't be served */
export function needOfRoute(path: string): Need {
  const need =
    ROUTE_NEEDS[path] ??
    Object.entries(ROUTE_NEEDS).find(
      ([each]) => each.endsWith('/*') && path.startsWith(each.slice(0, -1)),
    )?.[1];
  if (need === undefined) {
    throw new StartError(
      `${path} declares no scope; add it to ROUTE_NEEDS in services/runtime/access/routes.ts`,
    );
  }
  return need;
}

/** What a request needs that calls no method of ours: a route, a standard service, or a method that is not there. */
export function needOfOther(protocol: Arrival['protocol'], path: string): Need {
  return protocol === 'http' ? needOfRoute(path) : (standardNeed(path) ?? 'any');
}
