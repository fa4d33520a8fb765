import { int64, tensor, type Tensor } from '../onnx/tensor.ts';

/** A pair needs so many texts: one that occurs once teaches no more than its text does. */
const MIN_TEXTS = 2;

/**
 * Slots of the hash table for each pair. Where two pairs share a slot, the rarer one is left out, and the next in frequency
 * takes its place; a slot takes eight bytes, a row hundreds.
 */
const SLOTS_PER_PAIR = 3;

/** Fewer slots are not worth the collisions. */
const MIN_SLOTS = 64;

/** Keys below it are written in four bytes. */
const INT32_END = 2 ** 31;

/** Row of every pair that is not in the dictionary: its vector is zero. */
export const NO_PAIR = 0;

/**
 * The neighbouring tokens that have a vector of their own, as a hash table that a graph can look into: the key of a pair
 * is `first · base + second`, its slot the remainder of the key by the number of slots.
 */
export class PairDictionary {
  /** Above every token id. */
  readonly base: number;
  /** Key in each slot; -1 where there is none. */
  readonly keys: Float64Array;
  /** Row in each slot; {@link NO_PAIR} where there is none. */
  readonly rows: Int32Array;
  /** How many rows there are, {@link NO_PAIR} included. */
  readonly size: number;

  private constructor(base: number, keys: Float64Array, rows: Int32Array, size: number) {
    this.base = base;
    this.keys = keys;
    this.rows = rows;
    this.size = size;
  }

  /**
   * The most frequent pairs of some texts.
   *
   * @param base - above every token id
   * @param limit - how many pairs at the most
   */
  static of(texts: Iterable<readonly number[]>, base: number, limit: number): PairDictionary {
    const candidates = frequentPairs(texts, base);
    const wanted = Math.min(limit, candidates.length);
    const slots = primeFrom(Math.max(MIN_SLOTS, wanted * SLOTS_PER_PAIR));
    const keys = new Float64Array(slots).fill(-1);
    return filled(base, keys, new Int32Array(slots), 1, candidates, wanted);
  }

  /** A dictionary that was made before. @param rows - row in each slot; {@link NO_PAIR} where there is none */
  static restored(base: number, keys: ArrayLike<number>, rows: ArrayLike<number>): PairDictionary {
    let highest = 0;
    for (let slot = 0; slot < rows.length; slot++) highest = Math.max(highest, rows[slot]!);
    return new PairDictionary(base, Float64Array.from(keys), Int32Array.from(rows), highest + 1);
  }

  /** The same with some of the most frequent pairs of other texts in slots that are free; what it has keeps its rows. */
  extended(texts: Iterable<readonly number[]>, more: number): PairDictionary {
    const candidates = frequentPairs(texts, this.base);
    return filled(this.base, this.keys.slice(), this.rows.slice(), this.size, candidates, more);
  }

  /** Rows of a text's neighbouring tokens, those that have one. */
  rowsOf(ids: readonly number[]): number[] {
    const found: number[] = [];
    for (let at = 0; at + 1 < ids.length; at++) {
      const key = ids[at]! * this.base + ids[at + 1]!;
      const slot = key % this.keys.length;
      if (this.keys[slot] === key) found.push(this.rows[slot]!);
    }
    return found;
  }

  /** Keys and rows by slot, for a graph: int32, or int64 where keys are too large. */
  tensors(): { keys: Tensor; rows: Tensor } {
    const isSmall = this.base * this.base < INT32_END;
    return {
      keys: isSmall ? tensor('int32', [this.keys.length], Int32Array.from(this.keys)) : int64([...this.keys]),
      rows: tensor('int32', [this.rows.length], this.rows),
    };
  }
}

/** Keys of the pairs that are in several texts, the most frequent first. */
function frequentPairs(texts: Iterable<readonly number[]>, base: number): number[] {
  const counts = new Map<number, number>();
  for (const ids of texts) {
    const inText = new Set<number>();
    for (let at = 0; at + 1 < ids.length; at++) inText.add(ids[at]! * base + ids[at + 1]!);
    for (const key of inText) counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return [...counts]
    .filter(([, count]) => count >= MIN_TEXTS)
    .sort(([a, x], [b, y]) => y - x || a - b)
    .map(([key]) => key);
}

/** Keys are not random: a prime number of slots does not resonate with their regularities. */
function primeFrom(least: number): number {
  for (let candidate = Math.max(2, least); ; candidate++) {
    let divisor = 2;
    while (divisor * divisor <= candidate && candidate % divisor !== 0) divisor++;
    if (divisor * divisor > candidate) return candidate;
  }
}

/** Puts keys into free slots, each with the next row, until there are so many more. */
function filled(
  base: number,
  keys: Float64Array,
  rows: Int32Array,
  size: number,
  candidates: readonly number[],
  more: number,
): PairDictionary {
  const end = size + more;
  let next = size;
  for (const key of candidates) {
    if (next === end) break;
    const slot = key % keys.length;
    if (rows[slot] !== NO_PAIR) continue;
    keys[slot] = key;
    rows[slot] = next++;
  }
  return PairDictionary.restored(base, keys, rows);
}
