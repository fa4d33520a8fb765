import { once } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createNetServer, type AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { getRequestListener, type HttpBindings } from '@hono/node-server';
import { Hono, type MiddlewareHandler } from 'hono';
import { methodNotAllowed } from 'hono/method-not-allowed';
import type { Logger } from 'pino';
import { reportError } from '../../runtime/errors.ts';
import { authority, bindFailure } from '../../runtime/listen-address.ts';
import { StartError } from '../../runtime/server.ts';
import type { Tls } from '../../runtime/tls/tls.ts';
import { HttpError } from './errors.ts';
import { guard, hostNotAllowed, hostOf, isLoopbackName } from './guard.ts';
import { strictParameters } from './parameters.ts';

/** A browser opens six connections to a host, the services a few more; whoever opens more than this holds them open. */
const MAX_CONNECTIONS = 256;

/** A request must arrive whole within this: on a loopback address a second is long. */
const REQUEST_TIMEOUT_MS = 30_000;

/** Longer than the page's pauses between two polls, so that it need not connect again. */
const KEEP_ALIVE_MS = 30_000;

/**
 * Every answer carries these. Scripts, styles, images and answers come from the console alone; the page runs no code
 * but our own file, nobody may frame it, and no form leaves it.
 */
const HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; " +
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
};

/** Over TLS: browsers come by no other way for a year. Not by a loopback name, which all programs of a machine share. */
const HSTS = ['strict-transport-security', 'max-age=31536000'] as const;

/** Where and what to serve. */
export interface HttpServerOptions {
  host: string;
  /** 0 takes any free one. */
  port: number;
  /** The setting that chooses another port, for the error that says that this one is taken. */
  portSetting: string;
  /** Names besides the loopback ones that browsers may use; see {@link guard}. */
  names: readonly string[];
  routes: readonly Hono[];
  log: Logger;
  /** @default plain text */
  tls?: Tls | undefined;
}

/** A server that listens. */
export interface RunningHttpServer {
  /** `host:port`, with the port that was really bound. */
  address: string;
  /** Stops accepting requests; resolves once those in flight are answered, or the time is over. */
  shutdown(graceMs: number): Promise<void>;
}

/** @throws {StartError} where it can't listen at the address */
export async function startHttpServer(options: HttpServerOptions): Promise<RunningHttpServer> {
  const { host, port, portSetting, log, tls } = options;
  const listener = getRequestListener(appOf(options).fetch);
  const http = createServer(
    { requestTimeout: REQUEST_TIMEOUT_MS, keepAliveTimeout: KEEP_ALIVE_MS },
    (incoming, outgoing) => {
      for (const [name, value] of Object.entries(HEADERS)) outgoing.setHeader(name, value);
      if (tls && !isLoopbackName(incoming.headers.host)) outgoing.setHeader(...HSTS);
      const error = targetError(incoming.headers.host, incoming.url ?? '');
      if (error === undefined) return void listener(incoming, outgoing);
      outgoing.writeHead(error.status, { 'content-type': 'application/json', connection: 'close' });
      outgoing.end(JSON.stringify(error.body));
    },
  );
  const server = tls
    ? createNetServer((socket) => {
        socket.on('error', () => socket.destroy());
        void tls.wrap(socket).then((secure) => secure && http.emit('connection', secure));
      })
    : http;
  server.maxConnections = MAX_CONNECTIONS;
  server.listen(port, host);
  await once(server, 'listening').catch((error: Error) => {
    throw new StartError(bindFailure(error, host, port, portSetting), { cause: error });
  });
  server.on('error', (error) => log.warn({ err: error }, 'the server could not accept a connection'));
  return {
    address: authority(host, (server.address() as AddressInfo).port),
    shutdown: async (graceMs) => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      http.closeIdleConnections();
      const timer = new AbortController();
      await Promise.race([closed, sleep(graceMs, undefined, { signal: timer.signal }).catch(() => {})]);
      timer.abort();
      http.closeAllConnections();
    },
  };
}

/** Rejects what is no URL of ours before the library sees it, which would answer without a reason. */
function targetError(host: string | undefined, target: string): HttpError | undefined {
  if (hostOf(`http://${host}`) === undefined) return hostNotAllowed(host);
  const [path = ''] = target.split('?', 1);
  // "OPTIONS *", or a whole URL, as proxies are asked.
  if (!path.startsWith('/')) return new HttpError(400, 'INVALID_PATH', 'the path does not begin with "/"');
  if (path.includes('\\')) return new HttpError(400, 'INVALID_PATH', 'the path has a "\\"; use "/"');
  try {
    decodeURIComponent(path);
    return undefined;
  } catch {
    return nothingAt(path);
  }
}

function appOf({ host, names, routes, log }: HttpServerOptions) {
  const app = new Hono<{ Bindings: HttpBindings }>();
  app.use(guard([...names, host.includes(':') ? `[${host}]` : host]));
  app.use(
    methodNotAllowed({
      app,
      onMethodNotAllowed: (context, methods) => {
        const allow = methods.join(', ');
        const error = new HttpError(405, 'METHOD_NOT_ALLOWED', `${context.req.path} takes ${allow}`);
        return context.json(error.body, 405, { allow });
      },
    }),
  );
  app.use(rejectStrayBody);
  app.use(strictParameters);
  for (const each of routes) app.route('/', each);
  app.notFound((context) => context.json(nothingAt(context.req.path).body, 404));
  app.onError((error, context) => {
    const method = `${context.req.method} ${context.req.path}`;
    const failure = error instanceof HttpError ? error : internalError(error, log, method);
    log.debug({ method, reason: failure.reason }, failure.message);
    // The server would take the unread rest of a body for the next request.
    if (!context.env.incoming.complete) context.header('connection', 'close');
    return context.json(failure.body, failure.status);
  });
  return app;
}

const BODYLESS = new Set(['GET', 'HEAD', 'DELETE']);

/** Rejects a body where the method has none: it would be ignored. */
const rejectStrayBody: MiddlewareHandler = ({ req }, next) => {
  const hasBody =
    Number(req.header('content-length') ?? 0) > 0 || req.header('transfer-encoding') !== undefined;
  if (!hasBody || !BODYLESS.has(req.method)) return next();
  throw new HttpError(413, 'BODY_TOO_LARGE', `${req.method} ${req.path} takes no body`);
};

function nothingAt(path: string): HttpError {
  return new HttpError(404, 'NOT_FOUND', `there is nothing at ${path}; the page is at /`);
}

function internalError(error: unknown, log: Logger, method: string): HttpError {
  const { reason, message } = reportError(error, log, { method });
  return new HttpError(500, reason, message, { cause: error });
}
