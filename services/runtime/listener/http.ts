import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { Metadata, status, type handleUnaryCall, type ServiceDefinition } from '@grpc/grpc-js';
import type { Status__Output } from '../../../proto/generated/google/rpc/Status.ts';
import { packageDefinition } from '../../../proto/load.ts';
import { STATUS_DETAILS_TRAILER } from '../../../proto/status.ts';
import {
  deadlineExceeded,
  invalidArgument,
  overloaded,
  reportError,
  ServiceError,
  toGrpcError,
} from '../errors.ts';
import type { Scope } from '../handler.ts';
import { jsonMethod, type JsonMethod } from './json.ts';

/** Time for the body of a request to come. */
export const BODY_TIMEOUT_MS = 30_000;
/** How long a browser may keep the answer to a preflight, in seconds. */
const PREFLIGHT_AGE_S = 600;
/** Most bytes of bodies that are under way at a time, over all connections: one of the largest that any service takes. */
export const MAX_BODY_BYTES_IN_ALL = 64 * 1024 * 1024;
/** What a caller is told to wait that comes while there are more. */
const BUSY_DELAY_MS = 1_000;
/** Headers that go on to the handler, as the metadata of gRPC do. */
const CARRIED = ['authorization', 'traceparent', 'tracestate'];
const JSON_TYPE = 'application/json';

/** Plain addresses beside those of Connect. */
const PLAIN: Readonly<Record<string, { verb: 'GET' | 'POST'; path: string }>> = {
  '/v1/search': { verb: 'POST', path: '/scalingnote.v1.QueryService/Search' },
  '/v1/encode': { verb: 'POST', path: '/scalingnote.v1.QueryService/Encode' },
  '/v1/familiarity': { verb: 'POST', path: '/scalingnote.v1.QueryService/MeasureFamiliarity' },
  '/v1/describe': { verb: 'GET', path: '/scalingnote.v1.QueryService/Describe' },
};

/** The HTTP status of each gRPC status, as the Connect protocol has it. */
const HTTP_STATUS: Readonly<Record<number, number>> = {
  1: 499,
  2: 500,
  3: 400,
  4: 504,
  5: 404,
  6: 409,
  7: 403,
  8: 429,
  9: 400,
  10: 409,
  11: 400,
  12: 501,
  13: 500,
  14: 503,
  15: 500,
  16: 401,
};

/** An error of HTTP, which has a status of its own. */
class HttpError extends ServiceError {
  readonly http: number;
  constructor(http: number, code: status, message: string) {
    super(code, 'HTTP_REQUEST_INVALID', message);
    this.http = http;
  }
}

interface Route {
  verb: 'GET' | 'POST';
  method: JsonMethod;
  decode: (bytes: Buffer) => object;
  encode: (response: object) => Buffer;
  /** `undefined` for a method with streams. */
  serve: handleUnaryCall<object, object> | undefined;
}

/** A service whose handlers are bound: the very functions that gRPC calls. */
export interface BoundService {
  definition: ServiceDefinition;
  handlers: Readonly<Record<string, unknown>>;
}

/** What {@link jsonOverHttp} needs. */
export interface HttpOptions {
  services: readonly BoundService[];
  /** Largest body, in bytes. */
  maxReceiveBytes: number;
  /** Origins of browsers' pages that may call. */
  corsOrigins: readonly string[];
  scope: Scope;
}

/** Serves unary methods with JSON over HTTP/1.1: the Connect protocol, and plain addresses under `/v1/`. */
export function jsonOverHttp(options: HttpOptions): RequestListener {
  const routes = routesOf(options.services);
  const held = new HeldBytes(MAX_BODY_BYTES_IN_ALL);
  return (request, response) => {
    answer(request, response, { ...options, routes, held }).catch((error: unknown) => {
      const path = (request.url ?? '').slice(0, 256);
      fail(response, toGrpcError(reportError(error, options.scope.log, { path })), (error as HttpError).http);
    });
  };
}

