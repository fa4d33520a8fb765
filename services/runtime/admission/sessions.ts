import { constants, type ServerHttp2Session, type ServerHttp2Stream, type ServerOptions } from 'node:http2';

/**
 * Streams at a time on one connection, told to the peer in SETTINGS; what it opens beyond is refused with REFUSED_STREAM,
 * which clients of gRPC try again by themselves. Twice as many as searches may wait for a fresh store (256): those that do
 * leave room for others on the same connection. More would only wait elsewhere.
 */
export const MAX_STREAMS_PER_CONNECTION = 512;
/** Largest header list of a call: as the head of an HTTP/1.1 request, and twice what clients of gRPC send by default. */
export const MAX_HEADER_LIST_BYTES = 16 * 1024;
export const MAX_HEADERS = 128;

/**
 * What Node and nghttp2 are told. By themselves they end a connection that resets streams as they begin (more than 1 000 and
 * 33 a second), that does not end a header block within eight frames, or that has 1 000 answers to pings and settings unread.
 */
export const SESSION_OPTIONS = {
  settings: {
    maxConcurrentStreams: MAX_STREAMS_PER_CONNECTION,
    maxHeaderListSize: MAX_HEADER_LIST_BYTES,
  },
  maxHeaderListPairs: MAX_HEADERS,
} as const satisfies ServerOptions;

/**
 * Calls that all connections together may have here in overload, besides their open streams, and the fewest of one. Clients
 * keep what is beyond in their own queues, where it costs nothing here, and what stands in the buffers before us is read
 * in one short turn of the loop. Some times as many as are answered in the longest wait.
 */
export const CALLS_IN_OVERLOAD = 256;
const LEAST_CALLS = 8;

/** How long sessions may last, and do nothing. */
export interface SessionLimits {
  /** Of a connection that never called. */
  firstCallMs: number;
  /** Of a connection without a call under way. */
  idleMs: number;
  /** After which a connection takes no more calls, and ends when those under way have; some tenth more or less. */
  maxAgeMs: number;
}

export const SESSION_LIMITS: SessionLimits = {
  // Clients connect when they have something to say.
  firstCallMs: 60_000,
  // Below the 350 s and more after which load balancers of clouds forget a connection without a word.
  idleMs: 300_000,
  // So that calls come to a service that was started an hour ago, and old certificates and addresses go out of use.
  maxAgeMs: 3_600_000,
};

/** Frames that a peer may send and has to be answered: so many at once, and so many a second for good. */
const PINGS = { burst: 20_000, perSecond: 5_000 };
/** Pings measure bandwidth in some clients, once for each round trip; settings change a few times in a connection's life. */
const SETTINGS = { burst: 1_000, perSecond: 10 };
const LONGEST_SWEEP_MS = 1_000;

/** Why sessions were ended from here. */
export type SessionEnd = 'idle' | 'age' | 'flood';

interface Watched {
  readonly ageLimit: number;
  open: number;
  /** Whether it ever called. */
  called: boolean;
  /** Since when no call is under way. */
  quietSince: number;
  /** Whether it was told to end. */
  ending: boolean;
  /** Streams that it was told it may have. */
  maxStreams: number;
}

/** Ends connections of HTTP/2 that do nothing, that are old, and that keep the service busy with frames that carry no call. */
export class Sessions {
  readonly ended: Record<SessionEnd, number> = { idle: 0, age: 0, flood: 0 };
  readonly #limits: SessionLimits;
  readonly #watched = new Map<ServerHttp2Session, Watched>();
  readonly #sweeper: NodeJS.Timeout;

  constructor(limits: Partial<SessionLimits> = {}) {
    this.#limits = { ...SESSION_LIMITS, ...limits };
    const shortest = Math.min(...Object.values(this.#limits)) / 4;
    this.#sweeper = setInterval(() => this.#sweep(), Math.min(LONGEST_SWEEP_MS, shortest));
    this.#sweeper.unref();
  }

  readonly watch = (session: ServerHttp2Session): void => {
    const now = performance.now();
    const jitter = 0.9 + Math.random() / 5;
    const watched: Watched = {
      ageLimit: now + this.#limits.maxAgeMs * jitter,
      open: 0,
      called: false,
      quietSince: now,
      ending: false,
      maxStreams: MAX_STREAMS_PER_CONNECTION,
    };
    this.#watched.set(session, watched);
    session.once('close', () => this.#watched.delete(session));
    // One for all streams of the session.
    const ended = (): void => {
      if (--watched.open === 0) watched.quietSince = performance.now();
    };
    session.on('stream', (stream: ServerHttp2Stream) => {
      watched.called = true;
      watched.open++;
      stream.on('close', ended);
    });
    const flooded = (): void => {
      if (watched.ending) return;
      watched.ending = true;
      this.ended.flood++;
      const why = new Error('the peer floods the connection with frames that carry no call');
      session.destroy(why, constants.NGHTTP2_ENHANCE_YOUR_CALM);
    };
    session.on('ping', bucket(PINGS, flooded));
    session.on('remoteSettings', bucket(SETTINGS, flooded));
  };

  /**
   * Tells peers how many streams they may have from now on: few calls while there is overload, as many as ever after it.
   *
   * @param lasting streams of each session that are no calls, and stay open; absent where there is no overload
   */
  limit(lasting: ReadonlyMap<ServerHttp2Session, number> | undefined): void {
    const calls = Math.max(LEAST_CALLS, Math.ceil(CALLS_IN_OVERLOAD / Math.max(1, this.#watched.size)));
    for (const [session, watched] of this.#watched) {
      const wanted = lasting ? calls + (lasting.get(session) ?? 0) : MAX_STREAMS_PER_CONNECTION;
      const maxConcurrentStreams = Math.min(MAX_STREAMS_PER_CONNECTION, wanted);
      // Peers are told when it matters, not of each connection that comes and goes.
      const isNear =
        lasting !== undefined && Math.abs(watched.maxStreams - maxConcurrentStreams) < LEAST_CALLS;
      if (watched.maxStreams === maxConcurrentStreams || isNear) continue;
      if (watched.ending || session.destroyed || session.closed || session.pendingSettingsAck) continue;
      watched.maxStreams = maxConcurrentStreams;
      session.settings({ maxConcurrentStreams });
    }
  }

  close(): void {
    clearInterval(this.#sweeper);
  }

  #sweep(): void {
    const now = performance.now();
    const { idleMs, firstCallMs } = this.#limits;
    for (const [session, watched] of this.#watched) {
      const isQuiet = watched.open === 0;
      if (watched.ending) {
        // A peer that does not take the farewell.
        if (isQuiet) session.destroy();
        continue;
      }
      const isOld = now > watched.ageLimit;
      if (!isOld && !(isQuiet && now - watched.quietSince > (watched.called ? idleMs : firstCallMs)))
        continue;
      watched.ending = true;
      this.ended[isOld ? 'age' : 'idle']++;
      // Says which streams it has seen: clients of gRPC try the others again elsewhere.
      session.close();
    }
  }
}

/** @returns to be called for each event; calls `full` where there are more than allowed */
function bucket({ burst, perSecond }: typeof PINGS, full: () => void): () => void {
  let left = burst;
  let at = performance.now();
  return () => {
    if (--left > 0) return;
    const now = performance.now();
    left = Math.min(burst, ((now - at) / 1000) * perSecond);
    at = now;
    if (left < 1) full();
  };
}
