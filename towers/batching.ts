/** Limits of a batch and of the queue before it. */
export interface BatchingLimits {
  /** Positions of one batch, padding included: inputs × longest input. A single longer input is a batch of its own. */
  maxBatchTokens: number;
  /**
   * Most padding of one batch, in positions: about what a run costs by itself. An input that would add more is better off
   * in another run.
   *
   * @default no bound
   */
  maxPadding?: number;
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

/**
 * Whose inputs they are. Lanes take turns, as many tokens each; so do groups, however many lanes each has. Inputs without a
 * lane share one.
 */
export interface Lane {
  /** A group of weight 2 has twice as many tokens as one without a weight. */
  readonly group: { readonly weight?: number };
}

interface Waiting<T> {
  readonly item: T;
  readonly lane: Lane;
  readonly length: number;
  readonly sequence: number;
}

const SHARED_LANE: Lane = { group: {} };

/**
 * How far past the oldest input a batch looks for neighbours in length: so many full batches, and as many tokens as this
 * share of those taken since the queue was empty. Whoever waits for inputs in their order would otherwise wait, at the
 * start, until nearly every length had its batch. Of 3 000 WordNet documents in runs of 512 positions, 22 were done in their
 * order after a tenth of the work; with this 160, for 0.6 % more work.
 */
const NEAR_BATCHES = 2;
const NEAR_SHARE = 1 / 2;

/**
 * Says whose turn it is, so that all who want something get as much of it (start-time fair queueing). Who comes back
 * after a while is not owed what it did not ask for meanwhile, and who has just come waits for no one who had a turn.
 */
class Turns<Key extends object> {
  /** What each had, as of which it waits for its next turn. */
  readonly #had = new WeakMap<Key, number>();
  /** What the one had whose turn it was last. */
  #now = 0;

  /** Someone wants something again, or for the first time. */
  join(key: Key): void {
    this.#had.set(key, Math.max(this.#had.get(key) ?? 0, this.#now));
  }

  charge(key: Key, amount: number): void {
    this.#had.set(key, (this.#had.get(key) ?? 0) + amount);
  }

  /** The one who had least. */
  next(keys: Iterable<Key>): Key | undefined {
    let next: Key | undefined;
    let least = Number.POSITIVE_INFINITY;
    for (const key of keys) {
      const had = this.#had.get(key) ?? 0;
      if (had < least) [next, least] = [key, had];
    }
    if (next !== undefined) this.#now = least;
    return next;
  }
}

/** Lanes of a group that wait, each with its inputs in the order of arrival. */
interface Group<T> {
  lanes: Map<Lane, Set<Waiting<T>>>;
  turns: Turns<Lane>;
}

/**
 * Inputs that wait for a run, sorted by length. A batch starts with the oldest input of the lane whose turn it is, and
 * grows to its neighbours in length, whosever they are: every lane has its turn, so nothing starves and no lane waits for
 * all that another one has sent before; neighbours are similar, so there is little padding. At first it looks for them
 * among the inputs that arrived next, and then farther and farther, so that the first ones are done soon.
 */
export class BatchQueue<T> {
  readonly #groups = new Map<object, Group<T>>();
  /** Kept while a group has nothing that waits, so that it is not owed more when it comes back. */
  readonly #laneTurns = new WeakMap<object, Turns<Lane>>();
  readonly #groupTurns = new Turns<object>();
  readonly #byLength: Waiting<T>[] = [];
  readonly #byArrival = new Map<T, Waiting<T>>();
  #sequence = 0;
  #tokens = 0;
  /** Tokens taken since the queue was empty. */
  #taken = 0;

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
  push(item: T, length: number, lane: Lane = SHARED_LANE): void {
    const waiting = { item, length, lane, sequence: this.#sequence++ };
    if (this.size === 0) this.#taken = 0;
    this.#lineUp(waiting);
    this.#byLength.splice(position(this.#byLength, waiting), 0, waiting);
    this.#byArrival.set(item, waiting);
    this.#tokens += length;
  }

  /** Takes an input out. @returns whether it was there */
  remove(item: T): boolean {
    const waiting = this.#byArrival.get(item);
    if (waiting === undefined) return false;
    this.#forget(waiting);
    return true;
  }

  /** Takes the next batch out, shortest input first; empty only where the queue is. */
  take(maxBatchTokens: number, limits: Omit<BatchBounds, 'maxBatchTokens'> = {}): T[] {
    const seed = this.#next();
    if (seed === undefined) return [];
    const near = this.#near(seed, maxBatchTokens);
    const { start, end } = growBatch((index) => near[index]?.length, position(near, seed), {
      maxBatchTokens,
      ...limits,
    });
    const taken = near.slice(start, end);
    for (const waiting of taken) {
      this.#taken += waiting.length;
      this.#charge(waiting);
      this.#forget(waiting);
    }
    return taken.map(({ item }) => item);
  }

  /** Inputs that may be in one batch with the oldest one, by length; see {@link NEAR_BATCHES}. */
  #near(oldest: Waiting<T>, maxBatchTokens: number): readonly Waiting<T>[] {
    const reach = Math.max(NEAR_BATCHES * maxBatchTokens, NEAR_SHARE * this.#taken);
    if (this.#tokens <= reach) return this.#byLength;
    let tokens = 0;
    for (const { sequence, length } of this.#byArrival.values()) {
      if (sequence > oldest.sequence) tokens += length;
      if (tokens > reach) return this.#byLength.filter((waiting) => waiting.sequence < sequence);
    }
    return this.#byLength;
  }

  #lineUp(waiting: Waiting<T>): void {
    const { lane } = waiting;
    let group = this.#groups.get(lane.group);
    if (!group) {
      const turns = this.#laneTurns.get(lane.group) ?? new Turns<Lane>();
      this.#laneTurns.set(lane.group, turns);
      this.#groups.set(lane.group, (group = { lanes: new Map(), turns }));
      this.#groupTurns.join(lane.group);
    }
    const inputs = group.lanes.get(lane);
    if (inputs) {
      inputs.add(waiting);
    } else {
      group.lanes.set(lane, new Set([waiting]));
      group.turns.join(lane);
    }
  }

  /** The oldest input of the lane whose turn it is. */
  #next(): Waiting<T> | undefined {
    const key = this.#groupTurns.next(this.#groups.keys());
    const group = key && this.#groups.get(key)!;
    const lane = group?.turns.next(group.lanes.keys());
    return lane && group!.lanes.get(lane)!.values().next().value;
  }

