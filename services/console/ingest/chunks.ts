/**
 * Chunks on their way from somebody who sends to somebody who reads. {@link push} resolves when the chunk has been
 * taken, so that whoever sends waits for whoever reads, and no more than one chunk is kept.
 */
export class Chunks implements AsyncIterable<Buffer> {
  #waiting: { chunk: Buffer; taken: () => void } | undefined;
  #end: { error?: Error } | undefined;
  #wake = (): void => {};

  /** Sends a chunk; the one before must have been taken. @throws the error that the stream ended with */
  async push(chunk: Buffer): Promise<void> {
    if (this.#end?.error) throw this.#end.error;
    await new Promise<void>((taken) => {
      this.#waiting = { chunk, taken };
      this.#wake();
    });
    if (this.#end?.error) throw this.#end.error;
  }

  /** There are no more; with an error, whoever reads or sends gets it. */
  end(error?: Error): void {
    this.#end ??= error ? { error } : {};
    if (error) this.#waiting?.taken();
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer, void, undefined> {
    for (;;) {
      if (this.#end?.error) throw this.#end.error;
      const waiting = this.#waiting;
      if (waiting !== undefined) {
        this.#waiting = undefined;
        waiting.taken();
        yield waiting.chunk;
      } else if (this.#end !== undefined) {
        return;
      } else {
        await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    }
  }
}
