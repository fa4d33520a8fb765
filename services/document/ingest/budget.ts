/** What a tenant's streams hold of a {@link Budget} together. */
export interface Tenant {
  readonly name: string;
  /** How much it may hold where others of weight 1 hold one. */
  weight: number;
  held: number;
  streams: number;
}

/** What one stream holds of a {@link Budget}, which alone changes it. */
export interface Share {
  readonly tenant: Tenant;
  /** Tokens of the stream in flight, without what exceeds {@link Budget.longest} of each operation. */
  held: number;
  /** That excess. */
  excess: number;
  closed: boolean;
  /** The request that waits for room, if any. */
  wanted?: { tokens: number; answer: (admitted: boolean) => void };
}

/** Up to an eighth of the limit is an operation's ordinary part. What a long document has beyond is its excess. */
const LONGEST_PART = 8;

/**
 * Bounds what is in flight over all ingest streams, counted in tokens. An operation that does not fit waits.
 *
 * Nobody holds the others up:
 *
 * - Freed room goes to the tenant that holds least, and of its streams to the one that holds least.
 * - A stream that holds nothing need not wait with an operation of usual size, so a flood on another one does not keep it
 *   from its first. Streams may together exceed the limit once over by that.
 * - A long document counts here with its ordinary part alone, because the tower has only a slice of it at a time. Its
 *   excess lies in memory until the whole document is written, and has a limit of its own: long documents wait for each
 *   other, and short ones do not wait for them.
 *
 * An operation can't be split, so it may exceed the room that is left by its own size, or be alone past the limit of long
 * documents.
 */
export class Budget {
  readonly limit: number;
  /** Most tokens of an operation that are its ordinary part. */
  readonly longest: number;
  readonly #excessLimit: number;
  readonly #tenants = new Map<string, Tenant>();
  #held = 0;
  #excess = 0;
  readonly #waiting = new Set<Share>();
  readonly #waitingLong = new Set<Share>();

  /** @param excess most tokens by which long documents in flight may exceed {@link longest}, together */
  constructor(limit: number, { excess = limit }: { excess?: number } = {}) {
    this.limit = limit;
    this.longest = Math.max(1, Math.floor(limit / LONGEST_PART));
    this.#excessLimit = excess;
  }

  /** Tokens in flight over all streams. */
  get held(): number {
    return this.#held + this.#excess;
  }

  /** Streams that wait for room. */
  get waiting(): number {
    return this.#waiting.size + this.#waitingLong.size;
  }

  /** The share of a new stream, empty at first. */
  open(tenant = '', weight = 1): Share {
    const own = this.#tenants.get(tenant) ?? { name: tenant, weight, held: 0, streams: 0 };
    own.weight = weight;
    own.streams++;
    this.#tenants.set(tenant, own);
    return { tenant: own, held: 0, excess: 0, closed: false };
  }

  /**
   * Asks for room. A share has at most one open request.
   *
   * @returns `true` where there is room; else a promise of `true`, or of `false` where the share is closed first
   */
  admit(share: Share, tokens: number): boolean | Promise<boolean> {
    if (share.closed) return false;
    const { usual, excess } = this.#split(tokens);
    if (excess === 0) return this.#admitUsual(share, usual);
    // Nobody passes those that wait: one that needs much room would wait for ever behind a flow of shorter ones.
    if (this.#waitingLong.size === 0 && this.#fitsLong(excess)) {
      this.#takeExcess(share, excess);
      return this.#admitUsual(share, usual);
    }
    // What waits here holds nothing yet that others could wait for.
    return this.#wait(this.#waitingLong, share, excess).then((admitted) =>
      admitted ? this.#admitUsual(share, usual) : false,
    );
  }

  /** Gives tokens back. A closed share has none left to give. */
  release(share: Share, tokens: number): void {
    if (share.closed) return;
    const { usual, excess } = this.#split(tokens);
    this.#giveBack(share, usual, excess);
  }

  /** Gives back all that the share holds, even for operations that are still under way, and refuses what it waits for. */
  close(share: Share): void {
    if (share.closed) return;
    this.#waiting.delete(share);
    this.#waitingLong.delete(share);
    share.wanted?.answer(false);
    delete share.wanted;
    this.#giveBack(share, share.held, share.excess);
    share.closed = true;
    const { tenant } = share;
    tenant.streams--;
    if (tenant.streams === 0) this.#tenants.delete(tenant.name);
  }

  #split(tokens: number): { usual: number; excess: number } {
    const usual = Math.min(tokens, this.longest);
    return { usual, excess: tokens - usual };
  }

  #admitUsual(share: Share, tokens: number): boolean | Promise<boolean> {
    if (share.closed) return false;
    if (this.#held >= this.limit && !this.#mayExceed(share, tokens)) {
      return this.#wait(this.#waiting, share, tokens);
    }
    this.#take(share, tokens);
    return true;
  }

  /** Whether an operation need not wait for room: the first of its stream, unless another stream waits for its first. */
  #mayExceed(share: Share, tokens: number): boolean {
    return (
      share.held === 0 &&
      share.excess === 0 &&
      tokens < this.longest &&
      this.#held < 2 * this.limit &&
      [...this.#waiting].every(({ held }) => held > 0)
    );
  }

  #fitsLong(tokens: number): boolean {
    return this.#excess === 0 || this.#excess + tokens <= this.#excessLimit;
  }

  #wait(queue: Set<Share>, share: Share, tokens: number): Promise<boolean> {
    return new Promise((answer) => {
      share.wanted = { tokens, answer };
      queue.add(share);
    });
  }

  #take(share: Share, tokens: number): void {
    share.held += tokens;
    this.#held += tokens;
    share.tenant.held += tokens;
  }

  #takeExcess(share: Share, tokens: number): void {
    share.excess += tokens;
    this.#excess += tokens;
    share.tenant.held += tokens;
  }

  #giveBack(share: Share, usual: number, excess: number): void {
    this.#take(share, -usual);
    this.#takeExcess(share, -excess);
    while (this.#waitingLong.size > 0) {
      const next = this.#neediest(this.#waitingLong);
      const tokens = next.wanted!.tokens;
      if (!this.#fitsLong(tokens)) break;
      this.#takeExcess(next, tokens);
      this.#answer(this.#waitingLong, next);
    }
    while (this.#held < this.limit && this.#waiting.size > 0) {
      const next = this.#neediest(this.#waiting);
      this.#take(next, next.wanted!.tokens);
      this.#answer(this.#waiting, next);
    }
  }

  #answer(queue: Set<Share>, share: Share): void {
    queue.delete(share);
    const { wanted } = share;
    delete share.wanted;
    wanted?.answer(true);
  }

  /** Of two that hold the same, the one that has waited longer goes first: a set keeps the order of insertion. */
  #neediest(queue: Set<Share>): Share {
    return [...queue].reduce((least, share) => {
      const difference = share.tenant.held / share.tenant.weight - least.tenant.held / least.tenant.weight;
      return difference < 0 || (difference === 0 && share.held < least.held) ? share : least;
    });
  }
}
