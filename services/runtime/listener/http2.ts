import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import {
  constants,
  createServer,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Socket } from 'node:net';
import { status as grpcStatus } from '@grpc/grpc-js';
import { endAnswered, refuseStream } from '../admission/refuse-stream.ts';
import { SESSION_OPTIONS } from '../admission/sessions.ts';
import { reportError, ServiceError } from '../errors.ts';
import { failureOf, HttpError, type ExchangeLimits } from './exchange.ts';
import { GrpcUnary } from './grpc.ts';
import { ACCEPTED_ENCODINGS, grpcEncodingOf, refusalHeaders } from './grpc-fields.ts';
import { serveGrpcStream } from './grpc-stream.ts';
import { grpcDeadline } from './grpc-values.ts';
import { keepAlive } from './keepalive.ts';
import type { Methods } from './methods.ts';
import type { Hooks, Ticket } from './seams.ts';
import { nameFaults } from './session-errors.ts';

const ignore = (): void => {};

/** What a stream of gRPC says in its content type; what follows `+` is the form of the messages. */
const GRPC = /^application\/grpc(\+proto)?($|[ ;])/i;

/** Takes connections that speak HTTP/2, of all protocols. */
export interface Http2Port {
  accept(socket: Socket): void;
  /** Tells all peers to go elsewhere; resolves when their calls and connections have ended. */
  close(): Promise<void>;
  /** Ends all connections. */
  destroy(): void;
}

type StreamListener = (
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  flags: number,
  raw: string[],
) => void;

/**
 * One HTTP/2 server for all protocols. Streams of gRPC are served here, all others go to a listener of `node:http`, which
 * gets them through the compatibility interface of `node:http2`.
 */
export function http2Port(options: {
  methods: Methods;
  limits: ExchangeLimits;
  http: RequestListener;
  beforeCall?: Hooks['beforeCall'] | undefined;
  onSession?: Hooks['onSession'] | undefined;
}): Http2Port {
  const { http, beforeCall, onSession, methods, limits } = options;
  const { log } = limits;
  // The limit of a session's memory (10 MB by default) would end connections that send large
  // messages; that of headers would cut rich errors.
  const server = createServer({
    ...SESSION_OPTIONS,
    maxSendHeaderBlockLength: Number.MAX_SAFE_INTEGER,
    maxSessionMemory: Number.MAX_SAFE_INTEGER,
  });
  server.setTimeout(0);
  server.on('sessionError', (error) => log.debug({ err: error }, 'an HTTP/2 connection failed'));
  server.on('request', (request, response) =>
    http(request as unknown as IncomingMessage, response as unknown as ServerResponse),
  );
  const [web] = server.listeners('stream') as StreamListener[];
  server.removeAllListeners('stream');

  /** Each with its socket: what `session.socket` gives is a guard before it, which costs with every look. */
  const sessions = new Map<ServerHttp2Session, Socket>();
  let accepted: Socket | undefined;
  let closing = false;
  let allEnded = (): void => {};

  const refuse = (stream: ServerHttp2Stream, path: string, error: unknown): void => {
    // What is refused thousands of times a second is not worth a line each.
    const isKnown = error instanceof ServiceError && !log.isLevelEnabled('debug');
    refuseStream(stream, isKnown ? error : reportError(error, log, { method: path }));
  };
  const serve = (
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    path: string,
    deadline: number,
    ticket: Ticket | undefined,
  ): void => {
    const method = stream.closed ? undefined : methods.get(path);
    if (method && !method.requestStream && !method.responseStream) {
      new GrpcUnary(stream, headers, method, limits, deadline, ticket).serve();
      return;
    }
    if (ticket?.done) {
      if (stream.closed) ticket.done();
      else stream.once('close', () => ticket.done!());
    }
    if (stream.closed) return;
    if (method) serveGrpcStream(stream, headers, method, limits, deadline, ticket);
    else endAnswered(stream, refusalHeaders(failureOf(unknown(path), limits, path)));
  };
  const serveGrpc = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void => {
    stream.on('error', ignore);
    const misspoken = misspokenBy(headers);
    if (misspoken) {
      stream.respond(misspoken, { endStream: true });
      stream.resume();
      return;
    }
    const path = headers[':path'] ?? '';
    try {
      const deadline = grpcDeadline({ headers });
      const socket = sessions.get(stream.session as ServerHttp2Session)!;
      const answer = beforeCall?.({
        protocol: 'grpc',
        method: path,
        headers,
        socket,
        answer: stream,
        stream,
      });
      if (answer instanceof ServiceError) refuse(stream, path, answer);
      else if (answer instanceof Promise) {
        answer
          .then((ticket) => serve(stream, headers, path, deadline, ticket))
          .catch((error: unknown) => refuse(stream, path, error));
      } else serve(stream, headers, path, deadline, answer);
    } catch (error) {
      refuse(stream, path, error);
    }
  };
  server.on(
    'stream',
    (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags: number, raw?: string[]) => {
      // A fault of the peer may have ended the session before this event: then there is no socket, and nobody to answer.
      if (stream.destroyed || stream.session === undefined) {
        stream.on('error', ignore);
        return;
      }
      const type = headers['content-type'];
      if (type === 'application/grpc' || (type !== undefined && GRPC.test(type))) serveGrpc(stream, headers);
      else web!.call(server, stream, headers, flags, raw ?? []);
    },
  );

  server.on('session', (session) => {
    onSession?.(session);
    sessions.set(session, accepted!);
    keepAlive(session);
    nameFaults(session);
    session.once('close', () => {
      sessions.delete(session);
      if (closing && sessions.size === 0) allEnded();
    });
    if (closing) session.close();
  });
  return {
    accept: (socket) => {
      accepted = socket;
      server.emit('connection', socket);
      accepted = undefined;
    },
    close: async () => {
      closing = true;
      for (const session of sessions.keys()) session.close();
      if (sessions.size > 0) await new Promise<void>((resolve) => (allEnded = resolve));
    },
    destroy: () => {
      for (const session of sessions.keys()) session.destroy(undefined, constants.NGHTTP2_CANCEL);
    },
  };
}

function unknown(path: string): HttpError {
  return new HttpError(404, grpcStatus.UNIMPLEMENTED, `there is no method ${path.slice(0, 200)}`);
}

/** The answer to a stream that says it is gRPC and is not as the specification has it. */
function misspokenBy(headers: IncomingHttpHeaders): OutgoingHttpHeaders | undefined {
  if (headers[':method'] !== 'POST') return { ':status': 405, allow: 'POST' };
  const encoding = headers['grpc-encoding'];
  if (encoding === undefined || encoding === 'identity' || grpcEncodingOf(headers)) return undefined;
  return {
    ':status': 200,
    'content-type': 'application/grpc+proto',
    'grpc-status': grpcStatus.UNIMPLEMENTED,
    'grpc-message': `grpc-encoding is no form of compression that is known here; use ${ACCEPTED_ENCODINGS}`,
    'grpc-accept-encoding': ACCEPTED_ENCODINGS,
  };
}
