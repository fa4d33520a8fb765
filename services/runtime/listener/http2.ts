import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import {
  constants,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Socket } from 'node:net';
import { type Server, status as grpcStatus } from '@grpc/grpc-js';
import { refuseStream } from '../admission/refuse-stream.ts';
import { SESSION_OPTIONS } from '../admission/sessions.ts';
import { reportError, ServiceError } from '../errors.ts';
import { HttpError, type ExchangeLimits } from './exchange.ts';
import { GrpcUnary } from './grpc.ts';
import { GRPC_ENCODINGS } from './inflate.ts';
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
 * One HTTP/2 server for all protocols. Streams of gRPC that are calls with one message in each direction are served
 * here, those of other calls go to grpc-js, and all others to a listener of `node:http`, which gets them through the
 * compatibility interface of `node:http2`.
 */
export function http2Port(options: {
  grpc: Server;
  methods: Methods;
  limits: ExchangeLimits;
  http: RequestListener;
  beforeCall?: Hooks['beforeCall'] | undefined;
  onSession?: Hooks['onSession'] | undefined;
}): Http2Port {
  const { http, beforeCall, onSession, methods, limits } = options;
  const { log } = limits;
  // As grpc-js has it. The limit of a session's memory (10 MB by default) would end connections that send large
  // messages; that of headers would cut rich errors.
  const server = createServer({
    ...SESSION_OPTIONS,
    maxSendHeaderBlockLength: Number.MAX_SAFE_INTEGER,
    maxSessionMemory: Number.MAX_SAFE_INTEGER,
  });
  server.setTimeout(0);
  server.on('sessionError', (error) => log.debug({ err: error }, 'an HTTP/2 connection failed'));
  const grpc = grpcStreams(options.grpc, server);
  server.on('request', (request, response) =>
    http(request as unknown as IncomingMessage, response as unknown as ServerResponse),
  );
  const [web] = server.listeners('stream') as StreamListener[];
  server.removeAllListeners('stream');

  const handOver = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void => {
    stream.respond = respondPlainly;
    stream.sendTrailers = sendTrailersPlainly;
    grpc(stream, headers);
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
    const refused = (error: unknown): void => {
      // What is refused thousands of times a second is not worth a line each.
      const known = error instanceof ServiceError && !log.isLevelEnabled('debug');
      refuseStream(stream, known ? error : reportError(error, log, { method: path }));
    };
    try {
      const method = methods.get(path);
      const isUnary = method && !method.requestStream && !method.responseStream;
      const call = isUnary ? new GrpcUnary(stream, headers, method, limits) : undefined;
      const admitted = (ticket: Ticket | undefined): void => {
        if (ticket?.done) {
          if (stream.closed) ticket.done();
          else stream.once('close', ticket.done);
        }
        if (stream.closed) return;
        if (ticket?.metadata) Object.assign(headers, ticket.metadata);
        if (call) call.serve();
        else if (method) handOver(stream, headers);
        else
          refused(new HttpError(404, grpcStatus.UNIMPLEMENTED, `there is no method ${path.slice(0, 200)}`));
      };
      const socket = stream.session?.socket as Socket;
      const answer = beforeCall?.({
        protocol: 'grpc',
        method: path,
        headers,
        socket,
        answer: stream,
        stream,
      });
      if (answer instanceof Promise) answer.then(admitted, refused);
      else admitted(answer);
    } catch (error) {
      refused(error);
    }
  };
  server.on(
    'stream',
    (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, flags: number, raw?: string[]) => {
      const type = headers['content-type'];
      if (type !== undefined && GRPC.test(type)) serveGrpc(stream, headers);
      else web!.call(server, stream, headers, flags, raw ?? []);
    },
  );

  const sessions = new Set<ServerHttp2Session>();
  let closing = false;
  let allEnded = (): void => {};
  server.on('session', (session) => {
    onSession?.(session);
    sessions.add(session);
    nameFaults(session);
    session.once('close', () => {
      sessions.delete(session);
      if (closing && sessions.size === 0) allEnded();
    });
    if (closing) session.close();
  });
  return {
    accept: (socket) => void server.emit('connection', socket),
    close: async () => {
      closing = true;
      for (const session of sessions) session.close();
      if (sessions.size > 0) await new Promise<void>((resolve) => (allEnded = resolve));
    },
    destroy: () => {
      for (const session of sessions) session.destroy(undefined, constants.NGHTTP2_CANCEL);
    },
  };
}

/**
 * The stream listener of grpc-js, which has no public way to serve streams of a server that is not its own: its injector
 * makes one that answers everything else with 415. Its keepalive of sessions stays with the server.
 *
 * @throws {Error} where grpc-js has changed inside
 */
function grpcStreams(
  grpc: Server,
  server: Http2Server,
): (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void {
  const inside = grpc as unknown as {
    _setupHandlers?: (server: Http2Server, interceptors: readonly unknown[]) => void;
  };
  const before = server.listeners('stream');
  inside._setupHandlers?.(server, []);
  const listener = server.listeners('stream').find((each) => !before.includes(each));
  if (!listener)
    throw new Error('this version of @grpc/grpc-js has no _setupHandlers that listens to streams');
  server.removeListener('stream', listener as () => void);
  return listener as (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;
}

/** What can be read, here and by grpc-js. */
const ENCODINGS = ['identity', ...GRPC_ENCODINGS];

/** The answer to a stream that says it is gRPC and is not as the specification has it; grpc-js would serve it. */
function misspokenBy(headers: IncomingHttpHeaders): OutgoingHttpHeaders | undefined {
  if (headers[':method'] !== 'POST') return { ':status': 405, allow: 'POST' };
  const encoding = headers['grpc-encoding'];
  if (encoding === undefined || ENCODINGS.includes(String(encoding))) return undefined;
  return {
    ':status': 200,
    'content-type': 'application/grpc+proto',
    'grpc-status': grpcStatus.UNIMPLEMENTED,
    'grpc-message': `grpc-encoding is no form of compression that is known here; use ${ENCODINGS.join(' or ')}`,
    'grpc-accept-encoding': ENCODINGS.join(','),
  };
}

/**
 * Headers as the specification of gRPC has them: grpc-js says `grpc-message: OK` where a call went well, which is for
 * errors alone, and pads base64.
 */
function asSpecified<Headers extends OutgoingHttpHeaders | undefined>(headers: Headers): Headers {
  if (!headers) return headers;
  if (headers['grpc-status'] === 0) delete headers['grpc-message'];
  for (const name in headers) {
    if (!name.endsWith('-bin')) continue;
    const value = headers[name];
    headers[name] = Array.isArray(value) ? value.map(unpadded) : unpadded(String(value));
  }
  return headers;
}

function unpadded(base64: string): string {
  return base64.replace(/=+$/, '');
}

const prototypeOf = (stream: ServerHttp2Stream): ServerHttp2Stream =>
  Object.getPrototypeOf(stream) as ServerHttp2Stream;

function respondPlainly(
  this: ServerHttp2Stream,
  ...[headers, options]: Parameters<ServerHttp2Stream['respond']>
): void {
  prototypeOf(this).respond.call(this, asSpecified(headers), options);
}

function sendTrailersPlainly(this: ServerHttp2Stream, headers: OutgoingHttpHeaders): void {
  prototypeOf(this).sendTrailers.call(this, asSpecified(headers));
}
