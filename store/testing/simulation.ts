import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import timersModule from 'node:timers';
import timers from 'node:timers/promises';
import type { TestContext } from 'node:test';

/** When every simulation begins, in milliseconds since the epoch. */
const START = Date.UTC(2030, 0, 1);

/** Most moments of one simulation: one that needs more goes round in circles. */
const MOST_MOMENTS = 200_000;

interface Wake {
  at: number;
  resume: () => void;
}

/** The real ones, which a simulation runs on. */
const realImmediate = timers.setImmediate;
const setRealImmediate = setImmediate;
const clearRealImmediate = clearImmediate;

/**
 * Time and chance of a simulation, both decided by a seed. Time stands still while anything can run, and then jumps to
 * the next moment that something waits for, so a simulation of minutes takes milliseconds and always goes the same way.
 */
export class Simulation {
  #elapsed = 0;
  /** How far the clock on the wall is off. */
  #jumped = 0;
  #state: number;
  #wakes: Wake[] = [];
  /** Callbacks of `setImmediate` that have not run. */
  readonly #immediates = new Set<NodeJS.Immediate>();

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** Milliseconds since the epoch: what the clock on the wall shows. */
  get now(): number {
    return START + this.#elapsed + this.#jumped;
  }

  /** Milliseconds since the simulation began, which no jump of a clock changes. */
  get elapsed(): number {
    return this.#elapsed;
  }

