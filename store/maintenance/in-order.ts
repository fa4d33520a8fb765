/** Work that runs side by side, and whose results count in the order in which it began. */
export class InOrder<Mark> {
  readonly #most: number;
  readonly #onDone: (mark: Mark) => void;
  readonly #running: { work: Promise<unknown>; mark: Mark }[] = [];

  /**
   * @param most pieces of work at once
   * @param onDone called when a piece and all before it are done
   */
  constructor(most: number, onDone: (mark: Mark) => void) {
    this.#most = most;
    this.#onDone = onDone;
  }

  /** Adds a piece; resolves when there is room for another. Rejects with what a piece failed with. */
  async add(work: Promise<unknown>, mark: Mark): Promise<void> {
    // Whoever takes the first piece in order sees why it failed; the others may fail before.
    work.catch(() => {});
    this.#running.push({ work, mark });
    while (this.#running.length >= this.#most) await this.#first();
  }

  /** Resolves when all is done. */
  async settled(): Promise<void> {
    while (this.#running.length > 0) await this.#first();
  }

  /** Waits for what still runs after something failed, without a word about it. */
  async abandoned(): Promise<void> {
    await Promise.allSettled(this.#running.splice(0).map(({ work }) => work));
  }

  async #first(): Promise<void> {
    const [{ work, mark }] = this.#running as [{ work: Promise<unknown>; mark: Mark }];
    await work;
    this.#running.shift();
    this.#onDone(mark);
  }
}
