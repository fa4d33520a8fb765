import { type Loop, OVERLOAD_WAIT_MS } from './call-queue.ts';

/**
 * Follows the turns of the event loop in which calls come. What a turn brings was in the buffers of the kernel when it
 * began: so all calls of a turn have waited from its beginning, whenever each of them is looked at. A turn that takes long
 * is a queue, wherever it stands.
 */
export class LoopTurns implements Loop {
  readonly #now: () => number;
  readonly #atEnd: (end: () => void) => unknown;
  #began: number | undefined;
  #endedAt = -Infinity;
  #wasShort = true;

  /**
   * @param now milliseconds. @default performance.now
   * @param atEnd calls back when the loop has read all that was there. @default setImmediate
   */
  constructor(
    now: () => number = () => performance.now(),
    atEnd: (end: () => void) => unknown = setImmediate,
  ) {
    this.#now = now;
    this.#atEnd = atEnd;
  }

  /** Whether the last turn was over soon, or the loop had nothing to do since. */
  get isCalm(): boolean {
    return this.#wasShort;
  }

  /** A call is looked at. @returns when its turn began */
  call(): number {
    if (this.#began !== undefined) return this.#began;
    const now = this.#now();
    if (now - this.#endedAt > OVERLOAD_WAIT_MS) this.#wasShort = true;
    this.#began = now;
    this.#atEnd(this.#end);
    return now;
  }

  readonly #end = (): void => {
    this.#endedAt = this.#now();
    this.#wasShort = this.#endedAt - this.#began! <= OVERLOAD_WAIT_MS;
    this.#began = undefined;
  };
}
