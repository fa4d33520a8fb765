import { createHash } from 'node:crypto';

/** Operations that wait for a lane, and characters in them: what a lane holds beside the window of its stream. */
const QUEUE_OPERATIONS = 64;
const QUEUE_CHARACTERS = 4 * 1024 * 1024;

/** What goes through a lane. */
interface Item {
  sequence: number;
}

interface Lane<T extends Item> {
  queue: T[];
  characters: number;
  /** Sequences that are not durable, in order. */
  outstanding: number[];
  wake: () => void;
}

/**
 * Deals the items of one source out to lanes: the same id always to the same lane, in order. An item waits where its
 * lane is full, and so do all after it.
 */
export class Lanes<T extends Item> {
  readonly #source: AsyncIterable<T>;
  readonly #lanes: Lane<T>[];
  readonly #idOf: (item: T) => string;
  readonly #sizeOf: (item: T) => number;
  /** The last item that was dealt out. */
  #last: number;
  #state: 'waiting' | 'running' | 'ended' = 'waiting';
  #failure: { error: unknown } | undefined;
  #room = (): void => {};

  /** @param after - everything up to this sequence is durable already */
  constructor(
    source: AsyncIterable<T>,
    lanes: number,
    { idOf, sizeOf, after }: { idOf: (item: T) => string; sizeOf: (item: T) => number; after: number },
  ) {
    this.#source = source;
    this.#idOf = idOf;
    this.#sizeOf = sizeOf;
    this.#last = after;
    this.#lanes = Array.from({ length: lanes }, () => ({
      queue: [],
      characters: 0,
      outstanding: [],
      wake: () => {},
    }));
  }

  /** The items of one lane. @throws what the source threw */
  async *items(index: number): AsyncGenerator<T> {
    const lane = this.#lanes[index]!;
    if (this.#state === 'waiting') {
      this.#state = 'running';
      void this.#deal();
    }
    for (;;) {
      const item = lane.queue.shift();
      if (item !== undefined) {
        lane.characters -= this.#sizeOf(item);
        this.#room();
        yield item;
      } else if (this.#state === 'ended') {
        if (this.#failure !== undefined) throw this.#failure.error;
        return;
      } else {
        await new Promise<void>((resolve) => (lane.wake = resolve));
      }
    }
  }

  /** A lane's items are durable up to a sequence. @returns up to which sequence the items of all lanes are */
  durable(index: number, sequence: number): number {
    const { outstanding } = this.#lanes[index]!;
    const first = outstanding.findIndex((each) => each > sequence);
    outstanding.splice(0, first === -1 ? outstanding.length : first);
    let durable = this.#last;
    for (const lane of this.#lanes) durable = Math.min(durable, (lane.outstanding[0] ?? Infinity) - 1);
    return durable;
  }

  /** Ends all lanes. */
  close(): void {
    this.#state = 'ended';
    this.#wakeAll();
  }

  async #deal(): Promise<void> {
    try {
      for await (const item of this.#source) {
        const lane = this.#lanes[laneOf(this.#idOf(item), this.#lanes.length)]!;
        const size = this.#sizeOf(item);
        while (this.#state === 'running' && isFull(lane, size)) {
          await new Promise<void>((resolve) => (this.#room = resolve));
        }
        if (this.#state !== 'running') return;
        lane.queue.push(item);
        lane.characters += size;
        lane.outstanding.push(item.sequence);
        this.#last = item.sequence;
        lane.wake();
      }
    } catch (error) {
      this.#failure = { error };
    }
    this.#state = 'ended';
    this.#wakeAll();
  }

  #wakeAll(): void {
    this.#room();
    for (const lane of this.#lanes) lane.wake();
  }
}

function isFull(lane: Lane<Item>, size: number): boolean {
  if (lane.queue.length === 0) return false;
  return lane.queue.length >= QUEUE_OPERATIONS || lane.characters + size > QUEUE_CHARACTERS;
}

/** By a hash: ids are often numbered, and their last digits say what they are. */
function laneOf(id: string, lanes: number): number {
  return createHash('md5').update(id).digest().readUInt32LE(0) % lanes;
}
