import { status } from '@grpc/grpc-js';
import { serveConnectGet, serveConnectUnary } from './connect-unary.ts';
import { HttpError, UnspokenError, type Exchange } from './exchange.ts';
import { connectFraming, grpcWebFraming, serveFramed, type Framing } from './framed.ts';
import type { Method } from './methods.ts';
import type { AddRoutes, Route } from './routes.ts';

/** What a content type says of a request of Connect or gRPC-Web. */
export interface Spoken {
  protocol: 'connect' | 'grpc-web';
  codec: string;
  /** `undefined` where the body is one message and nothing else. */
  framing: Framing | undefined;
}

const CONTENT_TYPE =
  /^application\/(?:(json|proto)|connect\+(json|proto)|grpc-web(-text)?(?:\+(json|proto))?)\s*(?:;\s*charset="?utf-8"?\s*)?$/;

/** The protocol that a request speaks; `undefined` for none of these. */
export function spokenBy({ headers }: Pick<Exchange, 'headers'>): Spoken | undefined {
  const [type, unary, stream, text, web] =
    CONTENT_TYPE.exec((headers['content-type'] ?? '').toLowerCase()) ?? [];
  if (type === undefined) return undefined;
  if (unary !== undefined) return { protocol: 'connect', codec: unary, framing: undefined };
  if (stream !== undefined) return { protocol: 'connect', codec: stream, framing: connectFraming(stream) };
  const codec = web ?? 'proto';
  return { protocol: 'grpc-web', codec, framing: grpcWebFraming(codec, text !== undefined) };
}

/** Adds every method, for Connect and gRPC-Web, at the address that it has in gRPC. */
export const methodRoutes: AddRoutes = (routes, methods) => {
  for (const method of methods.values()) routes.add(method.path, routeOf(method));
};

function routeOf(method: Method): Route {
  return {
    verbs: method.isSafe ? ['GET', 'POST'] : ['POST'],
    method: method.path,
    takesQuery: method.isSafe,
    serve: (exchange) => {
      if (exchange.request.method === 'GET') return serveConnectGet(exchange, method);
      if (exchange.query !== undefined) {
        throw new HttpError(
          400,
          status.INVALID_ARGUMENT,
          'put the fields into the body, not into the address',
        );
      }
      const spoken = spokenBy(exchange);
      const isStream = method.requestStream || method.responseStream;
      if (!spoken || (spoken.protocol === 'connect' && isStream !== (spoken.framing !== undefined))) {
        throw wrongType(exchange, method, isStream);
      }
      const { framing, codec } = spoken;
      return framing
        ? serveFramed(exchange, method, framing, codec)
        : serveConnectUnary(exchange, method, codec);
    },
  };
}

function wrongType(exchange: Exchange, { path }: Method, isStream: boolean): HttpError {
  const given = JSON.stringify(exchange.headers['content-type'] ?? '');
  const types = isStream ? 'application/connect+json or +proto' : 'application/json or application/proto';
  const why = isStream ? ` (${path} has streams)` : '';
  exchange.response.setHeader(
    'accept-post',
    isStream
      ? 'application/connect+json, application/connect+proto, application/grpc-web'
      : 'application/json, application/proto, application/grpc-web',
  );
  const message = `content-type is ${given}; send ${types}, or application/grpc-web${why}`;
  return spokenBy(exchange)
    ? new HttpError(415, status.INVALID_ARGUMENT, message)
    : new UnspokenError(message);
}
