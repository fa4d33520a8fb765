import { cosine } from '../../towers/adopt/cosines.ts';
import type { QueryTower } from './encoder.ts';

/**
 * Least cosine of a word with the query to be near it in meaning. With the shipped lookup, one word in 800 of the gloss of
 * another noun of WordNet reaches it with a noun for the query, and one in 30 of its own gloss; at 0.5, which some stop
 * words reach, it is one in 200 and one in 20.
 */
const NEAR = 0.55;

/**
 * Most different words of an answer that are looked at, the best hits' first: each takes some ten microseconds in which
 * nothing else is done.
 */
export const MAX_LOOKED_AT = 256;

/** Words that are longer are no words, and would take longer. */
const LONGEST = 64;

/**
 * The words of an answer that are near its query in meaning: a lookup tower has a vector for each word as it has one for the
 * query. Words are taken for near by the cosine of both.
 */
export class NearWords {
  readonly #tower: QueryTower;
  readonly #query: Float32Array;
  readonly #seen = new Map<string, boolean>();

  /** @param query vector of the query's text */
  constructor(tower: QueryTower, query: Float32Array) {
    this.#tower = tower;
    this.#query = query;
  }

  /** Whether a word is near the query. It is not where too many others were looked at before. */
  has(word: string): boolean {
    let near = this.#seen.get(word);
    if (near === undefined) {
      if (this.#seen.size >= MAX_LOOKED_AT || word.length > LONGEST) return false;
      near = this.#cosine(word) >= NEAR;
      this.#seen.set(word, near);
    }
    return near;
  }

  /** -1 where the tower can't say it at once. */
  #cosine(word: string): number {
    const vector = this.#tower.encodeNow?.(word, { prompt: '' })?.encoding.vector;
    return vector ? cosine(vector, this.#query) : -1;
  }
}
