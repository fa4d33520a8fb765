import type { MiddlewareHandler } from 'hono';
import { badRequest } from './errors.ts';
import { unknownName } from './unknown-name.ts';

/** Parameters in the query strings of the API, by path. All other paths take none. */
const PARAMETERS: readonly (readonly [path: RegExp, names: readonly string[]])[] = [
  [/^\/api\/traces$/, ['order', 'limit', 'service', 'name']],
  [/^\/api\/ingests\/[^/]+\/chunks$/, ['offset']],
];

/** What is no API: the page reads its own query strings, in the browser. */
const API = /^\/(?:api|v1)\//;

/** Refuses parameters that a path does not take, and those that come twice: they would be ignored. */
export const strictParameters: MiddlewareHandler = ({ req }, next) => {
  if (!API.test(req.path)) return next();
  const names = PARAMETERS.find(([path]) => path.test(req.path))?.[1] ?? [];
  for (const [name, values] of Object.entries(req.queries())) {
    if (!names.includes(name)) throw badRequest(name, unknownName(name, names));
    if (values.length > 1) throw badRequest(name, `is given ${values.length} times; give it once`);
  }
  return next();
};