  /** Sets the clock on the wall on or back; nothing that waits for a time notices. */
  jump(ms: number): void {
    this.#jumped += ms;
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

  /** One of several. */
  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)]!;
  }

  /** Resolves after a time. @throws the signal's reason */
  pause(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const giveUp = (): void => {
        wake.resume = () => {};
        reject(signal?.reason as Error);
      };
      const wake = {
        at: this.#elapsed + Math.max(0, ms),
        resume: () => {
          signal?.removeEventListener('abort', giveUp);
          resolve();
        },
      };
      if (signal?.aborted) {
        giveUp();
        return;
      }
      signal?.addEventListener('abort', giveUp, { once: true });
      this.#wakes.push(wake);
    });
  }

  /** Makes the timers, clocks and chance of Node.js those of the simulation. @returns undoes it */
  install(): () => void {
    const undo: (() => void)[] = [];
    const replace = <T extends object>(object: T, name: keyof T & string, value: unknown): void => {
      const before = Object.getOwnPropertyDescriptor(object, name);
      Object.defineProperty(object, name, { value, configurable: true, writable: true });
      undo.push(() => {
        if (before) Object.defineProperty(object, name, before);
        else Reflect.deleteProperty(object, name);
      });
    };
    const setTimer = (callback: (...args: unknown[]) => void, ms = 0, ...args: unknown[]): Timer =>
      this.#timer(() => callback(...args), ms, false);
    const setRepeating = (callback: (...args: unknown[]) => void, ms = 0, ...args: unknown[]): Timer =>
      this.#timer(() => callback(...args), ms, true);
    const clear = (timer: unknown): void => {
      if (timer instanceof Timer) timer.cancel();
    };
    replace(Math, 'random', () => this.random());
    replace(Date, 'now', () => this.now);
    replace(performance, 'now', () => this.#elapsed);
    replace(AbortSignal, 'timeout', (ms: number) => {
      const controller = new AbortController();
      const reason = new DOMException('The operation was aborted due to timeout', 'TimeoutError');
      this.#timer(() => controller.abort(reason), ms, false);
      return controller.signal;
    });
    for (const place of [globalThis, timersModule] as { setTimeout: unknown }[]) {
      const target = place as unknown as Record<string, unknown>;
      replace(target, 'setTimeout', setTimer);
      replace(target, 'setInterval', setRepeating);
      replace(target, 'clearTimeout', clear);
      replace(target, 'clearInterval', clear);
      replace(target, 'setImmediate', this.#setImmediate);
      replace(target, 'clearImmediate', this.#clearImmediate);
    }
    replace(
      timers,
      'setTimeout',
      async (ms: number, value?: unknown, { signal }: { signal?: AbortSignal } = {}) => {
        await this.pause(ms, signal);
        return value;
      },
    );
    replace(timers, 'setImmediate', (value?: unknown) => {
      return new Promise((resolve) => this.#setImmediate(() => resolve(value)));
    });
    replace(crypto, 'randomBytes', (size: number) =>
      Buffer.from(Array.from({ length: size }, () => this.below(256))),
    );
    replace(crypto, 'randomUUID', () => this.#uuid());
    syncBuiltinESMExports();
    return () => {
      for (const each of undo.reverse()) each();
      syncBuiltinESMExports();
    };
  }

  /** {@link install} until the test ends. */
  installFor(test: Pick<TestContext, 'after'>): void {
    test.after(this.install());
  }

  /** Runs until a promise is settled. @throws where it never will be: nothing runs, and nothing waits for a time */
  async run<T>(work: Promise<T>): Promise<T> {
    let isSettled = false;
    const watched = work.finally(() => (isSettled = true));
    watched.catch(() => {});
    for (let moment = 0; moment < MOST_MOMENTS; moment++) {
      await this.settle();
      if (isSettled) return watched;
      if (!this.#advance()) {
        throw new Error('the simulation stands still: everything waits for something else');
      }
    }
    throw new Error(`the simulation goes on for ever: ${MOST_MOMENTS} moments were not enough`);
  }

  /** Waits until nothing can happen any more before time goes on. */
  async settle(): Promise<void> {
    do await realImmediate();
    while (this.#immediates.size > 0);
  }

  /** Time goes to the next moment that anything waits for; all that wait for it go on, in the order in which they came. */
  #advance(): boolean {
    let next = Infinity;
    for (const { at } of this.#wakes) if (at < next) next = at;
    if (next === Infinity) return false;
    this.#elapsed = Math.max(this.#elapsed, next);
    const due = this.#wakes.filter(({ at }) => at <= next);
    this.#wakes = this.#wakes.filter(({ at }) => at > next);
    for (const { resume } of due) resume();
    return true;
  }

  #timer(callback: () => void, ms: number, repeats: boolean): Timer {
    const timer = new Timer();
    const wait = (): void => {
      const wake = { at: this.#elapsed + Math.max(0, ms), resume: () => fire(wake) };
      timer.wake = wake;
      this.#wakes.push(wake);
    };
    const fire = (wake: Wake): void => {
      // Whoever has been cancelled, or begun again, has another wake or none.
      if (timer.wake !== wake) return;
      timer.wake = undefined;
      if (repeats) wait();
      callback();
    };
    timer.refresh = () => {
      wait();
      return timer;
    };
    wait();
    return timer;
  }

  readonly #setImmediate = (callback: (...args: unknown[]) => void, ...args: unknown[]): NodeJS.Immediate => {
    const immediate = setRealImmediate(() => {
      this.#immediates.delete(immediate);
      callback(...args);
    });
    this.#immediates.add(immediate);
    return immediate;
  };

  readonly #clearImmediate = (immediate: NodeJS.Immediate | undefined): void => {
    if (immediate === undefined) return;
    this.#immediates.delete(immediate);
    clearRealImmediate(immediate);
  };

  #uuid(): string {
    const hex = Array.from({ length: 32 }, () => this.below(16).toString(16)).join('');
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
  }
}

/** What `setTimeout` and `setInterval` return in a simulation. */
class Timer {
  wake: Wake | undefined;
  refresh: () => this = () => this;

  cancel(): void {
    this.wake = undefined;
  }

  /** A simulation runs as long as its own work does, whatever timers there are. */
  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }

  hasRef(): boolean {
    return false;
  }

  [Symbol.dispose](): void {
    this.cancel();
  }
}
