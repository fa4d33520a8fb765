import { deadlineExceeded, overloaded } from '../runtime/errors.ts';
import { SearchDurations } from './search-durations.ts';

/** Shortest and longest wait that a rejected caller is told, in milliseconds. */
export const RETRY_DELAY_MS = { min: 50, max: 5000 } as const;

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
 * that were admitted still answer in time, and the others learn it soon.
 */
export class Gate {
  readonly #slots: number;
  readonly #places: number;
  readonly #queue = new Set<Waiter>();
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
   * @throws {ServiceError} RESOURCE_EXHAUSTED where the queue is full, DEADLINE_EXCEEDED if the
   *   caller's remaining time is less than the fastest recent search would take, behind those that wait
   */
  enter(call: Admission): Promise<void> | undefined {
    call.signal.throwIfAborted();
    this.#refuseLate(call, this.#queue.size);
    if (this.#busy < this.#slots) {
      this.#busy++;
      return undefined;
    }
    if (this.#queue.size >= this.#places) {
      throw overloaded(
        `${this.#busy} searches are running and ${this.#queue.size} are waiting, which is the limit of this service; ` +
          'try again later',
        this.#retryDelayMs(),
      );
    }
    return new Promise((resolve, reject) => {
      const giveUp = (): void => {
        this.#queue.delete(waiter);
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
      this.#queue.add(waiter);
    });
  }

  /** Gives the slot of a call to the next one. @param ms how long the call ran; left out if it failed */
  leave(ms?: number): void {
    if (ms !== undefined) this.#durations.record(ms, performance.now());
    for (const waiter of this.#queue) {
      this.#queue.delete(waiter);
      try {
        this.#refuseLate(waiter.call, 0);
      } catch (error) {
        waiter.settle(error);
        continue;
      }
      waiter.settle();
      return;
    }
    this.#busy--;
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
