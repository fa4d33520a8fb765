import { syncBuiltinESMExports } from 'node:module';
import timers from 'node:timers/promises';
import type { TestContext } from 'node:test';

/** When every simulation begins, in milliseconds since the epoch. */
const START = Date.UTC(2030, 0, 1);

/** Turns of the event loop after which everything that waits for no time has happened: far more than any chain has. */
const TURNS = 12;

interface Wake {
  at: number;
  resume: () => void;
}

/**
 * Time and chance of a simulation, both decided by a seed. Time stands still while anything can run, and then jumps to
 * the next moment that something waits for, so a simulation of minutes takes milliseconds and always goes the same way.
 */
export class Simulation {
  #now = START;
  #state: number;
  readonly #wakes: Wake[] = [];

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** Milliseconds since the epoch. */
  get now(): number {
    return this.#now;
  }

  /** A number from 0 to 1, as `Math.random` gives it: "mulberry32". */
  random(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from 0 to below `limit`. */
  below(limit: number): number {
    return Math.floor(this.random() * limit);
  }

  /** Is true with this probability. */
  chance(probability: number): boolean {
    return this.random() < probability;
  }

  /** Resolves after a time. @throws the signal's reason */
  pause(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const giveUp = (): void => reject(signal?.reason as Error);
      if (signal?.aborted) {
        giveUp();
        return;
      }
      signal?.addEventListener('abort', giveUp, { once: true });
      const resume = (): void => {
        signal?.removeEventListener('abort', giveUp);
        resolve();
      };
      this.#wakes.push({ at: this.#now + ms, resume });
    });
  }

  /** Makes the timers, clocks and chance of Node.js those of the simulation, until the test ends. */
  install(test: TestContext): void {
    test.mock.method(Math, 'random', () => this.random());
    test.mock.method(performance, 'now', () => this.#now - START);
    test.mock.method(
      timers,
      'setTimeout',
      (ms: number, _: unknown, { signal }: { signal?: AbortSignal } = {}) => this.pause(ms, signal),
    );
    syncBuiltinESMExports();
    test.after(() => {
      test.mock.restoreAll();
      syncBuiltinESMExports();
    });
  }

  /** Runs until a promise is settled. @throws where it never will be: nothing runs, and nothing waits for a time */
  async run<T>(work: Promise<T>): Promise<T> {
    let isSettled = false;
    const watched = work.finally(() => (isSettled = true));
    watched.catch(() => {});
    for (;;) {
      for (let turn = 0; turn < TURNS; turn++) await timers.setImmediate();
      if (isSettled) return watched;
      const next = this.#wakes.reduce<Wake | undefined>(
        (first, wake) => (first && first.at <= wake.at ? first : wake),
        undefined,
      );
      if (!next) throw new Error('the simulation stands still: everything waits for something else');
      this.#wakes.splice(this.#wakes.indexOf(next), 1);
      this.#now = Math.max(this.#now, next.at);
      next.resume();
    }
  }
}
