import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { reportError } from '../../runtime/errors.ts';
import { authority, bindFailure } from '../../runtime/listen-address.ts';
import { StartError } from '../../runtime/server.ts';
import { HttpError } from './errors.ts';
import { type Audience, Guard } from './guard.ts';
import { type Found, type Reply, type Request, type Route, Routes } from './routes.ts';

/** A search with a filter of hundreds of values is far below this. */
const DEFAULT_MAX_BODY_BYTES = 64 * 1024;

/** A browser opens six connections to a host, the services a few more; past this somebody holds them open. */
const MAX_CONNECTIONS = 256;

/** Time for a request to come in whole: on a loopback address a second is long. */
const REQUEST_TIMEOUT_MS = 30_000;

/** Longer than the pauses between two looks of a page at our numbers, so that it need not connect again. */
const KEEP_ALIVE_MS = 30_000;

/**
 * Scripts, styles, images and answers come from here and from nowhere else; nothing in the page is executed but our
 * own file, nobody may frame it, and no form leaves it.
 */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join('; ');

const SECURITY_HEADERS = {
  'content-security-policy': CONTENT_SECURITY_POLICY,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
};

/** Where and what to serve. */
export interface HttpServerOptions {
  host: string;
  /** 0 for any free one. */
  port: number;
  /** How to choose another port, for the error that says that this one is taken. */
  portSetting: string;
  /** Names besides the loopback ones that browsers may use; see {@link Guard}. */
  names: readonly string[];
  routes: readonly Route[];
  log: Logger;
}

/** A server that listens. */
export interface RunningHttpServer {
  /** `host:port`, with the port that was really bound. */
  address: string;
  /** Takes no more requests, and ends when those in flight are answered or the time is over. */
  shutdown(graceMs: number): Promise<void>;
}

/** @throws {StartError} where the address can't be bound */
export async function startHttpServer(options: HttpServerOptions): Promise<RunningHttpServer> {
  const { host, port, portSetting, log } = options;
  const routes = new Routes(options.routes);
  const guard = new Guard([...options.names, bracketed(host)]);
  const server = createServer(
    { requestTimeout: REQUEST_TIMEOUT_MS, keepAliveTimeout: KEEP_ALIVE_MS },
    (incoming, outgoing) => void answer(incoming, outgoing, { routes, guard, log }),
  );
  server.maxConnections = MAX_CONNECTIONS;
  await listen(server, host, port, portSetting);
  return {
    address: authority(host, (server.address() as AddressInfo).port),
    shutdown: async (graceMs) => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      const timer = new AbortController();
      await Promise.race([closed, sleep(graceMs, undefined, { signal: timer.signal }).catch(() => {})]);
      timer.abort();
      server.closeAllConnections();
    },
  };
}

function listen(server: Server, host: string, port: number, portSetting: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) =>
      reject(new StartError(bindFailure(error, host, port, portSetting), { cause: error })),
    );
    server.listen(port, host, () => resolve());
  });
}

interface Scope {
  routes: Routes;
  guard: Guard;
  log: Logger;
}

async function answer(incoming: IncomingMessage, outgoing: ServerResponse, scope: Scope): Promise<void> {
  const life = new AbortController();
  outgoing.once('close', () => life.abort());
  let reply: Reply;
  try {
    reply = await serve(incoming, scope, life.signal);
  } catch (error) {
    const failure = toHttpError(error, scope.log, `${incoming.method} ${pathOf(incoming)}`);
    // What of a body has not been read would be taken for the next request.
    if (!incoming.complete) outgoing.setHeader('connection', 'close');
    if (failure.status === 405) outgoing.setHeader('allow', failure.violations[0]?.description ?? '');
    reply = { status: failure.status, json: failure.body };
  }
  send(outgoing, reply, incoming.method === 'HEAD');
}

async function serve(incoming: IncomingMessage, scope: Scope, signal: AbortSignal): Promise<Reply> {
  const asked = `http://console.invalid${incoming.url ?? '/'}`;
  // "OPTIONS *", or a whole URL, as proxies are asked.
  if (!URL.canParse(asked)) throw new HttpError(400, 'INVALID_PATH', 'the path does not begin with "/"');
  const url = new URL(asked);
  const found = scope.routes.find(incoming.method === 'HEAD' ? 'GET' : (incoming.method ?? ''), url.pathname);
  scope.guard.check(incoming.headers, audienceOf(url.pathname, found));
  if (found === undefined) {
    throw new HttpError(404, 'NOT_FOUND', `there is nothing at ${url.pathname}; the page is at /`);
  }
  if ('allowed' in found) {
    const allowed = found.allowed.join(', ');
    throw new HttpError(405, 'METHOD_NOT_ALLOWED', `${url.pathname} takes ${allowed}`, {
      violations: [{ field: 'method', description: allowed }],
    });
  }
  const { route, params } = found;
  const request: Request = {
    params,
    query: url.searchParams,
    headers: incoming.headers,
    body: await readBody(incoming, route),
    signal,
  };
  return route.handle(request);
}

/** The page and its parts may be linked to; what they ask for is for them alone. */
function audienceOf(path: string, found: Found): Audience {
  if (found !== undefined && 'route' in found && found.route.forPrograms === true) return 'programs';
  return path.startsWith('/api/') ? 'page' : 'anybody';
}

/** @throws {HttpError} for a body of another type or above the route's limit, before more than that was read */
async function readBody(incoming: IncomingMessage, route: Route): Promise<Buffer> {
  const limit = route.maxBodyBytes ?? (route.method === 'POST' ? DEFAULT_MAX_BODY_BYTES : 0);
  const accepted = route.accepts ?? ['application/json'];
  const declared = Number(incoming.headers['content-length'] ?? 0);
  const tooLarge = (): HttpError =>
    new HttpError(413, 'BODY_TOO_LARGE', `the body has more than ${limit} bytes, which ${route.path} takes`);
  if (declared > limit) throw tooLarge();
  const type = incoming.headers['content-type']?.split(';')[0]?.trim().toLowerCase() ?? '';
  // A form of another site could be sent without asking first, were any type taken.
  if (limit > 0 && !accepted.includes(type)) {
    throw new HttpError(415, 'MEDIA_TYPE_NOT_SUPPORTED', `${route.path} takes ${accepted.join(' or ')}`);
  }
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > limit) throw tooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function send(outgoing: ServerResponse, reply: Reply, isHead: boolean): void {
  const isJson = 'json' in reply;
  const bytes = isJson ? Buffer.from(JSON.stringify(reply.json)) : reply.bytes;
  outgoing.writeHead(reply.status ?? 200, {
    ...SECURITY_HEADERS,
    'cache-control': 'no-store',
    'content-type': isJson ? 'application/json' : reply.type,
    'content-length': bytes.length,
    ...(isJson ? {} : reply.headers),
  });
  outgoing.end(isHead ? undefined : bytes);
}

function toHttpError(error: unknown, log: Logger, method: string): HttpError {
  if (error instanceof HttpError) {
    log.debug({ method, reason: error.reason }, error.message);
    return error;
  }
  const { reason, message } = reportError(error, log, { method });
  return new HttpError(500, reason, message, { cause: error });
}

function pathOf({ url = '' }: IncomingMessage): string {
  return url.split('?', 1)[0] ?? '';
}

function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
