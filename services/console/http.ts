import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Logger } from 'pino';
import { reportError } from '../runtime/errors.ts';
import { authority, bindFailure, StartError } from '../runtime/server.ts';

/** A request whose body has been read. */
export interface Request {
  /** What stood where the route's path has `:name`. */
  params: Readonly<Record<string, string>>;
  query: URLSearchParams;
  headers: IncomingHttpHeaders;
  /** Empty where the route takes no body. */
  body: Buffer;
}

/** An answer: something to be written as JSON, or bytes. */
export type Reply = { status?: number; json: unknown } | { status?: number; type: string; bytes: Uint8Array };

/** One thing that the server can be asked for. */
export interface Route {
  method: 'GET' | 'POST';
  /** Segments of a path; `:name` takes any one: `/api/traces/:id`. */
  path: string;
  /** Largest body, in bytes. @default 0 */
  maxBodyBytes?: number;
  /** Media types that a body may have. */
  accepts?: readonly string[];
  /** Answers. @throws {HttpError} what the answer is instead */
  handle(request: Request): Promise<Reply> | Reply;
}

/** An answer that is an error. */
export class HttpError extends Error {
  override readonly name = 'HttpError';
  readonly status: number;
  /** Stable name in UPPER_SNAKE_CASE. */
  readonly reason: string;

  constructor(status: number, reason: string, message: string) {
    super(message);
    this.status = status;
    this.reason = reason;
  }
}

/** A server that listens. */
export interface RunningHttp {
  /** `host:port`, with the port that was really bound. */
  readonly address: string;
  close(): Promise<void>;
}

/** Serves routes; the first that fits is taken. @throws {StartError} where the address can't be bound */
export async function startHttp(options: {
  host: string;
  port: number;
  /** How to choose another port, for the error that says that this one is taken. */
  portSetting: string;
  routes: readonly Route[];
  log: Logger;
}): Promise<RunningHttp> {
  const { host, port, portSetting, routes, log } = options;
  const server = createServer((request, response) => void answer(request, response, routes, log));
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(new StartError(bindFailure(error, host, port, portSetting), { cause: error })),
    );
    server.listen(port, host, resolve);
  });
  return {
    address: authority(host, (server.address() as AddressInfo).port),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answer(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  routes: readonly Route[],
  log: Logger,
): Promise<void> {
  let reply: Reply;
  try {
    reply = await serve(incoming, routes);
  } catch (error) {
    const { status, reason, message } =
      error instanceof HttpError
        ? error
        : { ...reasonOf(error, log, `${incoming.method} ${incoming.url}`), status: 500 };
    if (!incoming.complete) outgoing.setHeader('connection', 'close');
    reply = { status, json: { error: { reason, message } } };
  }
  const bytes = 'json' in reply ? Buffer.from(JSON.stringify(reply.json)) : reply.bytes;
  outgoing.writeHead(reply.status ?? 200, {
    'content-type': 'json' in reply ? 'application/json' : reply.type,
    'content-length': bytes.length,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  });
  outgoing.end(bytes);
}

function reasonOf(error: unknown, log: Logger, method: string): { reason: string; message: string } {
  const { reason, message } = reportError(error, log, { method });
  return { reason, message };
}

async function serve(incoming: IncomingMessage, routes: readonly Route[]): Promise<Reply> {
  const url = new URL(incoming.url ?? '/', 'http://console.invalid');
  for (const route of routes) {
    const params = route.method === incoming.method ? match(route.path, url.pathname) : undefined;
    if (params === undefined) continue;
    const body = await readBody(incoming, route);
    return route.handle({ params, query: url.searchParams, headers: incoming.headers, body });
  }
  throw new HttpError(404, 'NOT_FOUND', `there is nothing to ${incoming.method} at ${url.pathname}`);
}

function match(path: string, asked: string): Record<string, string> | undefined {
  const segments = path.split('/');
  const given = asked.split('/');
  if (segments.length !== given.length) return undefined;
  const params: Record<string, string> = {};
  for (const [index, segment] of segments.entries()) {
    if (segment.startsWith(':')) params[segment.slice(1)] = given[index]!;
    else if (segment !== given[index]) return undefined;
  }
  return params;
}

async function readBody(incoming: IncomingMessage, route: Route): Promise<Buffer> {
  const limit = route.maxBodyBytes ?? 0;
  const type = incoming.headers['content-type']?.split(';')[0]?.trim().toLowerCase() ?? '';
  if (limit > 0 && !(route.accepts ?? []).includes(type)) {
    throw new HttpError(
      415,
      'MEDIA_TYPE_NOT_SUPPORTED',
      `${route.path} takes ${route.accepts?.join(' or ')}`,
    );
  }
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > limit) {
      throw new HttpError(
        413,
        'BODY_TOO_LARGE',
        `the body has more than the ${limit} bytes of ${route.path}`,
      );
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
