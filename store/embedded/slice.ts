/**
 * How long the thread of a store works at one call before the others have their turn, in milliseconds: so short that a
 * search hardly notices, and so long that the end of a slice (a transaction, and for writes a sync) costs little.
 */
export const SLICE_MS = 10;

/** A call that works in slices: each `yield` ends one. See `serve`. */
export type Sliced<Result> = Generator<void, Result, void>;

/** The slice of work that is under way. */
export class Slice {
  readonly #ms: number;
  readonly #clock: () => number;
  #end = 0;

  /** @param clock in milliseconds, from wherever */
  constructor(ms: number = SLICE_MS, clock: () => number = () => performance.now()) {
    this.#ms = ms;
    this.#clock = clock;
  }

  begin(): void {
    this.#end = this.#clock() + this.#ms;
  }

  /** Whether it is time to end. Ask after each piece of work, so that every slice does at least one. */
  get spent(): boolean {
    return this.#clock() >= this.#end;
  }
}
