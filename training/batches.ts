import { seededRandom, shuffle } from './random.ts';

/** Batches that items are sorted by length within: little is padding then, and batches differ from epoch to epoch. */
const SORTED_BATCHES = 16;

/** How items become batches. */
export interface BatchOptions {
  /** Items of a batch; no more than there are. */
  size: number;
  seed: number;
  /** Length of an item, where the items of a batch are to be alike in length. @default their order is random */
  lengthOf?: ((item: number) => number) | undefined;
}

/**
 * The items of each step: in every epoch each item once, in an order that depends on seed and epoch alone, so that a run
 * can go on at any step as if it had never stopped. Items that are left over at an epoch's end are no batch.
 */
export class Batches {
  readonly size: number;
  readonly perEpoch: number;
  readonly #items: readonly number[];
  readonly #options: BatchOptions;
  #epoch = -1;
  #batches: readonly (readonly number[])[] = [];

  constructor(items: readonly number[], options: BatchOptions) {
    this.#items = items;
    this.#options = options;
    this.size = Math.min(options.size, items.length);
    this.perEpoch = Math.floor(items.length / this.size);
  }

  /** @param step - from 0 */
  epochOf(step: number): number {
    return Math.floor(step / this.perEpoch);
  }

  /** @param step - from 0 */
  at(step: number): readonly number[] {
    const epoch = this.epochOf(step);
    if (epoch !== this.#epoch) {
      this.#epoch = epoch;
      this.#batches = this.#ofEpoch(epoch);
    }
    return this.#batches[step % this.perEpoch]!;
  }

  #ofEpoch(epoch: number): number[][] {
    const { seed, lengthOf } = this.#options;
    const random = seededRandom(Math.imul(seed, 0x9e3779b1) + epoch);
    const order = shuffle([...this.#items], random);
    const window = this.size * SORTED_BATCHES;
    const batches: number[][] = [];
    for (let start = 0; start < order.length; start += window) {
      const part = order.slice(start, start + window);
      if (lengthOf !== undefined) part.sort((a, b) => lengthOf(a) - lengthOf(b));
      for (let at = 0; at + this.size <= part.length; at += this.size) {
        batches.push(part.slice(at, at + this.size));
      }
    }
    return lengthOf === undefined ? batches : shuffle(batches, random);
  }
}
