/** A thread that counts in slices, for tests: see `slices.test.ts`. */
import { serve } from '../serve.ts';

export class Counter {
  /** What happened, in order. */
  readonly #events: string[] = [];

  /** Counts to `slices`, one in each slice. */
  *count(name: string, slices: number): Generator<void, number, void> {
    try {
      for (let slice = 1; slice < slices; slice++) {
        this.#events.push(`${name}${slice}`);
        yield;
      }
      this.#events.push(`${name}${slices}`);
      return slices;
    } finally {
      this.#events.push(`${name} ends`);
    }
  }

  /** Fails in its second slice. */
  *fail(): Generator<void, number, void> {
    yield;
    throw new Error('failed in the second slice');
  }

  /** Holds the thread until `cells[0]` is not 0, so that calls pile up. */
  hold(cells: Int32Array): void {
    Atomics.wait(cells, 0, 0);
  }

  mark(name: string): void {
    this.#events.push(name);
  }

  events(): string[] {
    return this.#events;
  }

  close(): void {
    this.#events.length = 0;
  }
}

serve(
  () => new Counter(),
  (error) => ({ reason: 'FAILED', message: (error as Error).message, metadata: {} }),
);
