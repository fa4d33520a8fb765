import { status } from '@grpc/grpc-js';
import { serveConnectUnary } from './connect-unary.ts';
import { HttpError } from './exchange.ts';
import { spokenBy } from './method-routes.ts';
import type { AddRoutes } from './routes.ts';

/** Plain addresses beside those of Connect. */
const PLAIN: Readonly<Record<string, { verb: 'GET' | 'POST'; method: string }>> = {
  '/v1/search': { verb: 'POST', method: '/scalingnote.v1.QueryService/Search' },
  '/v1/encode': { verb: 'POST', method: '/scalingnote.v1.QueryService/Encode' },
  '/v1/familiarity': { verb: 'POST', method: '/scalingnote.v1.QueryService/MeasureFamiliarity' },
  '/v1/describe': { verb: 'GET', method: '/scalingnote.v1.QueryService/Describe' },
};

/** Adds the plain addresses of the methods that the port has: JSON in, JSON out. */
export const plainRoutes: AddRoutes = (routes, methods) => {
  for (const [path, { verb, method: name }] of Object.entries(PLAIN)) {
    const method = methods.get(name);
    if (!method) continue;
    routes.add(path, {
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
