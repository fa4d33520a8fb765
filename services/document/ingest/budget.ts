/** What one stream holds of a {@link Budget}, which alone changes it. */
export interface Share {
  /** Tokens of the stream in flight. */
  held: number;
  closed: boolean;
  /** The request that waits for room, if any. */
  wanted?: { tokens: number; answer: (admitted: boolean) => void };
}

/**
 * Bounds what is in flight over all ingest streams, counted in tokens. An operation that does not fit waits. Freed room
 * goes to the stream that holds least, so that a stream which floods can't starve the others.
 *
 * An operation can't be split, so it may exceed the room that is left: in flight are at most `limit` tokens plus one
 * operation.
 */
export class Budget {
  readonly limit: number;
  #held = 0;
  readonly #waiting = new Set<Share>();

  constructor(limit: number) {
    this.limit = limit;
  }

  /** Tokens in flight over all streams. */
  get held(): number {
    return this.#held;
  }

  /** Streams that wait for room. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** The share of a new stream, empty at first. */
  open(): Share {
    return { held: 0, closed: false };
  }

  /**
   * Asks for room. A share has at most one open request.
   *
   * @returns `true` where there is room; else a promise of `true`, or of `false` where the share is closed first
   */
  admit(share: Share, tokens: number): boolean | Promise<boolean> {
    if (share.closed) return false;
    if (this.#held < this.limit && this.#waiting.size === 0) {
      this.#take(share, tokens);
      return true;
    }
    return new Promise((answer) => {
      share.wanted = { tokens, answer };
      this.#waiting.add(share);
    });
  }

  /** Gives tokens back. A closed share has none left to give. */
  release(share: Share, tokens: number): void {
    if (share.closed) return;
    this.#take(share, -tokens);
    this.#admitWaiting();
  }

  /** Gives back all that the share holds, even for operations that are still under way, and refuses what it waits for. */
  close(share: Share): void {
    this.#waiting.delete(share);
    share.wanted?.answer(false);
    delete share.wanted;
    this.release(share, share.held);
    share.closed = true;
  }

  #take(share: Share, tokens: number): void {
    share.held += tokens;
    this.#held += tokens;
  }

  #admitWaiting(): void {
    while (this.#held < this.limit && this.#waiting.size > 0) {
      // Of two that hold the same, the one that has waited longer goes first: a set keeps the order of insertion.
      const next = [...this.#waiting].reduce((least, share) => (share.held < least.held ? share : least));
      const { wanted } = next;
      this.#waiting.delete(next);
      delete next.wanted;
      if (wanted) {
        this.#take(next, wanted.tokens);
        wanted.answer(true);
      }
    }
  }
}
