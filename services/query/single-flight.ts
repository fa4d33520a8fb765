import { setMaxListeners } from 'node:events';

/** Work that several callers wait for. */
interface Flight<Value> {
  result: Promise<Value>;
  controller: AbortController;
  waiters: number;
}

/**
 * Does equal work once for all callers that ask for it at the same time. A caller that gives up does not disturb the
 * others; the work is aborted when its last caller gives up.
 */
export class SingleFlight<Value> {
  readonly #flights = new Map<string, Flight<Value>>();

  /** Starts the work, or waits for equal work that is running already. */
  async join(
    key: string,
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<Value>,
  ): Promise<Value> {
    signal.throwIfAborted();
    const flight = this.#flights.get(key) ?? this.#start(key, work);
    flight.waiters++;
    return new Promise((resolve, reject) => {
      const giveUp = (): void => {
        reject(signal.reason as Error);
        flight.waiters--;
        if (flight.waiters > 0) return;
        // Later callers must not get the result of aborted work.
        this.#forget(key, flight);
        flight.controller.abort(signal.reason);
      };
      signal.addEventListener('abort', giveUp, { once: true });
      const settle = <Outcome>(done: (outcome: Outcome) => void): ((outcome: Outcome) => void) => {
        return (outcome) => {
          signal.removeEventListener('abort', giveUp);
          done(outcome);
        };
      };
      flight.result.then(settle(resolve), settle(reject));
    });
  }

  #start(key: string, work: (signal: AbortSignal) => Promise<Value>): Flight<Value> {
    const controller = new AbortController();
    // The work may be many pieces, each of which listens.
    setMaxListeners(0, controller.signal);
    const result = work(controller.signal);
    const flight = { result, controller, waiters: 0 };
    this.#flights.set(key, flight);
    const land = (): void => this.#forget(key, flight);
    result.then(land, land);
    return flight;
  }

  #forget(key: string, flight: Flight<Value>): void {
    if (this.#flights.get(key) === flight) this.#flights.delete(key);
  }
}
