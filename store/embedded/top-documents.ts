import { bestFirst, type Ranked } from '../ranking.ts';

/** Keeps the best documents of those offered, each with its best passage. */
export class TopDocuments<Document extends Ranked> {
  readonly #capacity: number;
  readonly #threshold: number;
  /** Best first. */
  readonly #ranking: Document[] = [];
  readonly #scores = new Map<string, number>();

  /** @param threshold lowest score to take */
  constructor(capacity: number, threshold: number) {
    this.#capacity = capacity;
    this.#threshold = threshold;
  }

  /** Best first. */
  get ranking(): readonly Document[] {
    return this.#ranking;
  }

  /**
   * The lowest score that can still enter. A score that equals the last document's enters if its document id
   * is lower.
   */
  get floor(): number {
    return this.#ranking.length < this.#capacity ? this.#threshold : this.#ranking.at(-1)!.score;
  }

  /** Adds a document if it is good enough. It may be offered several times, with different passages. */
  offer(candidate: Document): void {
    if (candidate.score < this.floor) return;
    const before = this.#scores.get(candidate.documentId);
    if (before !== undefined) {
      const known = this.#position({ ...candidate, score: before });
      const better =
        candidate.score > before ||
        (candidate.score === before && candidate.passage < this.#ranking[known]!.passage);
      if (!better) return;
      this.#ranking.splice(known, 1);
    }
    this.#ranking.splice(this.#position(candidate), 0, candidate);
    this.#scores.set(candidate.documentId, candidate.score);
    if (this.#ranking.length > this.#capacity) this.#scores.delete(this.#ranking.pop()!.documentId);
  }

  /** The index of a document in the ranking, or the index where it would be inserted. */
  #position(document: Ranked): number {
    let low = 0;
    let high = this.#ranking.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (bestFirst(this.#ranking[middle]!, document) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
