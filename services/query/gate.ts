import { deadlineExceeded, overloaded, type ServiceError } from '../runtime/errors.ts';
import { FairQueue } from '../runtime/tenants/fair-queue.ts';
import { SearchDurations } from './search-durations.ts';

/** Shortest and longest wait that a rejected caller is told, in milliseconds. */
export const RETRY_DELAY_MS = { min: 50, max: 5000 } as const;

/**
 * Longest wait that is expected of a caller, as in a burst at the door of the service (`runtime/admission/call-queue.ts`):
 * queries of a stream come in past that door. Where searches take long, twice as many as run may wait whatever it takes.
 */
const LONGEST_WAIT_MS = 100;

/** What the gate needs to know about a call. */
export interface Admission {
  readonly signal: AbortSignal;
  /** When the caller stops waiting, in milliseconds since the epoch. */
  readonly deadline?: number;
}

interface Waiter {
  call: Admission;
  /** Lets the call in, or refuses it for a reason. */
  settle: (reason?: unknown) => void;
}

/**
 * Limits how many calls run at a time and how many wait. Excess calls are rejected at once: under overload the calls
 * that were admitted still answer in time, and the others learn it soon. Tenants take turns; where all places are taken,
 * the one that has most gives one up for one that has fewer.
 */
export class Gate {
  readonly #slots: number;
  readonly #places: number;
  readonly #queue = new FairQueue<Waiter>();
  readonly #durations = new SearchDurations();
  #busy = 0;

  constructor(options: { slots: number; queue: number }) {
    this.#slots = options.slots;
    this.#places = options.queue;
  }

  /** Calls that are waiting. */
  get waiting(): number {
    return this.#queue.size;
  }

  /**
   * Admits a call, now (returns `undefined`, which costs nothing) or later (returns a promise). Call {@link leave}
   * afterwards.
   *
   * @param flow whose call it is @param weight how many turns it has where others of weight 1 have one
   * @throws {ServiceError} RESOURCE_EXHAUSTED where the queue is full, DEADLINE_EXCEEDED if the
   *   caller's remaining time is less than the fastest recent search would take, behind those that wait
   */
  enter(call: Admission, flow = '', weight = 1): Promise<void> | undefined {
    this.#refuseLate(call, Math.min(this.#queue.size, this.#queue.aheadOf(flow)));
    if (this.#busy < this.#slots) {
      this.#busy++;
      return undefined;
    }
    // A signal is made for who asks for it; whoever need not wait has just come.
    call.signal.throwIfAborted();
    if (this.#queue.size >= this.#mostWaiting) {
      const victim = this.#queue.victim(flow);
      if (!victim) throw this.#full();
      this.#queue.remove(victim);
      victim.settle(this.#full());
    }
    return new Promise((resolve, reject) => {
      const giveUp = (): void => {
        this.#queue.remove(waiter);
        reject(call.signal.reason as Error);
      };
      const waiter: Waiter = {
        call,
        settle: (reason) => {
          call.signal.removeEventListener('abort', giveUp);
          if (reason === undefined) resolve();
          else reject(reason);
        },
      };
      call.signal.addEventListener('abort', giveUp);
      this.#queue.push(flow, waiter, weight);
    });
  }

  /** Gives the slot of a call to the next one. @param ms how long the call ran; left out if it failed */
  leave(ms?: number): void {
    if (ms !== undefined) this.#durations.record(ms, performance.now());
    for (let waiter = this.#queue.next(); waiter; waiter = this.#queue.next()) {
      try {
        this.#refuseLate(waiter.call, 0);
      } catch (error) {
        this.#queue.remove(waiter);
        waiter.settle(error);
        continue;
      }
      this.#queue.take(waiter);
      waiter.settle();
      return;
    }
    this.#busy--;
  }

  get #mostWaiting(): number {
    const { meanMs } = this.#durations;
    const inTime = meanMs === 0 ? Infinity : (this.#slots * LONGEST_WAIT_MS) / meanMs;
    return Math.min(this.#places, Math.max(2 * this.#slots, Math.floor(inTime)));
  }

  #full(): ServiceError {
    return overloaded(
      `as many searches as this service takes are running (${this.#slots}) and waiting (${this.#queue.size}); try again later`,
      this.#retryDelayMs(),
    );
  }

  #refuseLate({ deadline }: Admission, ahead: number): void {
    if (deadline === undefined) return;
    const left = deadline - Date.now();
    const needed = this.#durations.floorMs(performance.now()) * (1 + ahead / this.#slots);
    if (left > needed) return;
    throw deadlineExceeded(
      left <= 0
        ? 'the deadline passed before the work began'
        : `${Math.floor(left)} ms are left of the deadline, and a search takes ${Math.ceil(needed)} ms or more here`,
    );
  }

  #retryDelayMs(): number {
    const drained = (this.#durations.meanMs * (this.#queue.size + 1)) / this.#slots;
    return Math.round(Math.min(RETRY_DELAY_MS.max, Math.max(RETRY_DELAY_MS.min, drained)));
  }
}
