import { createHash } from 'node:crypto';

/** Words of 32 bits in a hash: 128 bits do not meet by chance. */
const WORDS = 4;

const FIRST_CAPACITY = 1024;

/** Share of the places that may be taken. */
const MAX_LOAD = 2 / 3;

/** What is known of a document besides its content. Flags add up. */
export const FLAGS = {
  /** The source deletes it. */
  deleted: 1,
  /** The collection has it. */
  stored: 2,
  /** It has to be sent. */
  send: 4,
} as const;

const TAKEN = 128;

/** A document as the table knows it. */
export interface Entry {
  /** Hash of its content; see {@link hashOf}. */
  content: Buffer;
  version: number;
  /** The record that says so. */
  sequence: number;
  flags: number;
}

/** 128 bits of a text. */
export function hashOf(text: string): Buffer {
  return createHash('sha256')
    .update(text)
    .digest()
    .subarray(0, 4 * WORDS);
}

/**
 * Documents by id, as hashes: about a hundred bytes each, so that the ids of a large collection fit in memory. Places are
 * found by open addressing.
 */
export class DocumentTable {
  /** Documents in it. */
  size = 0;
  #capacity = FIRST_CAPACITY;
  #keys = new Uint32Array(WORDS * FIRST_CAPACITY);
  #contents = new Uint32Array(WORDS * FIRST_CAPACITY);
  #versions = new Float64Array(FIRST_CAPACITY);
  #sequences = new Float64Array(FIRST_CAPACITY);
  #flags = new Uint8Array(FIRST_CAPACITY);

  get(id: string): Entry | undefined {
    const place = this.#find(wordsOf(hashOf(id)));
    return this.#flags[place] === 0 ? undefined : this.#entry(place);
  }

  set(id: string, { content, version, sequence, flags }: Entry): void {
    if (this.size + 1 > this.#capacity * MAX_LOAD) this.#grow();
    const key = wordsOf(hashOf(id));
    const place = this.#find(key);
    if (this.#flags[place] === 0) this.size++;
    this.#keys.set(key, WORDS * place);
    this.#contents.set(wordsOf(content), WORDS * place);
    this.#versions[place] = version;
    this.#sequences[place] = sequence;
    this.#flags[place] = flags | TAKEN;
  }

  /** Sets a flag of a document that is there. */
  mark(id: string, flag: number): void {
    const place = this.#find(wordsOf(hashOf(id)));
    this.#flags[place]! |= flag;
  }

  /** Calls back for each document; what is returned becomes its flags. */
  update(change: (entry: Pick<Entry, 'flags'>) => number): void {
    for (const [place, flags] of this.#flags.entries()) {
      if (flags !== 0) this.#flags[place] = change({ flags: flags & ~TAKEN }) | TAKEN;
    }
  }

  #entry(place: number): Entry {
    const words = this.#contents.slice(WORDS * place, WORDS * (place + 1));
    return {
      content: Buffer.from(words.buffer),
      version: this.#versions[place]!,
      sequence: this.#sequences[place]!,
      flags: this.#flags[place]! & ~TAKEN,
    };
  }

  /** Where a key is, or belongs. */
  #find(key: Uint32Array): number {
    for (let place = key[0]! % this.#capacity; ; place = (place + 1) % this.#capacity) {
      if (this.#flags[place] === 0) return place;
      const at = WORDS * place;
      if (key.every((word, index) => this.#keys[at + index] === word)) return place;
    }
  }

  #grow(): void {
    const before = {
      capacity: this.#capacity,
      keys: this.#keys,
      contents: this.#contents,
      versions: this.#versions,
      sequences: this.#sequences,
      flags: this.#flags,
    };
    this.#capacity *= 2;
    this.#keys = new Uint32Array(WORDS * this.#capacity);
    this.#contents = new Uint32Array(WORDS * this.#capacity);
    this.#versions = new Float64Array(this.#capacity);
    this.#sequences = new Float64Array(this.#capacity);
    this.#flags = new Uint8Array(this.#capacity);
    for (let from = 0; from < before.capacity; from++) {
      if (before.flags[from] === 0) continue;
      const key = before.keys.subarray(WORDS * from, WORDS * (from + 1));
      const to = this.#find(key);
      this.#keys.set(key, WORDS * to);
      this.#contents.set(before.contents.subarray(WORDS * from, WORDS * (from + 1)), WORDS * to);
      this.#versions[to] = before.versions[from]!;
      this.#sequences[to] = before.sequences[from]!;
      this.#flags[to] = before.flags[from]!;
    }
  }
}

function wordsOf(hash: Buffer): Uint32Array {
  return Uint32Array.from({ length: WORDS }, (_, index) => hash.readUInt32LE(4 * index));
}
