import { LRUCache } from 'lru-cache';
import type { SearchHit } from '../queries.ts';
import { hitsOf, partsOf, type Place, type Shown } from '../shown.ts';

/** Memory for hits that have been read, in bytes, about: the short texts of some ten thousand documents. */
const KNOWN_BYTES = 16 * 1024 * 1024;

/** About what a hit takes without its texts. */
const HIT_BYTES = 400;

/** A hit, and the state of its document in which it was read. */
interface Known {
  state: number;
  shown: Shown;
}

/**
 * Hits that have been read from the disk. A document's next state takes the place of the one before: kept until others push it
 * out, hits that nobody finds any more would fill the memory of an index that is written all the time.
 */
export class KnownHits {
  readonly #hits: LRUCache<string, Known>;

  /** @param forgotten called with each that is not known any more */
  constructor(forgotten: (hit: Shown) => void = () => {}, bytes = KNOWN_BYTES) {
    this.#hits = new LRUCache({ maxSize: bytes, dispose: ({ shown }) => forgotten(shown) });
  }

  /**
   * @param key of what is shown of which document
   * @param state of the document, a number that no other document and no other state of it has
   * @param read reads the hit, and says how many characters it has
   */
  find(key: string, state: number, read: () => { hit: Shown; characters: number }): Shown {
    const known = this.#hits.get(key);
    if (known?.state === state) return known.shown;
    const { hit, characters } = read();
    this.#hits.set(key, { state, shown: hit }, { size: HIT_BYTES + 2 * characters });
    return hit;
  }
}

/** Hits as they cross from the store's thread to its caller: what they show crosses once, and has a number from then on. */
export interface PackedHits {
  /** Of each hit, the number of what it shows. */
  numbers: number[];
  places: Place[];
  /** What is shown for the first time. */
  news: [number: number, shown: Shown][];
  /** Numbers that do not come again. */
  gone: number[];
}

/** Packs hits in the store's thread. */
export class HitPacker {
  readonly #numbers = new WeakMap<Shown, number>();
  readonly #forgotten = new WeakSet<Shown>();
  #gone: number[] = [];
  #last = 0;

  /** Leaves everything else as it is. */
  readonly pack = (value: unknown): unknown => {
    const parts = Array.isArray(value) ? partsOf(value as SearchHit[]) : undefined;
    if (!parts) return value;
    const packed: PackedHits = { numbers: [], places: [], news: [], gone: this.#gone };
    this.#gone = [];
    for (const { shown, place } of parts) {
      packed.numbers.push(this.#numberOf(shown, packed));
      packed.places.push(place);
    }
    return packed;
  };

  /** It does not come again, but perhaps in the answer that is under way. */
  readonly forget = (shown: Shown): void => {
    this.#forgotten.add(shown);
    const number = this.#numbers.get(shown);
    if (number !== undefined) this.#gone.push(number);
  };

  #numberOf(shown: Shown, { news, gone }: PackedHits): number {
    const known = this.#numbers.get(shown);
    if (known !== undefined) return known;
    const number = ++this.#last;
    this.#numbers.set(shown, number);
    news.push([number, shown]);
    if (this.#forgotten.has(shown)) gone.push(number);
    return number;
  }
}

/** Unpacks, in the order in which they were packed. Each answer has to come here, whether or not anybody waits for it. */
export class HitUnpacker {
  readonly #shown = new Map<number, Shown>();

  /** Leaves everything else as it is. */
  readonly unpack = (value: unknown): unknown => {
    if (!isPacked(value)) return value;
    const { numbers, places, news, gone } = value;
    for (const [number, shown] of news) this.#shown.set(number, shown);
    const hits = hitsOf(
      numbers.map((number, index) => ({ shown: this.#shown.get(number)!, place: places[index]! })),
    );
    for (const number of gone) this.#shown.delete(number);
    return hits;
  };
}

function isPacked(value: unknown): value is PackedHits {
  return typeof value === 'object' && value !== null && 'numbers' in value && 'places' in value;
}
