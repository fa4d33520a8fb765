import type { Exchange } from './exchange.ts';
import type { AddRoutes } from './routes.ts';

/** Where load balancers that speak HTTP ask whether the service serves: 200 or 503. */
export const HEALTH_PATH = '/healthz';

/** Adds {@link HEALTH_PATH}. It says what `grpc.health.v1` says of the server as a whole. */
export function healthRoutes(isServing: () => boolean): AddRoutes {
  return (routes) =>
    routes.add(HEALTH_PATH, {
      verbs: ['GET', 'HEAD'],
      serve: async (exchange: Exchange) => {
        const serving = isServing();
        const headers = { 'content-type': 'application/json', 'cache-control': 'no-store' };
        const body = JSON.stringify({ status: serving ? 'SERVING' : 'NOT_SERVING' });
        exchange.send(serving ? 200 : 503, headers, body);
      },
    });
}
