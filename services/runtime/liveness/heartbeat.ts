/** How often the main thread says that it turns. */
export const BEAT_MS = 100;

/** The moment at which the main thread last turned, in memory that another thread reads while this one can't answer. */
export class Heartbeat {
  /** To be given to another thread. */
  readonly memory: SharedArrayBuffer;
  readonly #at: BigInt64Array;

  /** @param memory of another heartbeat, to read that one. @default a new one */
  constructor(memory = new SharedArrayBuffer(BigInt64Array.BYTES_PER_ELEMENT)) {
    this.memory = memory;
    this.#at = new BigInt64Array(memory);
  }

  beat(): void {
    // The one clock that all threads of a process have in common.
    Atomics.store(this.#at, 0, process.hrtime.bigint());
  }

  /** Milliseconds since the last beat. */
  get ageMs(): number {
    return Number(process.hrtime.bigint() - Atomics.load(this.#at, 0)) / 1e6;
  }
}
