import { status } from '@grpc/grpc-js';
import { serveConnectUnary } from './connect-unary.ts';
import { HttpError } from './exchange.ts';
import { spokenBy } from './method-routes.ts';
import { plainAddresses } from './openapi/plain.ts';
import type { AddRoutes } from './routes.ts';

/** Adds the plain addresses of the methods that the port has: JSON in, JSON out. */
export const plainRoutes: AddRoutes = (routes, methods) => {
  for (const { address, verb, path: name } of plainAddresses(methods.keys())) {
    const method = methods.get(name)!;
    routes.add(address, {
      verbs: [verb],
      method: name,
      serve: (exchange) => {
        const spoken = spokenBy(exchange);
        if (verb === 'POST' && (spoken?.codec !== 'json' || spoken.framing)) {
          const given = JSON.stringify(exchange.headers['content-type'] ?? '');
          throw new HttpError(
            415,
            status.INVALID_ARGUMENT,
            `content-type is ${given}; send application/json`,
          );
        }
        return serveConnectUnary(exchange, method, 'json');
      },
    });
  }
};
