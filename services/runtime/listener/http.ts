import type { RequestListener } from 'node:http';
import type { Http2ServerResponse } from 'node:http2';
import { status } from '@grpc/grpc-js';
import { ServiceError } from '../errors.ts';
import { sendConnectError } from './connect-unary.ts';
import { Exchange, HttpError, UnspokenError, type ExchangeLimits } from './exchange.ts';
import { sendFramedError } from './framed.ts';
import { healthRoutes } from './health-routes.ts';
import { methodRoutes, spokenBy } from './method-routes.ts';
import type { Methods } from './methods.ts';
import { openApiRoutes } from './openapi/serve.ts';
import { plainRoutes } from './plain.ts';
import { Routes, type AddRoutes, type Route } from './routes.ts';
import { searchSessions } from './search-sessions.ts';
import type { Hooks } from './seams.ts';

/** How long a browser may keep the answer to a preflight, in seconds. */
const PREFLIGHT_AGE_S = 600;
/** Headers that a page of another origin may send. */
const PAGE_HEADERS = [
  'authorization',
  'content-type',
  'connect-protocol-version',
  'connect-timeout-ms',
  'grpc-timeout',
  'traceparent',
  'tracestate',
  'x-grpc-web',
  'x-user-agent',
].join(', ');

/** What {@link httpListener} needs. */
export interface HttpOptions {
  methods: Methods;
  /** Routes beside those of the methods. */
  routes?: readonly AddRoutes[] | undefined;
  limits: ExchangeLimits;
  /** Origins of browsers' pages that may call. */
  corsOrigins: readonly string[];
  beforeCall?: Hooks['beforeCall'] | undefined;
  /** Looks at the header `Host` of each request. @throws {ServiceError} @default every host is good */
  checkHost?: ((host: string | undefined) => void) | undefined;
  /** Whether the service serves. */
  isServing: () => boolean;
}

/** Serves every request that is no gRPC, over HTTP/1.1 and HTTP/2: Connect, gRPC-Web, plain addresses. */
export function httpListener(options: HttpOptions): RequestListener {
  const { limits, methods } = options;
  const routes = new Routes();
  const added = [
    methodRoutes,
    plainRoutes,
    searchSessions(),
    openApiRoutes(),
    healthRoutes(options.isServing),
    ...(options.routes ?? []),
  ];
  for (const add of added) add(routes, methods);
  return (request, response) => {
    response.on('error', () => {});
    const exchange = new Exchange(request, response, limits);
    answer(exchange, routes, options).catch((error: unknown) => fail(exchange, error));
  };
}

async function answer(exchange: Exchange, routes: Routes, options: HttpOptions): Promise<void> {
  const { response, path, request } = exchange;
  options.checkHost?.(request.headers.host ?? request.headers[':authority']?.toString());
  const origin = allowOrigin(exchange, options.corsOrigins);
  const route = routes.find(path);
  if (!route) {
    const known = routes.advertised.join(', ');
    throw new HttpError(404, status.UNIMPLEMENTED, `nothing is at ${path.slice(0, 100)}; there is ${known}`);
  }
  const allowed = route.verbs.join(', ');
  if (request.method === 'OPTIONS' && origin !== undefined) {
    response.writeHead(204, {
      'access-control-allow-methods': allowed,
      'access-control-allow-headers': PAGE_HEADERS,
      'access-control-max-age': String(PREFLIGHT_AGE_S),
    });
    response.end();
    return;
  }
  if (!route.verbs.some((verb) => verb === request.method)) {
    response.setHeader('allow', allowed);
    const message = `${request.method} does not work at ${path}; use ${allowed}`;
    // At the address of a method there are several protocols, and a request by another verb speaks none of them.
    if (route.method === path) throw new UnspokenError(message, 405, status.UNIMPLEMENTED);
    throw new HttpError(405, status.UNIMPLEMENTED, message);
  }
  if (exchange.query !== undefined && route.takesQuery !== true) {
    const fix = 'put the fields into the body, not into the address';
    throw new HttpError(404, status.UNIMPLEMENTED, `nothing is at ${request.url?.slice(0, 100)}; ${fix}`);
  }
  if (request.method !== 'POST' && hasBody(exchange)) {
    const fix = route.verbs.includes('POST') ? 'use POST' : 'leave it out: this address takes no fields';
    throw new HttpError(
      400,
      status.INVALID_ARGUMENT,
      `${request.method} has a body, which nobody reads; ${fix}`,
    );
  }
  await admit(exchange, route, options);
  if (!exchange.isGone) await route.serve(exchange);
}

/** Whether a request says that a body follows. */
function hasBody({ headers }: Exchange): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

/** Asks the hook, where there is one. */
async function admit(exchange: Exchange, route: Route, { beforeCall }: HttpOptions): Promise<void> {
  if (!beforeCall) return;
  const { headers, request, path } = exchange;
  const isMethodPath = route.method === path;
  const ticket = await beforeCall({
    protocol: isMethodPath ? (spokenBy(exchange)?.protocol ?? 'connect') : 'http',
    method: route.method ?? path,
    headers,
    socket: request.socket,
    // The response of HTTP/2 does not say what waits.
    answer: (exchange.response as unknown as Partial<Http2ServerResponse>).stream ?? exchange.response,
  });
  if (ticket instanceof ServiceError) throw ticket;
  exchange.arrived = ticket?.arrived;
  exchange.visitor = ticket?.visitor;
  if (ticket?.done) exchange.onGone(() => ticket.done!());
}

/**
 * Refuses requests of pages that may not call. A GET of a page may come without an `Origin`; then the browser says in
 * `Sec-Fetch-Site` that another site made it.
 *
 * @returns the origin, where there is one and it may call
 */
function allowOrigin(exchange: Exchange, origins: readonly string[]): string | undefined {
  const { headers, response } = exchange;
  const { origin } = headers;
  if (origins.length > 0) response.setHeader('vary', 'Origin');
  const site = headers['sec-fetch-site'];
  const isForeign = origin === undefined && (site === 'cross-site' || site === 'same-site');
  if (
    (origin !== undefined && !origins.includes(origin)) ||
    (isForeign && headers['sec-fetch-mode'] !== 'navigate')
  ) {
    const who = origin === undefined ? 'other sites' : `the origin ${origin.slice(0, 200)}`;
    const fix = 'add it to the setting corsOrigins of the service (--cors-origins)';
    throw new HttpError(403, status.PERMISSION_DENIED, `pages of ${who} may not call; ${fix}`);
  }
  if (origin !== undefined) response.setHeader('access-control-allow-origin', origin);
  return origin;
}

/** Answers with an error as the protocol of the request has it. */
function fail(exchange: Exchange, error: unknown): void {
  const { response } = exchange;
  const reported = exchange.failure(error);
  if (response.headersSent) {
    response.destroy();
    return;
  }
  if (error instanceof UnspokenError) {
    exchange.send(error.http, { 'content-type': 'text/plain; charset=utf-8' }, `${error.message}\n`);
    return;
  }
  const spoken = spokenBy(exchange);
  const http = error instanceof HttpError ? error.http : undefined;
  if (spoken?.protocol === 'grpc-web' && spoken.framing) sendFramedError(exchange, spoken.framing, reported);
  else sendConnectError(exchange, reported, http);
}
