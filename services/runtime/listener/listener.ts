import { createServer as createHttpServer, type RequestListener } from 'node:http';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { type OpenDoor, openPort } from './door.ts';
import type { Hooks } from './seams.ts';

/** What an HTTP/2 connection begins with (RFC 9113, section 3.4). Everything else is taken for HTTP/1.1. */
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

/** Time for a connection to say what it speaks, and for an HTTP/1.1 client to send the head of a request. */
export const HEAD_TIMEOUT_MS = 10_000;
/** Time that an HTTP/1.1 connection may wait for its next request: longer than a load balancer keeps one by itself. */
export const IDLE_TIMEOUT_MS = 75_000;
/** Most connections at a time, of both kinds: below the usual limit of open files (16 384) with room for the rest. */
export const MAX_CONNECTIONS = 10_000;
/** Largest head of an HTTP/1.1 request, in bytes. */
export const MAX_HEAD_BYTES = 16 * 1024;

/** What to listen at, and who serves what comes. */
export interface ListenerOptions {
  host: string;
  port: number;
  portSetting: string;
  /** Where connections come from. @default the port is bound here */
  openDoor?: OpenDoor | undefined;
  /** Takes a connection that speaks HTTP/2. */
  http2: (socket: Socket) => void;
  /** Serves a request of HTTP/1.1. */
  http1: RequestListener;
  onConnection?: Hooks['onConnection'] | undefined;
  /** Shorter times, for tests. */
  headTimeoutMs?: number | undefined;
}

/** A port that is open. */
export interface Listener {
  readonly port: number;
  /** Takes no more connections and ends those of HTTP/1.1 that wait; resolves when all connections have ended. */
  close(): Promise<void>;
  /** Ends all connections of HTTP/1.1, and those that have not said yet what they speak. */
  destroy(): void;
}

/**
 * Opens the port of a service, which owns the sockets: the first bytes of a connection tell HTTP/2 from HTTP/1.1.
 *
 * @throws {StartError} where the address can't be bound
 */
export async function listen(options: ListenerOptions): Promise<Listener> {
  const { headTimeoutMs = HEAD_TIMEOUT_MS } = options;
  /** Connections that are not HTTP/2, each with its time limit; `undefined` while a request is served. */
  const sockets = new Map<Socket, NodeJS.Timeout | undefined>();
  const limit = (socket: Socket, ms: number | undefined): void => {
    clearTimeout(sockets.get(socket));
    if (socket.destroyed) return;
    sockets.set(socket, ms === undefined ? undefined : setTimeout(() => socket.destroy(), ms));
  };
  let closing = false;

  const http = createHttpServer({ maxHeaderSize: MAX_HEAD_BYTES, keepAlive: true });
  // The limits below count from the first byte that is awaited, which a slow sender can't stretch.
  http.keepAliveTimeout = 0;
  http.on('request', (request, response) => {
    const { socket } = request;
    limit(socket, undefined);
    // `node:http` takes any version on the line of a request. Here it would be taken for a stream of HTTP/2.
    if (request.httpVersionMajor !== 1) {
      response.writeHead(505, { connection: 'close', 'content-length': 0 });
      response.end();
      return;
    }
    if (closing) response.setHeader('connection', 'close');
    response.once('close', () => {
      if (closing) socket.destroySoon();
      else limit(socket, IDLE_TIMEOUT_MS);
    });
    options.http1(request, response);
  });

  let open = 0;
  const accept = (accepted: Socket): void => {
    const refuse = (): void => void accepted.destroy();
    if (closing || open >= MAX_CONNECTIONS) {
      refuse();
      return;
    }
    open++;
    accepted.once('close', () => open--);
    accepted.on('error', refuse);
    const given = options.onConnection ? options.onConnection(accepted) : accepted;
    if (given instanceof Promise) {
      limit(accepted, headTimeoutMs);
      given.then((socket) => read(accepted, socket, refuse), refuse);
    } else read(accepted, given, refuse);
  };
  /** Reads what a connection speaks, where it was let in. */
  const read = (accepted: Socket, socket: Socket | undefined, refuse: () => void): void => {
    clearTimeout(sockets.get(accepted));
    sockets.delete(accepted);
    if (!socket || closing) {
      refuse();
      return;
    }
    if (socket === accepted) accepted.off('error', refuse);
    socket.once('close', () => {
      clearTimeout(sockets.get(socket));
      sockets.delete(socket);
    });
    const onError = (): void => void socket.destroy();
    socket.on('error', onError);
    limit(socket, headTimeoutMs);
    let head = Buffer.alloc(0);
    const look = (): void => {
      const chunk = socket.read() as Buffer | null;
      if (chunk === null) return;
      head = Buffer.concat([head, chunk]);
      const length = Math.min(head.length, PREFACE.length);
      const isPreface = head.subarray(0, length).equals(PREFACE.subarray(0, length));
      if (isPreface && length < PREFACE.length) return;
      socket.off('readable', look).off('error', onError);
      socket.unshift(head);
      if (isPreface) {
        clearTimeout(sockets.get(socket));
        sockets.delete(socket);
        options.http2(socket);
        return;
      }
      // Who chose HTTP/2 in the handshake does not get to speak another.
      if ((socket as Partial<TLSSocket>).alpnProtocol === 'h2') socket.destroy();
      else http.emit('connection', socket);
    };
    socket.on('readable', look);
  };
  const door = await (options.openDoor?.(accept) ?? openPort(options, accept));
  return {
    port: door.port,
    close: () => {
      closing = true;
      const closed = door.close();
      for (const [socket, waits] of sockets) if (waits !== undefined) socket.destroy();
      return closed;
    },
    destroy: () => {
      for (const socket of sockets.keys()) socket.destroy();
    },
  };
}
