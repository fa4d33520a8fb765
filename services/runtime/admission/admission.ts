import { constants, type ServerHttp2Session } from 'node:http2';
import type { Socket } from 'node:net';
import { limits } from '../../../machine/limits.ts';
import { cancelled, overloaded, ServiceError } from '../errors.ts';
import { MAX_CONNECTIONS } from '../listener/listener.ts';
import type { Admitted, Arrival, Hooks, Ticket } from '../listener/seams.ts';
import { excess, look } from './answers.ts';
import { budgetsOf } from './budgets.ts';
import { BytesInFlight } from './bytes-in-flight.ts';
import { CallQueue, type Priority } from './call-queue.ts';
import { deadlineOf } from './deadline.ts';
import { checkHeaders } from './header-list.ts';
import { LoopTurns } from './loop-turns.ts';
import { MessageMeter } from './message-meter.ts';
import { type Keeper, OpenCall } from './open-call.ts';
import { refuseStream } from './refuse-stream.ts';
import { MAX_HEADER_LIST_BYTES, type SessionLimits, Sessions } from './sessions.ts';
import { Counts, shareOfPeer } from './shares.ts';

/**
 * How a method is let in: within the slots, among the open streams, or whenever it comes. A stream of `queries` is both: its
 * first message is work of the turn that brings it, as a call is, so it has a slot until its first answer.
 */
export type Kind = Priority | 'stream' | 'queries' | 'free';

/** Streams and calls without a slot that are open at a time, over all connections. */
export const MAX_OPEN_STREAMS = 1_000;
/** Connections at a time from one address. A proxy has one address for all behind it, and needs few connections. */
export const MAX_CONNECTIONS_PER_PEER = 1_000;
/** A call whose body does not come within this gives its slot to another. */
export const SLOW_BODY_MS = 1_000;
/** And after this it is ended. So is an answer of which the caller takes nothing for as long; see `answers.ts`. */
export const STALLED_MS = 30_000;
const SWEEP_MS = 250;
/** So long after the last call that was refused for overload, peers may have all their streams again. */
const CALM_MS = 1_000;
const REFUSED_DELAY_MS = 1_000;

/** How much is let in. */
export interface AdmissionOptions {
  /** Calls that are worked on at a time, and that may wait for it. */
  slots: number;
  places: number;
  /** Of one message. */
  maxReceiveBytes: number;
  /** By path; what is not named is `free`. */
  kinds: ReadonlyMap<string, Kind>;
  /** Why no more streams of a method are taken, for methods that know; see `Service`. */
  refuseStream?: ((method: string, ofPeer: number) => ServiceError | undefined) | undefined;
  /** @default {@link STALLED_MS} */
  stalledMs?: number | undefined;
  /** @default {@link SESSION_LIMITS} */
  sessions?: Partial<SessionLimits> | undefined;
  /** Told of each refusal, with when the call arrived by `performance.now()`. */
  onRefusal?: ((method: string, error: ServiceError, arrived: number) => void) | undefined;
}

/**
 * Lets calls in before anything of them is read, and counts what is under way. One per service: slots, bytes and streams
 * are of all its connections together.
 */
