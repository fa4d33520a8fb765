import type { IncomingHttpHeaders } from 'node:http';
import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import type { Answer } from '../admission/answers.ts';
import type { ServiceError } from '../errors.ts';

/** A call or another request whose head has come, and nothing of its body. */
export interface Arrival {
  readonly protocol: 'grpc' | 'grpc-web' | 'connect' | 'http';
  /** `/scalingnote.v1.QueryService/Search`, or the address of a route that calls no method, `/openapi.json`. */
  readonly method: string;
  readonly headers: Readonly<IncomingHttpHeaders>;
  /** The connection that it came by: the address of the peer, and its certificate where there is TLS. */
  readonly socket: Socket;
  /** What the answer goes out by. */
  readonly answer: Answer & { destroy(): unknown };
  /** Whose it is, as far as its credential says; calls take turns by it. @default of the address that it comes from */
  flow?: string | undefined;
  /** Of gRPC over HTTP/2, where nobody reads yet. */
  readonly stream?: ServerHttp2Stream | undefined;
  /** When it came, as of `performance.now()`, where somebody has let it wait. @default now */
  readonly arrived?: number | undefined;
}

/** What {@link Hooks.beforeCall} knows of a call that it lets through. */
export interface Ticket {
  /** Who makes the call, as whoever let it in knows: its handler finds it there. */
  visitor?: object | undefined;
  /** See {@link Arrival.flow}. */
  readonly flow?: string;
  /** When the call came, as of `performance.now()`. @default when its handler is called */
  readonly arrived?: number | undefined;
  /** Why the call was ended here after its handler had begun, which is to tell of it; absent where it was not. */
  readonly refusal?: ServiceError | undefined;
  /** Called once when the answer has ended, in whatever way. */
  done?(): void;
  /** Of gRPC over HTTP/2: told of each piece of the body, before it is looked at. May end the call. */
  read?(chunk: Buffer): void;
  /** What {@link read} was told waits for this. Rejects with what the call then ends with. */
  readonly turn?: Promise<void> | undefined;
  /** Told how large the one message of a call has become that was compressed. */
  inflated?(bytes: number): void;
  /** Told of the first message of an answer that is a stream. */
  answered?(): void;
}

/** A call that was let in at once, or refused at once. */
export type Admitted = Ticket | ServiceError | undefined;

/** Where others look at what comes in. Every connection and every call passes its hook once, whatever it speaks. */
export interface Hooks {
  /**
   * A connection was accepted, and nothing read from it.
   *
   * @returns the socket to read from, the same or, after its handshake, one that speaks TLS over it; `undefined` where it
   *   is refused
   */
  readonly onConnection?: (socket: Socket) => Socket | undefined | Promise<Socket | undefined>;
  /** A connection speaks HTTP/2. */
  readonly onSession?: (session: ServerHttp2Session) => void;
  /**
   * Lets a call in or refuses it, before its body is read.
   *
   * @returns what is known of the call, or the refusal, where that is known at once: under overload thousands a second are
   *   refused, and to throw an error costs as much as the rest of a refusal
   * @throws {ServiceError} the same; both go out as the call's protocol has it
   */
  readonly beforeCall?: (arrival: Arrival) => Admitted | Promise<Ticket | undefined>;
  /** Told of each call that was refused before others were asked, with when it arrived. */
  readonly onRefusal?: (method: string, error: ServiceError, arrived: number) => void;
}
