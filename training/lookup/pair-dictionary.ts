import { int64, tensor, type Tensor } from '../onnx/tensor.ts';

/** A pair that is seen once teaches what its text teaches already. */
const MIN_TEXTS = 2;

/** Slots of the hash table for each pair: where two pairs share a slot, the rarer one is left out. */
const SLOTS_PER_PAIR = 8;

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

  private constructor(base: number, slots: number, keys: readonly number[]) {
    this.base = base;
    this.keys = new Float64Array(slots).fill(-1);
    this.rows = new Int32Array(slots);
    let size = 1;
    for (const key of keys) {
      const slot = key % slots;
      if (this.rows[slot] !== NO_PAIR) continue;
      this.keys[slot] = key;
      this.rows[slot] = size++;
    }
    this.size = size;
  }

  /**
   * The most frequent pairs of some texts.
   *
   * @param base - above every token id
   * @param limit - how many pairs at the most
   */
  static of(texts: Iterable<readonly number[]>, base: number, limit: number): PairDictionary {
    const counts = new Map<number, number>();
    for (const ids of texts) {
      const inText = new Set<number>();
      for (let at = 0; at + 1 < ids.length; at++) inText.add(ids[at]! * base + ids[at + 1]!);
      for (const key of inText) counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    const kept = [...counts]
      .filter(([, count]) => count >= MIN_TEXTS)
      .sort(([a, x], [b, y]) => y - x || a - b)
      .slice(0, limit)
      .map(([key]) => key);
    return new PairDictionary(base, primeFrom(kept.length * SLOTS_PER_PAIR), kept);
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

  /** Keys and rows by slot, int64 and int32, for a graph. */
  tensors(): { keys: Tensor; rows: Tensor } {
    return {
      keys: int64([...this.keys]),
      rows: tensor('int32', [this.rows.length], this.rows),
    };
  }
}

/** Keys are not spread at random: a prime has no part in their regularities. */
function primeFrom(least: number): number {
  for (let candidate = Math.max(2, least); ; candidate++) {
    let divisor = 2;
    while (divisor * divisor <= candidate && candidate % divisor !== 0) divisor++;
    if (divisor * divisor > candidate) return candidate;
  }
}