function routesOf(services: readonly BoundService[]): Map<string, Route> {
  const routes = new Map<string, Route>();
  for (const { definition, handlers } of services) {
    for (const [name, { path, requestStream, responseStream, ...method }] of Object.entries(definition)) {
      const json = jsonMethod(path);
      if (!json) continue;
      routes.set(path, {
        verb: 'POST',
        method: json,
        decode: method.requestDeserialize as Route['decode'],
        encode: method.responseSerialize as Route['encode'],
        serve: requestStream || responseStream ? undefined : (handlers[name] as Route['serve']),
      });
    }
  }
  for (const [address, { verb, path }] of Object.entries(PLAIN)) {
    const route = routes.get(path);
    if (route) routes.set(address, { ...route, verb });
  }
  return routes;
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  {
    corsOrigins,
    maxReceiveBytes,
    scope,
    routes,
    held,
  }: HttpOptions & { routes: ReadonlyMap<string, Route>; held: HeldBytes },
): Promise<void> {
  const { headers, method: verb, url = '' } = request;
  const { origin } = headers;
  if (corsOrigins.length > 0) response.setHeader('vary', 'Origin');
  if (origin !== undefined) {
    if (!corsOrigins.includes(origin)) {
      const fix = 'add it to the setting corsOrigins of the service (--cors-origins)';
      throw new HttpError(
        403,
        status.PERMISSION_DENIED,
        `pages of the origin ${origin} may not call; ${fix}`,
      );
    }
    response.setHeader('access-control-allow-origin', origin);
  }
  const route = routes.get(url);
  if (!route) {
    const known = [...routes.keys()].filter((path) => path.startsWith('/v1/') || routes.size < 20).join(', ');
    const hint = url.includes('?')
      ? 'put the fields into the body, not into the address'
      : `there is ${known}`;
    throw new HttpError(404, status.UNIMPLEMENTED, `nothing is at ${url.slice(0, 100)}; ${hint}`);
  }
  if (verb === 'OPTIONS' && origin !== undefined) {
    response.writeHead(204, {
      'access-control-allow-methods': route.verb,
      'access-control-allow-headers':
        'authorization, content-type, connect-protocol-version, connect-timeout-ms',
      'access-control-max-age': String(PREFLIGHT_AGE_S),
    });
    response.end();
    return;
  }
  if (verb !== route.verb) {
    response.setHeader('allow', route.verb);
    throw new HttpError(405, status.UNIMPLEMENTED, `${verb} does not work at ${url}; use ${route.verb}`);
  }
  if (!route.serve) throw new HttpError(501, status.UNIMPLEMENTED, `${url} is a stream; call it over gRPC`);
  const deadline = deadlineOf(request);
  let text = '{}';
  if (verb === 'POST') {
    requireJson(request);
    text = await bodyOf(request, response, maxReceiveBytes, held);
  }
  const message = route.decode(Buffer.from(route.method.decode(text)));
  if (scope.draining.aborted) response.setHeader('connection', 'close');
  const metadata = new Metadata();
  for (const name of CARRIED) {
    const value = headers[name];
    if (typeof value === 'string') metadata.set(name, value);
  }
  await serve(route as Route & { serve: object }, { request: message, metadata }, deadline, response);
}

function requireJson({ headers }: IncomingMessage): void {
  const [type = '', ...parameters] = (headers['content-type'] ?? '').toLowerCase().split(';');
  const isUtf8 = parameters.every((each) => /^\s*(charset="?utf-8"?)?\s*$/.test(each));
  if (type.trim() !== JSON_TYPE || !isUtf8) {
    const given = JSON.stringify(headers['content-type'] ?? '');
    throw new HttpError(415, status.INVALID_ARGUMENT, `content-type is ${given}; send ${JSON_TYPE}`);
  }
  const encoding = headers['content-encoding'] ?? 'identity';
  if (encoding !== 'identity') {
    throw new HttpError(
      415,
      status.UNIMPLEMENTED,
      `content-encoding ${encoding} is not taken; send the body as it is`,
    );
  }
  const version = headers['connect-protocol-version'] ?? '1';
  if (version !== '1') throw invalidArgument('connect-protocol-version', 'is not known; send 1');
}

/** @throws {ServiceError} for a header that is no number of at most ten digits */
function deadlineOf({ headers }: IncomingMessage): number {
  const given = headers['connect-timeout-ms'];
  if (given === undefined) return Infinity;
  if (typeof given !== 'string' || !/^\d{1,10}$/.test(given)) {
    throw invalidArgument('connect-timeout-ms', 'is no whole number of at most 10 digits; send milliseconds');
  }
  return Date.now() + Number(given);
}

