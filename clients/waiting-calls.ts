import { status as Code } from '@grpc/grpc-js';
import { ScalingnoteError } from './errors.ts';

/** What calls that wait need to know of the servers, and what is done for them meanwhile. */
export interface Awaited {
  hasReady(): boolean;
  /** How many more calls the connected servers may have open now. */
  readonly room: number;
  /** Looks after what is not connected. @throws {ScalingnoteError} where nobody needs to wait any longer */
  look(): void;
}

/** How often the servers are looked at; grpc-js's own watch would keep the process alive. */
const LOOK_EVERY_MS = 20;

interface WaitingCall {
  deadline: number;
  failure: ScalingnoteError | undefined;
  go(): void;
  fail(reason: unknown): void;
}

/**
 * Calls that wait until a server is there that can take them: none is connected, or it has too many. Those whose
 * deadline comes first go first, a few at a time, and new calls wait with them, so that nobody is passed over.
 */
export class WaitingCalls {
  readonly #servers: Awaited;
  /** Sorted by deadline. */
  readonly #calls: WaitingCall[] = [];
  #isLooking = false;
  /** Why the calls wait, as the newest one that tried learnt it. */
  #failure: ScalingnoteError | undefined;

  constructor(servers: Awaited) {
    this.#servers = servers;
  }

  get size(): number {
    return this.#calls.length;
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
        call = { deadline, failure, go, fail };
        const later = this.#calls.findLastIndex((other) => other.deadline <= deadline) + 1;
        this.#calls.splice(later, 0, call);
        signal?.addEventListener('abort', abort, { once: true });
        this.#lookSoon();
      });
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  /** Lets some calls go. */
  release(count: number): void {
    for (const call of this.#calls.splice(0, count)) call.go();
    if (this.#calls.length === 0) this.#failure = undefined;
  }

  #lookSoon(): void {
    if (this.#isLooking) return;
    this.#isLooking = true;
    setTimeout(() => {
      this.#isLooking = false;
      this.#look();
      if (this.#calls.length > 0) this.#lookSoon();
    }, LOOK_EVERY_MS);
  }

  #look(): void {
    const now = Date.now();
    const late = this.#calls.findIndex(({ deadline }) => deadline > now);
    for (const call of this.#calls.splice(0, late === -1 ? this.#calls.length : late)) {
      call.fail(this.#whyLate(call));
    }
    try {
      this.#servers.look();
    } catch (error) {
      for (const call of this.#calls.splice(0)) call.fail(error);
    }
    const { room } = this.#servers;
    if (room > 0) this.release(room);
  }

  #whyLate({ failure = this.#failure }: WaitingCall): ScalingnoteError {
    if (failure && (failure.code === 'RESOURCE_EXHAUSTED' || !this.#servers.hasReady())) return failure;
    const message = `the server was away, and more calls waited for it than it answered by this one's deadline`;
    return new ScalingnoteError({ code: Code.DEADLINE_EXCEEDED, message, reason: 'DEADLINE_EXCEEDED' });
  }
}
