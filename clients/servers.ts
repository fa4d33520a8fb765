import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { type ChannelCredentials, Client, connectivityState, status as Code } from '@grpc/grpc-js';
import { type ChannelOptions, channelOptions, isName, machinesOf, type Target } from './channel.ts';
import { ScalingnoteError } from './errors.ts';
import { type Asked, type Reachable, RetryBudget } from './retries.ts';
import { type Awaited, WaitingCalls } from './waiting-calls.ts';

/** Which server a call goes to, among those that can take it. */
export type Balancing = 'round-robin' | 'least-loaded';

/** How to reach the servers of a client. */
export interface ServersOptions {
  addresses: readonly string[];
  credentials: ChannelCredentials;
  channelOptions: ChannelOptions;
  balancing: Balancing;
}

/** A server that is used says how it is at least this often, where there is another one to go to. */
const CHECK_EVERY_MS = 5_000;
/** A call that waits longer than this makes us ask whether its server still answers anything at all. */
const SUSPECT_AFTER_MS = 500;
/** A server that does not answer a health check in this time has stopped. */
const CHECK_TIMEOUT_MS = 1_000;

/**
 * How many calls may be open on a server while others wait: all at once, they would fill the queue of one that has just
 * come back. It is halved where the server refuses calls, and grows by one when so many were answered.
 */
const MOST_OPEN = 64;

/** A timer that fires later than this shows that this process was busy. */
const BUSY_MS = 250;

/**
 * A server that is there has agreed on a connection by then, TLS included. Each time after, it may take twice as long:
 * grpc-js leaves the socket that was given up open until the other side closes it.
 */
const CONNECT_TIMEOUT_MS = 5_000;

/** How often a call looks whether one of several servers is connected. */
const LOOK_EVERY_MS = 20;

/** How long what the DNS said is good: as long as all is well, and where a server is away. */
const NAMES_GOOD_MS = 30_000;
const NAMES_DOUBTFUL_MS = 1_000;

const { READY, TRANSIENT_FAILURE, IDLE, CONNECTING } = connectivityState;

/** One server: a connection, the calls on it, and how it is. */
export class Server implements Asked {
  /** `host:port` that leads to this server alone. */
  readonly address: string;
  readonly #connect: () => Client;
  #client: Client;
  /** Whether it says that it serves; so it is taken until it says otherwise. */
  isServing = true;
  /** Whether it answers at all. */
  isMute = false;
  #isClosed = false;
  #connectingSince: number | undefined;
  #patienceMs = CONNECT_TIMEOUT_MS;
  #checkedAt = 0;
  #isChecking = false;
  #mostOpen = MOST_OPEN;
  #restsUntil = 0;
  /** What moves each call on it to another server. */
  readonly #calls = new Set<(error: ScalingnoteError) => void>();

  constructor(target: Target, credentials: ChannelCredentials, options: ChannelOptions) {
    this.address = target.target;
    const all = { ...channelOptions(target, options), 'grpc.use_local_subchannel_pool': 1 };
    this.#connect = () => new Client(target.target, credentials, all);
    this.#client = this.#connect();
  }

  get client(): Client {
    return this.#client;
  }

  get inFlight(): number {
    return this.#calls.size;
  }

  get state(): connectivityState {
    return this.client.getChannel().getConnectivityState(false);
  }