  #forget(waiting: Waiting<T>): void {
    this.#byLength.splice(position(this.#byLength, waiting), 1);
    this.#byArrival.delete(waiting.item);
    this.#tokens -= waiting.length;
    const { lane } = waiting;
    const group = this.#groups.get(lane.group)!;
    const inputs = group.lanes.get(lane)!;
    inputs.delete(waiting);
    if (inputs.size === 0) group.lanes.delete(lane);
    if (group.lanes.size === 0) this.#groups.delete(lane.group);
  }

  #charge({ lane, length }: Waiting<T>): void {
    this.#groupTurns.charge(lane.group, length / (lane.group.weight ?? 1));
    this.#laneTurns.get(lane.group)!.charge(lane, length);
  }
}

/** Index of an input among those in the order of length, then arrival; where it belongs if it is not there. */
function position<T>(byLength: readonly Waiting<T>[], { length, sequence }: Waiting<T>): number {
  let low = 0;
  let high = byLength.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const other = byLength[middle]!;
    if (other.length < length || (other.length === length && other.sequence < sequence)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** What one batch may hold; see {@link BatchingLimits}. */
export interface BatchBounds {
  maxBatchTokens: number;
  maxPadding?: number | undefined;
  /** Most inputs. @default no bound */
  maxBatchSize?: number | undefined;
}

/** Grows [start, end) from one index to the side that adds less padding, as far as the bounds allow. */
function growBatch(
  lengthAt: (index: number) => number | undefined,
  seed: number,
  { maxBatchTokens, maxPadding = Infinity, maxBatchSize = Infinity }: BatchBounds,
): { start: number; end: number } {
  let start = seed;
  let end = seed + 1;
  let longest = lengthAt(seed)!;
  let padding = 0;
  for (;;) {
    const size = end - start;
    if (size >= maxBatchSize) return { start, end };
    const shorter = lengthAt(start - 1);
    const longer = lengthAt(end);
    const shorterAdds = longest - (shorter ?? 0);
    const longerAdds = ((longer ?? 0) - longest) * size;
    const shorterFits =
      shorter !== undefined && (size + 1) * longest <= maxBatchTokens && padding + shorterAdds <= maxPadding;
    const longerFits =
      longer !== undefined && (size + 1) * longer <= maxBatchTokens && padding + longerAdds <= maxPadding;
    if (longerFits && (!shorterFits || longerAdds <= shorterAdds)) {
      padding += longerAdds;
      longest = longer;
      end++;
    } else if (shorterFits) {
      padding += shorterAdds;
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
  { maxBatchTokens, maxPadding = Infinity, maxBatchSize = Infinity }: BatchBounds,
): number[][] {
  const order = lengths.map((_, index) => index).sort((a, b) => lengths[b]! - lengths[a]!);
  const batches: number[][] = [];
  let batch: number[] = [];
  let longest = 1;
  let padding = 0;
  for (const index of order) {
    const adds = longest - lengths[index]!;
    const size = batch.length + 1;
    const fits = size <= maxBatchSize && size * longest <= maxBatchTokens && padding + adds <= maxPadding;
    if (batch.length > 0 && fits) {
      batch.push(index);
      padding += adds;
    } else {
      batches.push((batch = [index]));
      longest = Math.max(1, lengths[index]!);
      padding = 0;
    }
  }
  return batches;
}
