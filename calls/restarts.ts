/** When a process that dies is started again. */
export interface RestartPolicy {
  /** Deaths within the window after which it is given up. */
  restarts: number;
  windowMs: number;
  /** Before the first restart; each further one within the window waits twice as long. */
  firstMs: number;
}

/**
 * What kills a service once (a card that is gone for a moment, memory that others took) is over after seconds: five
 * restarts spread over a quarter of a minute, and the time that each start takes. What kills it a sixth time within ten
 * minutes is there to stay, and people have to see it.
 */
export const RESTARTS: RestartPolicy = { restarts: 5, windowMs: 10 * 60_000, firstMs: 500 };

/** Counts the deaths of a process. */
export class Restarts {
  readonly #policy: RestartPolicy;
  readonly #deaths: number[] = [];

  constructor(policy: RestartPolicy = RESTARTS) {
    this.#policy = policy;
  }

  /** Deaths within the window, in words. */
  get found(): string {
    return `${this.#deaths.length} times in ${Math.ceil(this.#policy.windowMs / 60_000)} minutes`;
  }

  /** The process died. @returns how long to wait before its next start, in milliseconds; `undefined` where there is none */
  died(now: number = performance.now()): number | undefined {
    const { restarts, windowMs, firstMs } = this.#policy;
    this.#deaths.push(now);
    while (this.#deaths[0]! < now - windowMs) this.#deaths.shift();
    const deaths = this.#deaths.length;
    return deaths <= restarts ? firstMs * 2 ** (deaths - 1) : undefined;
  }
}