  get isReady(): boolean {
    return !this.isMute && this.state === READY;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** How many more calls it may have open, where others wait for that. */
  get room(): number {
    if (!this.isReady || Date.now() < this.#restsUntil) return 0;
    return Math.max(0, Math.floor(this.#mostOpen) - this.inFlight);
  }

  /** It answered a call while others wait. @returns how many may go to it now */
  answered(): number {
    this.#mostOpen += 1 / this.#mostOpen;
    return Math.min(this.room, 2);
  }

  relieve(ms: number): void {
    const now = Date.now();
    // What it refuses meanwhile was sent before it said so.
    if (now < this.#restsUntil) return;
    this.#restsUntil = now + ms;
    this.#mostOpen = Math.max(1, this.#mostOpen / 2);
  }

  /** Takes no more calls. Those that are open go on. */
  close(): void {
    this.#isClosed = true;
    this.client.close();
  }

  /** Connects, where it is not connected. */
  connect(): void {
    this.client.getChannel().getConnectivityState(true);
  }

  /** Gives up a connection whose peer accepted it and says nothing, and makes another; grpc-js would wait forever. */
  renewIfStuck(): void {
    if (this.state !== CONNECTING) this.#connectingSince = undefined;
    else if (Date.now() - (this.#connectingSince ??= Date.now()) > this.#patienceMs) {
      this.#connectingSince = undefined;
      this.#patienceMs *= 2;
      const stuck = this.#client;
      this.#client = this.#connect();
      stuck.close();
    }
  }

  /**
   * Counts a call.
   *
   * @param move - is called when the server has stopped to answer and another one is there
   * @returns ends the count
   */
  enter(move: (error: ScalingnoteError) => void): () => void {
    this.#calls.add(move);
    return () => this.#calls.delete(move);
  }

  /**
   * Asks the server how it is, unless it said so a moment ago. The channel's keepalive finds a stopped peer, too, but
   * later than callers wait.
   *
   * @param maxAgeMs - what is known from before is good for so long
   */
  check(maxAgeMs: number, canMove: () => boolean): void {
    if (this.#isChecking || Date.now() - this.#checkedAt < maxAgeMs || this.state !== READY) return;
    this.#isChecking = true;
    const deadline = Date.now() + CHECK_TIMEOUT_MS;
    const none = (): Buffer => Buffer.alloc(0);
    this.client.makeUnaryRequest(
      '/grpc.health.v1.Health/Check',
      none,
      (bytes: Buffer) => bytes,
      {},
      { deadline },
      (error, answer) => {
        this.#isChecking = false;
        this.#checkedAt = Date.now();
        const late = error?.code === Code.DEADLINE_EXCEEDED;
        // Where this process was busy itself, the answer may lie in the socket.
        if (late && Date.now() > deadline + BUSY_MS) return;
        // Any answer shows that it lives; one without a health service serves.
        this.isMute = late;
        // The status is field 1; SERVING is 1.
        if (answer) this.isServing = answer[0] === 0x08 && answer[1] === 1;
        if (!this.isMute || !canMove()) return;
        const message = `${this.address} has stopped to answer`;
        const stopped = new ScalingnoteError({ code: Code.UNAVAILABLE, message, reason: '' });
        for (const move of this.#calls) move(stopped);
      },
    );
  }
}

/** The servers of a client: which there are, how they are, and which one is next. */
export class Servers implements Reachable, Awaited {
  readonly budget = new RetryBudget();
  readonly waiting = new WaitingCalls(this);
  readonly #options: ServersOptions;
  /** By address; those behind one name change as the DNS does. */
  readonly #servers = new Map<string, Server>();
  readonly #names: readonly string[];
  /** Machines that the DNS named, with their names. */
  readonly #known = new Map<string, string>();
  #resolvedAt = 0;
  #resolving: Promise<void> | undefined;
  #turn = 0;
  #isClosed = false;
  readonly #open = new Set<() => void>();
  #whenIdle: (() => void)[] = [];

  constructor(options: ServersOptions) {
    this.#options = options;
    this.#names = options.addresses.filter((address) => isName(address, options.channelOptions));
    for (const target of options.addresses) if (!this.#names.includes(target)) this.#add({ target });
    this.#turn = Math.floor(Math.random() * options.addresses.length);
  }

  /**
   * The server that the next call goes to. Where none is connected, waits until one is, or until all have failed.
   *
   * @param avoid - a server that failed this call; another one is better
   * @throws {ScalingnoteError} where the client is closed
   */
  async pick(deadline: number, signal?: AbortSignal, avoid?: Server): Promise<Server> {
    this.#checkOpen();
    if (this.#names.length > 0) await this.#resolve();
    for (const server of this.#servers.values()) server.renewIfStuck();
    if (this.#servers.size > 1) await this.#settled(deadline, signal);
    const server = this.#best(avoid);
    if (this.#servers.size > 1) {
      for (const each of this.#servers.values()) {
        if (each.state === IDLE) each.connect();
        each.check(each.isServing && !each.isMute ? CHECK_EVERY_MS : CHECK_TIMEOUT_MS, this.#canMove);
      }
    }
    return server;
  }

  /**
   * Counts a call on a server.
   *
   * @param move - is called when the call had better go elsewhere
   * @returns ends the count
   * @throws {ScalingnoteError} where the server was closed after it was picked: its client was, or its name leads
   *   elsewhere now
   */
  enter(server: Server, move: (error: ScalingnoteError) => void): () => void {
    this.#checkOpen();
    if (server.isClosed) {
      const message = `${server.address} is not one of the servers any more`;
      throw new ScalingnoteError({ code: Code.UNAVAILABLE, message, reason: '' });
    }
    const leave = server.enter(move);
    const done = (): void => {
      leave();
      this.#open.delete(done);
      if (this.waiting.size > 0) this.waiting.release(server.answered());
      if (this.#open.size === 0) for (const resolve of this.#whenIdle.splice(0)) resolve();
    };
    this.#open.add(done);
    return done;
  }

  /**
   * Asks a server how it is while an answer takes long, where the call could go elsewhere.
   *
   * @returns ends that
   */
  suspect(server: Server): () => void {
    if (this.#servers.size < 2) return () => {};
    const ask = (): void => server.check(SUSPECT_AFTER_MS, this.#canMove);
    const timer = setInterval(ask, SUSPECT_AFTER_MS).unref();
    return () => clearInterval(timer);
  }

  hasReady(except?: Asked): boolean {
    for (const server of this.#servers.values()) if (server !== except && server.isReady) return true;
    return false;
  }

  get room(): number {
    let room = 0;
    for (const server of this.#servers.values()) room += server.room;
    return room;
  }

  look(): void {
    this.#checkOpen();
    if (this.#names.length > 0) void this.#resolve();
    for (const server of this.#servers.values()) {
      server.renewIfStuck();
      server.connect();
      if (server.isMute) server.check(CHECK_TIMEOUT_MS, this.#canMove);
    }
  }

  /** Takes no more calls. Those that are open go on. */
  close(): void {
    this.#isClosed = true;
    for (const server of this.#servers.values()) server.close();
  }

  /** Resolves when no call is open any more, and its caller has the answer. */
  async idle(): Promise<void> {
    if (this.#open.size > 0) await new Promise<void>((resolve) => this.#whenIdle.push(resolve));
    await setImmediate();
  }

  readonly #canMove = (): boolean => this.hasReady();

  #checkOpen(): void {
    if (!this.#isClosed) return;
    const message = 'the client is closed; make another one';
    throw new ScalingnoteError({ code: Code.FAILED_PRECONDITION, message, reason: 'CLIENT_CLOSED' });
  }

  #add(target: Target): void {
    if (this.#servers.has(target.target)) return;
    const { credentials, channelOptions: own } = this.#options;
    this.#servers.set(target.target, new Server(target, credentials, own));
  }

  /** Connected and serving before connected before the rest; what answers before what does not. */
  #best(avoid: Server | undefined): Server {
    let best: Server[] = [];
    let highest = -1;
    for (const server of this.#servers.values()) {
      const isReady = server.isReady;
      const rank = (isReady ? 8 : 0) + (server.isServing ? 4 : 0) + (server.isMute ? 0 : 2);
      const total = rank * 4 + (server === avoid ? 0 : 2) + (server.room > 0 ? 1 : 0);
      if (total > highest) [best, highest] = [[], total];
      if (total === highest) best.push(server);
    }
    const server = best[this.#turn++ % best.length]!;
    if (this.#options.balancing === 'round-robin' || best.length === 1) return server;
    // Two at random, the better one of both: with the least of all, every client would run to the same server.
    const other = best[Math.floor(Math.random() * best.length)]!;
    return other.inFlight < server.inFlight ? other : server;
  }

  /** Waits while all that are not connected may still be. */
  async #settled(deadline: number, signal: AbortSignal | undefined): Promise<void> {
    while (!this.hasReady() && Date.now() < deadline) {
      let mayConnect = false;
      for (const server of this.#servers.values()) {
        server.connect();
        mayConnect ||= !server.isMute && server.state !== TRANSIENT_FAILURE;
      }
      if (!mayConnect) return;
      await sleep(LOOK_EVERY_MS);
      signal?.throwIfAborted();
      this.#checkOpen();
    }
  }

  /** Looks the names up again, where it is time; waits for that only where no server is known. */
  async #resolve(): Promise<void> {
    const age = Date.now() - this.#resolvedAt;
    if (age >= (this.hasReady() ? NAMES_GOOD_MS : NAMES_DOUBTFUL_MS)) {
      this.#resolving ??= this.#lookUp().finally(() => (this.#resolving = undefined));
    }
    if (this.#servers.size === 0) await this.#resolving;
  }

  async #lookUp(): Promise<void> {
    const answers = await Promise.allSettled(this.#names.map(machinesOf));
    this.#resolvedAt = Date.now();
    if (this.#isClosed) return;
    const found = new Map<string, Target>();
    for (const [index, answer] of answers.entries()) {
      const name = this.#names[index]!;
      if (answer.status === 'fulfilled') {
        for (const machine of answer.value) found.set(machine.target, machine);
      } else {
        // What was known goes on; where nothing was, grpc-js says why the name leads nowhere.
        const known = [...this.#known].filter(([, authority]) => authority === name);
        if (known.length === 0) found.set(name, { target: name });
        for (const [target, authority] of known) found.set(target, { target, authority });
      }
    }
    for (const [address, server] of this.#servers) {
      const isNamed = this.#known.has(address) || this.#names.includes(address);
      if (!isNamed || found.has(address)) continue;
      this.#servers.delete(address);
      this.#known.delete(address);
      server.close();
    }
    for (const target of found.values()) {
      this.#add(target);
      if (target.authority !== undefined) this.#known.set(target.target, target.authority);
    }
  }
}
