import { invalidArgument } from './errors.ts';
import { describe } from './strict/read.ts';

/**
 * Reads an iterable one item at a time without blocking: a loop polls {@link take} when it has room for an item, and is
 * woken when the item is there.
 */
export class Source<Item> {
  readonly #iterator: Iterator<Item> | AsyncIterator<Item>;
  readonly #onSettled: () => void;
  #asked = false;
  #answer: { result: IteratorResult<Item> } | { error: unknown } | undefined;
  #exhausted = false;

  /** @param onSettled - called when an item that was asked for is there, or the source has failed */
  constructor(items: Iterable<Item> | AsyncIterable<Item>, onSettled: () => void) {
    requireIterable(items);
    this.#iterator = Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]();
    this.#onSettled = onSettled;
  }

  /** Whether there is nothing left. */
  get exhausted(): boolean {
    return this.#exhausted;
  }

  /** Whether the next item, or the end, is there; where it is not, it has been asked for. */
  isReady(): boolean {
    if (this.#answer === undefined && !this.#asked) this.#ask();
    return this.#answer !== undefined;
  }

  /**
   * The next item; `undefined` where it is not there yet, and then it has been asked for.
   *
   * @throws what the source threw
   */
  take(): IteratorResult<Item> | undefined {
    const answer = this.#answer;
    if (answer === undefined) {
      if (!this.#asked) this.#ask();
      return undefined;
    }
    if ('error' in answer) throw answer.error;
    if (answer.result.done === true) {
      this.#exhausted = true;
    } else {
      this.#answer = undefined;
      this.#asked = false;
    }
    return answer.result;
  }

  /** Ends the iteration, so that the source can close its files. */
  release(): void {
    if (this.#exhausted) return;
    // A busy source may take its time, and nobody needs its errors any more.
    Promise.resolve()
      .then(() => this.#iterator.return?.())
      .catch(() => {});
  }

  #ask(): void {
    this.#asked = true;
    void Promise.resolve()
      .then(() => this.#iterator.next())
      .then(
        (result) => (this.#answer = { result }),
        (error: unknown) => (this.#answer = { error }),
      )
      .then(() => this.#onSettled());
  }
}

function requireIterable(source: unknown): void {
  const isIterable =
    typeof source === 'object' &&
    source !== null &&
    (Symbol.asyncIterator in source || Symbol.iterator in source);
  if (isIterable) return;
  throw invalidArgument('source', `is ${describe(source)}; give a list, or anything to iterate over`);
}
