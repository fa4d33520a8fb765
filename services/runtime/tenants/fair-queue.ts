// Start-time fair queueing: P. Goyal, H. Vin, H. Cheng, "Start-Time Fair Queueing: A Scheduling Algorithm for Integrated
// Services Packet Switching Networks", SIGCOMM 1996. Each flow gets a share of the turns in proportion to its weight, as long
// as it wants any. Where a full queue has to give up something, it is the newest of the longest flow: B. Suter et al.,
// "Design Considerations for Supporting TCP with Per-Flow Queueing", INFOCOM 1998.

interface Flow<Item> {
  readonly name: string;
  readonly items: Set<Item>;
  /** Virtual time of its next turn. */
  start: number;
  weight: number;
}

/** What waits, by whose it is. Flows take turns; within a flow, whoever came first goes first, unless the caller says. */
export class FairQueue<Item> {
  readonly #flows = new Map<string, Flow<Item>>();
  /** When flows that want nothing now may have their next turn, where that is later than now. */
  readonly #owed = new Map<string, number>();
  readonly #of = new Map<Item, Flow<Item>>();
  /** Virtual time: that of the last turn. */
  #now = 0;

  get size(): number {
    return this.#of.size;
  }

  /** How many of a flow wait. */
  lengthOf(flow: string): number {
    return this.#flows.get(flow)?.items.size ?? 0;
  }

  /** How many turns others may have before the next newcomer of a flow, as far as what waits now says. */
  aheadOf(name: string): number {
    const own = this.lengthOf(name);
    let ahead = own;
    for (const flow of this.#flows.values()) {
      if (flow.name !== name) ahead += Math.min(flow.items.size, own + 1);
    }
    return ahead;
  }

  /** Everything that waits, the oldest first. */
  items(): IterableIterator<Item> {
    return this.#of.keys();
  }

  /** @param weight of the flow from now on: how many turns it has where others of weight 1 have one */
  push(name: string, item: Item, weight = 1): void {
    let flow = this.#flows.get(name);
    if (!flow) {
      const start = Math.max(this.#now, this.#owed.get(name) ?? 0);
      this.#owed.delete(name);
      this.#flows.set(name, (flow = { name, items: new Set(), start, weight }));
    }
    flow.weight = weight;
    flow.items.add(item);
    this.#of.set(item, flow);
  }

  /** Takes an item out that gets no turn. @returns whether it was there */
  remove(item: Item): boolean {
    const flow = this.#of.get(item);
    if (!flow) return false;
    this.#forget(flow, item);
    return true;
  }

  /**
   * The item whose turn it is; it stays until {@link take}.
   *
   * @param choose one of a flow, or none that can have a turn now. @default the first
   */
  next(choose: (items: ReadonlySet<Item>) => Item | undefined = first): Item | undefined {
    if (this.#flows.size === 1) {
      for (const { items } of this.#flows.values()) return choose(items);
    }
    for (const { items } of [...this.#flows.values()].sort((a, b) => a.start - b.start)) {
      const chosen = choose(items);
      if (chosen !== undefined) return chosen;
    }
    return undefined;
  }

  /** An item has its turn. @param cost of the turn, where turns differ */
  take(item: Item, cost = 1): void {
    const flow = this.#of.get(item);
    if (!flow) return;
    this.#now = Math.max(this.#now, flow.start);
    flow.start += cost / flow.weight;
    this.#forget(flow, item);
  }

  /** Whoever never waited had a turn as well. */
  charge(name: string, cost = 1, weight = 1): void {
    const flow = this.#flows.get(name);
    if (flow) flow.start += cost / flow.weight;
    else this.#owe(name, Math.max(this.#now, this.#owed.get(name) ?? 0) + cost / weight);
  }

  /** The newest item of the longest flow, if that flow is longer than another one would be with one more. */
  victim(newcomer: string): Item | undefined {
    let longest: Flow<Item> | undefined;
    for (const flow of this.#flows.values()) {
      if (!longest || flow.items.size > longest.items.size) longest = flow;
    }
    if (!longest || longest.items.size <= this.lengthOf(newcomer) + 1) return undefined;
    let newest: Item | undefined;
    for (const item of longest.items) newest = item;
    return newest;
  }

  #forget(flow: Flow<Item>, item: Item): void {
    this.#of.delete(item);
    flow.items.delete(item);
    if (flow.items.size > 0) return;
    this.#flows.delete(flow.name);
    if (flow.start > this.#now) this.#owe(flow.name, flow.start);
    if (this.#of.size === 0) {
      // Nobody waits: nobody is owed anything.
      this.#owed.clear();
    }
  }

  #owe(name: string, start: number): void {
    this.#owed.set(name, start);
    if (this.#owed.size <= MAX_OWED) return;
    for (const [other, at] of this.#owed) {
      if (at <= this.#now || this.#owed.size > MAX_OWED) this.#owed.delete(other);
    }
  }
}

/** Flows that are remembered while they want nothing: more than have a turn in any second. */
const MAX_OWED = 10_000;

function first<Item>(items: ReadonlySet<Item>): Item | undefined {
  for (const item of items) return item;
  return undefined;
}