/** The bytes that have come of bodies which are not whole yet. */
class HeldBytes {
  readonly #max: number;
  #now = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** @throws {ServiceError} `OVERLOADED` where these are too many beside the others */
  take(bytes: number): void {
    if (this.#now + bytes > this.#max) {
      throw overloaded('too many bytes of other requests are under way; send this one later', BUSY_DELAY_MS);
    }
    this.#now += bytes;
  }

  give(bytes: number): void {
    this.#now -= bytes;
  }
}

async function bodyOf(
  request: IncomingMessage,
  response: ServerResponse,
  max: number,
  held: HeldBytes,
): Promise<string> {
  const timer = setTimeout(() => request.destroy(), BODY_TIMEOUT_MS);
  const chunks: Buffer[] = [];
  let size = 0;
  let taken = 0;
  try {
    if (Number(request.headers['content-length'] ?? 0) > max) throw tooLarge(max);
    for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > max) throw tooLarge(max);
      held.take(chunk.length);
      taken = size;
      chunks.push(chunk);
    }
  } catch (error) {
    response.setHeader('connection', 'close');
    throw error;
  } finally {
    clearTimeout(timer);
    held.give(taken);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.concat(chunks));
  } catch {
    throw invalidArgument('body', 'holds bytes that are not UTF-8; send it as UTF-8');
  }
}

function tooLarge(max: number): HttpError {
  return new HttpError(
    413,
    status.RESOURCE_EXHAUSTED,
    `the body is larger than ${max} bytes; send less at a time`,
  );
}

/** Calls the handler of gRPC with what it needs to know of a call. */
function serve(
  { serve: handler, encode, method }: Route & { serve: object },
  { request, metadata }: { request: object; metadata: Metadata },
  deadline: number,
  response: ServerResponse,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let cancel = (): void => {};
    const call = {
      request,
      metadata,
      getDeadline: () => deadline,
      once: (_: 'cancelled', listener: () => void) => (cancel = listener),
    };
    const left = Math.min(deadline - Date.now(), 2 ** 31 - 1);
    const timer = Number.isFinite(deadline)
      ? setTimeout(() => {
          cancel();
          fail(response, toGrpcError(deadlineExceeded()));
          resolve();
        }, left)
      : undefined;
    response.once('close', () => {
      clearTimeout(timer);
      cancel();
      resolve();
    });
    (handler as handleUnaryCall<object, object>)(call as never, (error, value) => {
      clearTimeout(timer);
      try {
        if (error) fail(response, error);
        else send(response, 200, method.encode(encode(value!)));
        resolve();
      } catch (cause) {
        reject(cause);
      }
    });
  });
}

type GrpcError = Parameters<Parameters<handleUnaryCall<object, object>>[1]>[0];

const statusType = packageDefinition['google.rpc.Status'] as unknown as {
  deserialize(bytes: Buffer): Status__Output;
};

/** Answers with the error JSON of Connect. */
function fail(response: ServerResponse, error: NonNullable<GrpcError>, http?: number): void {
  const code = error.code ?? status.UNKNOWN;
  const [packed] = error.metadata?.get(STATUS_DETAILS_TRAILER) ?? [];
  const rich = Buffer.isBuffer(packed) ? statusType.deserialize(packed) : undefined;
  const details = (rich?.details ?? []) as unknown as { type_url: string; value: Buffer }[];
  const name = code === status.CANCELLED ? 'canceled' : (status[code] ?? 'UNKNOWN').toLowerCase();
  send(
    response,
    http ?? HTTP_STATUS[code] ?? 500,
    JSON.stringify({
      code: name,
      message: error.details ?? '',
      details: details.map(({ type_url: url, value }) => ({
        type: url.slice(url.lastIndexOf('/') + 1),
        value: Buffer.from(value).toString('base64').replace(/=+$/, ''),
      })),
    }),
  );
}

function send(response: ServerResponse, http: number, json: string): void {
  if (response.headersSent || response.destroyed) return;
  response.writeHead(http, {
    'content-type': JSON_TYPE,
    'content-length': Buffer.byteLength(json),
    'x-content-type-options': 'nosniff',
  });
  response.end(json);
}
