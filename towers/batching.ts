/** Limits of a batch and of the queue before it. */
export interface BatchingLimits {
  /** Positions of one batch, padding included: inputs × longest input. A single longer input is a batch of its own. */
  maxBatchTokens: number;
  /**
   * How long an idle model waits for more inputs, in milliseconds. While it runs, inputs gather by themselves, so waiting
   * helps only when few inputs arrive.
   *
   * @default 0
   */
  maxWaitMs: number;
  /** How many inputs may wait. @default 1024 */
  maxQueue: number;
}

interface Waiting<T> {
  readonly item: T;
  readonly length: number;
  readonly sequence: number;
}

/**
 * Inputs that wait for a run, sorted by length. A batch starts with the oldest input and grows to its neighbours in
 * length: the oldest is always taken, so nothing starves; neighbours are similar, so there is little padding.
 */
export class BatchQueue<T> {
  readonly #byLength: Waiting<T>[] = [];
  readonly #byArrival = new Map<T, Waiting<T>>();
  #sequence = 0;
  #tokens = 0;

  get size(): number {
    return this.#byLength.length;
  }

  /** Tokens that wait, without padding. */
  get tokens(): number {
    return this.#tokens;
  }

  /** The input that has waited longest. */
  get oldest(): T | undefined {
    return this.#byArrival.keys().next().value;
  }

  /** @param item not in the queue yet @param length in tokens */
  push(item: T, length: number): void {
    const waiting = { item, length, sequence: this.#sequence++ };
    this.#byLength.splice(this.#position(waiting), 0, waiting);
    this.#byArrival.set(item, waiting);
    this.#tokens += length;
  }

  /** Takes an input out. @returns whether it was there */
  remove(item: T): boolean {
    const waiting = this.#byArrival.get(item);
    if (waiting === undefined) return false;
    this.#byLength.splice(this.#position(waiting), 1);
    this.#forget(waiting);
    return true;
  }

  /** Takes the next batch out, shortest input first; empty only where the queue is. */
  take(maxBatchTokens: number): T[] {
    const oldest = this.#byArrival.values().next().value;
    if (oldest === undefined) return [];
    const { start, end } = growBatch(
      (index) => this.#byLength[index]?.length,
      this.#position(oldest),
      maxBatchTokens,
    );
    const taken = this.#byLength.splice(start, end - start);
    for (const waiting of taken) this.#forget(waiting);
    return taken.map(({ item }) => item);
  }

  #forget(waiting: Waiting<T>): void {
    this.#byArrival.delete(waiting.item);
    this.#tokens -= waiting.length;
  }

  /** Index of an input in the order of length, then arrival; where it belongs if it is not there. */
  #position({ length, sequence }: Waiting<T>): number {
    let low = 0;
    let high = this.#byLength.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = this.#byLength[middle]!;
      if (other.length < length || (other.length === length && other.sequence < sequence)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Grows [start, end) from one index to the side that adds less padding, as long as the budget lasts. */
function growBatch(
  lengthAt: (index: number) => number | undefined,
  seed: number,
  maxBatchTokens: number,
): { start: number; end: number } {
  let start = seed;
  let end = seed + 1;
  let longest = lengthAt(seed)!;
  for (;;) {
    const size = end - start;
    const shorter = lengthAt(start - 1);
    const longer = lengthAt(end);
    const shorterFits = shorter !== undefined && (size + 1) * longest <= maxBatchTokens;
    const longerFits = longer !== undefined && (size + 1) * longer <= maxBatchTokens;
    if (longerFits && (!shorterFits || (longer - longest) * size <= longest - shorter)) {
      longest = longer;
      end++;
    } else if (shorterFits) {
      start--;
    } else {
      return { start, end };
    }
  }
}

/**
 * Splits many inputs into batches by token budget, longest first: each batch holds similar lengths, and the batch that
 * needs most memory comes first, so that it fails early.
 *
 * @param lengths in tokens
 * @returns indices into `lengths`, each exactly once
 */
export function planBatches(
  lengths: readonly number[],
  limits: { maxBatchTokens: number; maxBatchSize: number },
): number[][] {
  const order = lengths.map((_, index) => index).sort((a, b) => lengths[b]! - lengths[a]!);
  const batches: number[][] = [];
  for (let start = 0; start < order.length;) {
    const longest = Math.max(1, lengths[order[start]!]!);
    const size = Math.max(1, Math.min(limits.maxBatchSize, Math.floor(limits.maxBatchTokens / longest)));
    batches.push(order.slice(start, start + size));
    start += size;
  }
  return batches;
}
