import { status as Code } from '@grpc/grpc-js';
import { ScalingnoteError } from './errors.ts';

/** What calls that wait need to know of the servers, and what is done for them meanwhile. */
export interface Awaited {
  hasReady(): boolean;
  /** How many more calls the connected servers may have open now. */
  room(mostOpen: number): number;
  /** Looks after what is not connected. @throws {ScalingnoteError} where nobody needs to wait any longer */
  look(): void;
}

/** How often the servers are looked at; grpc-js's own watch would keep the process alive. */
const LOOK_EVERY_MS = 20;

/**
 * How many calls may be open on each server while others wait: all at once, they would fill the queue of a server that
 * has just come back, and be refused.
 */
const MOST_OPEN = 64;

interface WaitingCall {
  deadline: number;
  go(): void;
  fail(reason: unknown): void;
}

/**
 * Calls that wait until a server is connected, and then for their turn: those whose deadline comes first go first. New
 * calls wait behind them, so that nobody is passed over until the deadline.
 */
export class WaitingCalls {
  readonly #servers: Awaited;
  /** Sorted by deadline. */
  readonly #calls: WaitingCall[] = [];
  #timer: NodeJS.Timeout | undefined;
  #mostOpen = MOST_OPEN;
  /** Why there was no server, as the newest call that tried learnt it. */
  #failure: ScalingnoteError | undefined;

  constructor(servers: Awaited) {
    this.#servers = servers;
  }

  get size(): number {
    return this.#calls.length;
  }

  /** Whether another call may be opened on a server that has so many open. */
  mayOpen(open: number): boolean {
    return open < this.#mostOpen;
  }

  /**
   * Waits until a call may be made.
   *
   * @param failure - why this call could not be made so far
   * @throws that, or what others learnt, when the deadline has passed
   */
  async turn(deadline: number, signal: AbortSignal | undefined, failure?: ScalingnoteError): Promise<void> {
    signal?.throwIfAborted();
    this.#failure = failure ?? this.#failure;
    let call: WaitingCall | undefined;
    const abort = (): void => {
      this.#calls.splice(this.#calls.indexOf(call!), 1);
      call!.fail(signal!.reason);
    };
    try {
      await new Promise<void>((go, fail) => {
        call = { deadline, go, fail };
        const later = this.#calls.findLastIndex((other) => other.deadline <= deadline) + 1;
        this.#calls.splice(later, 0, call);
        signal?.addEventListener('abort', abort, { once: true });
        this.#lookSoon();
      });
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  /** Lets some calls go: of a server that has an answer ready, more is taken at once. */
  release(count: number): void {
    for (const call of this.#calls.splice(0, count)) call.go();
    this.#mostOpen = Math.min(MOST_OPEN, this.#mostOpen + count / this.#mostOpen);
  }

  /** A server refuses calls because it has too many: fewer may be open. */
  narrow(): void {
    this.#mostOpen = Math.max(1, this.#mostOpen / 2);
  }

  #lookSoon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#look();
      if (this.#calls.length > 0) this.#lookSoon();
    }, LOOK_EVERY_MS);
  }

  #look(): void {
    const now = Date.now();
    const late = this.#calls.findIndex(({ deadline }) => deadline > now);
    for (const call of this.#calls.splice(0, late === -1 ? this.#calls.length : late)) {
      call.fail(this.#whyLate());
    }
    try {
      this.#servers.look();
    } catch (error) {
      for (const call of this.#calls.splice(0)) call.fail(error);
    }
    const room = this.#servers.room(this.#mostOpen);
    if (room > 0) this.release(room);
  }

  #whyLate(): ScalingnoteError {
    if (this.#failure && !this.#servers.hasReady()) return this.#failure;
    const message = `the server was away, and more calls waited for it than it answered by this one's deadline`;
    return new ScalingnoteError({ code: Code.DEADLINE_EXCEEDED, message, reason: 'DEADLINE_EXCEEDED' });
  }
}