export class Admission implements Required<Hooks> {
  readonly queue: CallQueue;
  readonly bytes: BytesInFlight;
  readonly sessions: Sessions;
  readonly onSession: Sessions['watch'];
  /** What is in force, by name. */
  readonly limits: Readonly<Record<string, number>>;
  readonly #options: AdmissionOptions;
  readonly #loop = new LoopTurns();
  readonly #open = new Set<OpenCall>();
  readonly #connectionsOf = new Counts();
  readonly #streamsOf = new Counts();
  readonly #sweeper: NodeJS.Timeout;
  readonly #stalledMs: number;
  readonly #maxUntaken: number;
  /** Several processes of a service share {@link MAX_OPEN_STREAMS}. */
  readonly #maxStreams = Math.ceil(MAX_OPEN_STREAMS / limits().processes);
  readonly #keeper: Keeper = {
    noRoom: (call) => this.#noRoom(call),
    whole: (call) => this.#whole(call),
    giveSlot: (call) => this.#giveSlot(call),
    ended: (call) => this.#ended(call),
  };
  /** Streams of queries that got a slot in this turn. */
  #fresh: OpenCall[] = [];
  #streams = 0;
  #connections = 0;
  #untaken = 0;
  /** When a call was refused last because too many came, and whether peers were told to keep calls to themselves. */
  #refusedAt = -Infinity;
  #isNarrow = false;

  constructor(options: AdmissionOptions) {
    this.#options = options;
    const { slots, places, maxReceiveBytes } = options;
    this.queue = new CallQueue({ slots, places, loop: this.#loop });
    const budgets = budgetsOf(maxReceiveBytes);
    this.bytes = new BytesInFlight(budgets.requests);
    this.limits = {
      'calls.running': slots,
      'calls.waiting': places,
      streams: this.#maxStreams,
      'streams.address': shareOfPeer(this.#maxStreams),
      connections: MAX_CONNECTIONS,
      'connections.address': MAX_CONNECTIONS_PER_PEER,
      'message.bytes': maxReceiveBytes,
      'headers.bytes': MAX_HEADER_LIST_BYTES,
      'requests.bytes': budgets.requests,
      'bodies.bytes': budgets.bodies,
      'answers.bytes': budgets.untaken,
    };
    this.#maxUntaken = budgets.untaken;
    this.sessions = new Sessions(options.sessions);
    this.onSession = this.sessions.watch;
    this.#stalledMs = options.stalledMs ?? STALLED_MS;
    this.#sweeper = setInterval(() => this.#sweep(), Math.min(SWEEP_MS, this.#stalledMs / 4));
    this.#sweeper.unref();
  }

  /** Calls and streams that were let in and have not ended. */
  get open(): number {
    return this.#open.size;
  }

  /** Those of them that have no slot: streams, and calls that cost nothing. */
  get streams(): number {
    return this.#streams;
  }

  get connections(): number {
    return this.#connections;
  }

  /** Memory of answers that callers had not taken at the last look, in bytes. */
  get untakenBytes(): number {
    return this.#untaken;
  }

  /** Counts a connection. @returns the socket; `undefined` where its peer has too many */
  readonly onConnection = (socket: Socket): Socket | undefined => {
    const peer = socket.remoteAddress ?? '';
    if (this.#connectionsOf.of(peer) >= MAX_CONNECTIONS_PER_PEER) {
      socket.destroy();
      return undefined;
    }
    this.#connectionsOf.add(peer);
    this.#connections++;
    socket.once('close', () => {
      this.#connections--;
      this.#connectionsOf.remove(peer);
    });
    return socket;
  };

  /** Lets a call in or refuses it, at once or later. */
  readonly beforeCall = (arrival: Arrival): Admitted | Promise<Ticket> => {
    const { method, socket, headers } = arrival;
    const kind = this.#options.kinds.get(method) ?? 'free';
    const { flow = `address ${socket.remoteAddress}` } = arrival;
    const late = kind === 'free' ? undefined : this.queue.turnAway(flow);
    if (late) return this.#turnedAway(method, late, arrival.arrived ?? this.#loop.call());
    const call = this.#callOf(arrival, kind, flow);
    try {
      checkHeaders(headers);
      if (call.isStream) {
        this.#enterStream(call);
        // In overload nothing is made for a stream that would not be served.
        if (kind !== 'queries' || !call.stream || !this.queue.isOverload) {
          if (kind !== 'free') this.queue.passed(flow);
          return this.#admit(call);
        }
      }
      const wait = this.queue.enter(call);
      if (wait instanceof ServiceError) {
        if (call.isStream) this.#leaveStream(call);
        return this.#turnedAway(method, wait, call.arrived);
      }
      if (!wait) {
        call.hasSlot = true;
        return this.#admit(call);
      }
      const gone = (): void => this.queue.abandon(call);
      call.stream?.once('close', gone);
      return wait.then(
        () => {
          call.stream?.off('close', gone);
          call.hasSlot = true;
          return this.#admit(call);
        },
        (error: unknown) => {
          call.stream?.off('close', gone);
          if (call.isStream) this.#leaveStream(call);
          throw this.#refused(call, error);
        },
      );
    } catch (error) {
      throw this.#refused(call, error);
    }
  };

  /** A call was refused before it came here. */
  readonly onRefusal: NonNullable<Hooks['onRefusal']> = (method, error, arrived) =>
    this.#options.onRefusal?.(method, error, arrived);

  close(): void {
    clearInterval(this.#sweeper);
    this.sessions.close();
  }

  #callOf(arrival: Arrival, kind: Kind, flow: string): OpenCall {
    const { headers, stream, socket } = arrival;
    const turn = this.#loop.call();
    // Who had to wait for a token's check came before.
    const { arrived = turn } = arrival;
    const isStream = kind === 'stream' || kind === 'queries' || kind === 'free';
    return new OpenCall(this.#keeper, arrival, {
      kind,
      isStream,
      flow,
      peer: isStream ? (socket.remoteAddress ?? '') : '',
      arrived,
      deadline: deadlineOf(headers, arrived),
      meter: stream && new MessageMeter(this.bytes, this.#options.maxReceiveBytes),
    });
  }

  #enterStream({ method, kind, peer }: OpenCall): void {
    const ofMethod = `${method} ${peer}`;
    const { refuseStream: ask } = this.#options;
    const full = kind !== 'free' ? ask?.(method, this.#streamsOf.of(ofMethod)) : undefined;
    if (full) throw full;
    if (this.#streams >= this.#maxStreams) {
      throw overloaded(`${this.#streams} streams are open, which is the most here`, REFUSED_DELAY_MS);
    }
    const most = shareOfPeer(this.#maxStreams);
    if (this.#streamsOf.of(peer) >= most) {
      throw overloaded(
        `${most} streams of this address are open, which is the most for one`,
        REFUSED_DELAY_MS,
      );
    }
    this.#streams++;
    this.#streamsOf.add(peer);
    this.#streamsOf.add(ofMethod);
  }

  #leaveStream({ method, peer }: OpenCall): void {
    this.#streams--;
    this.#streamsOf.remove(peer);
    this.#streamsOf.remove(`${method} ${peer}`);
  }

  #turnedAway(method: string, refusal: ServiceError, arrived: number): ServiceError {
    this.#options.onRefusal?.(method, refusal, arrived);
    return this.#turned(refusal);
  }

  /** Peers keep more calls to themselves from now on. */
  #turned(refusal: ServiceError): ServiceError {
    this.#refusedAt = performance.now();
    if (!this.#isNarrow) this.#limitStreams(true);
    return refusal;
  }

  #limitStreams(isNarrow: boolean): void {
    this.#isNarrow = isNarrow;
    if (!isNarrow) {
      this.sessions.limit(undefined);
      return;
    }
    const lasting = new Map<ServerHttp2Session, number>();
    for (const { kind, isStream, hasSlot, stream } of this.#open) {
      const isLasting = isStream && kind !== 'free' && !hasSlot;
      const session = isLasting ? (stream?.session as ServerHttp2Session | undefined) : undefined;
      if (session) lasting.set(session, (lasting.get(session) ?? 0) + 1);
    }
    this.sessions.limit(lasting);
  }

  #refused({ method, arrived }: OpenCall, error: unknown): unknown {
    if (error instanceof ServiceError) this.#options.onRefusal?.(method, error, arrived);
    return error;
  }

  #admit(call: OpenCall): Ticket {
    this.#open.add(call);
    if (call.kind === 'queries' && call.hasSlot) this.#follow(call);
    if (call.stream?.closed) call.done();
    return call;
  }

  /** A stream whose first message is not there when the turn ends that brought it gives its slot to others. */
  #follow(call: OpenCall): void {
    if (this.#fresh.push(call) > 1) return;
    setImmediate(() => {
      const fresh = this.#fresh;
      this.#fresh = [];
      for (const each of fresh) if (each.meter?.isWhole !== true) this.#giveSlot(each);
    });
  }

  /** The first query of a stream comes as a call does: it gets a slot, waits for one, or ends the stream. */
  #whole(call: OpenCall): void {
    if (call.kind !== 'queries' || call.hasSlot || !call.stream || call.stream.headersSent) return;
    const wait = this.queue.enter(call);
    if (wait instanceof ServiceError) this.#end(call, this.#turned(wait));
    else if (!wait) call.hasSlot = true;
    else {
      call.turn = wait.then(
        () => {
          call.turn = undefined;
          call.hasSlot = true;
          if (call.isOver) this.#giveSlot(call);
        },
        (error: unknown) => {
          if (error instanceof ServiceError) call.refusal = error;
          throw error;
        },
      );
      call.turn.catch(() => {});
    }
  }

  #ended(call: OpenCall): void {
    this.#open.delete(call);
    if (call.turn) this.queue.abandon(call);
    if (call.isStream) this.#leaveStream(call);
    this.#giveSlot(call);
  }

  #giveSlot(call: OpenCall): void {
    if (!call.hasSlot) return;
    call.hasSlot = false;
    this.queue.leave(call);
  }

  #noRoom(call: OpenCall): void {
    const error = overloaded(
      `${this.bytes.held} bytes of requests are under way, and this one takes too many more; send it later`,
      REFUSED_DELAY_MS,
    );
    this.#end(call, error);
  }

  /** Ends a call whose message nobody has read. */
  #end(call: OpenCall, error: ServiceError): void {
    const { stream } = call;
    if (stream && call.isWatched) call.refusal = error;
    else this.#options.onRefusal?.(call.method, error, call.arrived);
    if (!stream || stream.closed) return;
    if (stream.headersSent) stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    else {
      refuseStream(stream, error);
      // The reader of messages sees that, and does not inflate what it is given next.
      stream.close(constants.NGHTTP2_NO_ERROR);
    }
  }

  #sweep(): void {
    const now = performance.now();
    if (this.#isNarrow) this.#limitStreams(now - this.#refusedAt < CALM_MS);
    const waiting: OpenCall[] = [];
    let untaken = 0;
    for (const call of this.#open) {
      this.#followBody(call, now);
      const bytes = look(call.untaken, call.answer, now);
      if (bytes === 0) continue;
      untaken += bytes;
      if (now - call.untaken.since > this.#stalledMs) this.#drop(call);
      else waiting.push(call);
    }
    this.#untaken = untaken;
    if (untaken > this.#maxUntaken) for (const call of excess(waiting, this.#maxUntaken)) this.#drop(call);
    // The work on them is done, and their memory is within bounds.
    else for (const call of waiting) if (call.answer.writableEnded) this.#giveSlot(call);
  }

  #followBody(call: OpenCall, now: number): void {
    const { meter, arrived, kind } = call;
    if ((call.isStream && kind !== 'free') || !meter || meter.isWhole) return;
    if (now - arrived > SLOW_BODY_MS) this.#giveSlot(call);
    if (now - arrived > this.#stalledMs) {
      const error = overloaded('the message did not come in time; send it as a whole', REFUSED_DELAY_MS);
      this.#end(call, error);
    }
  }

  /** Ends a call whose caller takes nothing of the answer, or not enough. */
  #drop({ method, isWatched, arrived, stream, answer }: OpenCall): void {
    if (!isWatched) this.#options.onRefusal?.(method, cancelled(), arrived);
    if (stream) stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    else answer.destroy();
  }
}
