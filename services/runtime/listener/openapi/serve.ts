import type { AddRoutes } from '../routes.ts';
import { openApi } from './document.ts';

/** Where a service says what it answers with JSON. */
export const OPENAPI_PATH = '/openapi.json';

/** Adds the description of what the service answers with JSON. It is made when somebody asks for the first time. */
export function openApiRoutes(): AddRoutes {
  return (routes, methods) => {
    let text: string | undefined;
    routes.add(OPENAPI_PATH, {
      verbs: ['GET', 'HEAD'],
      serve: async (exchange) => {
        text ??= JSON.stringify(openApi(methods.keys()));
        exchange.send(200, { 'content-type': 'application/json' }, text);
      },
    });
  };
}
