/** Work that several callers wait for. */
interface Flight<Value> {
  result: Promise<Value>;
  controller: AbortController;
  waiters: number;
}

/**
 * Does equal work that is asked for at the same time once. A caller that gives up leaves the others alone; the work
 * is given up with its last caller.
 */
export class SingleFlight<Value> {
  readonly #flights = new Map<string, Flight<Value>>();

  /** The result of `work`, or of the same work that is under way already. */
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
        if (flight.waiters === 0) this.#abandon(key, flight, signal.reason);
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
    const result = work(controller.signal);
    const flight = { result, controller, waiters: 0 };
    this.#flights.set(key, flight);
    const land = (): void => this.#forget(key, flight);
    result.then(land, land);
    return flight;
  }

  /** Whoever asks from now on must not get the result of work that was given up. */
  #abandon(key: string, flight: Flight<Value>, reason: unknown): void {
    this.#forget(key, flight);
    flight.controller.abort(reason);
  }

  #forget(key: string, flight: Flight<Value>): void {
    if (this.#flights.get(key) === flight) this.#flights.delete(key);
  }
}
