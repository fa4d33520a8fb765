import type { SparseVector } from '../document.ts';

/** One term's passages: rows ascending, with the term's weight in each. */
interface Postings {
  rows: number[] | Uint32Array;
  weights: number[] | Float32Array;
  length: number;
}

/**
 * From how many postings on a term has typed arrays, which take half the memory. Most terms are rare, and growing millions
 * of short typed arrays takes several times as long as all else in building an index.
 */
const MANY_POSTINGS = 64;

/**
 * A sparse vector as bytes: its indices as uint32, then its values as float32, in the machine's byte order.
 */
export function encodeSparse({ indices, values }: SparseVector): Uint8Array {
  const bytes = new ArrayBuffer(8 * indices.length);
  new Uint32Array(bytes, 0, indices.length).set(indices);
  new Float32Array(bytes, 4 * indices.length).set(values);
  return new Uint8Array(bytes);
}

/** The reverse of {@link encodeSparse}. */
export function decodeSparse(sparse: Uint8Array): SparseVector {
  const { indices, values } = termsOf(sparse);
  return { indices: [...indices], values: [...values] };
}

function termsOf(sparse: Uint8Array): { indices: Uint32Array; values: Float32Array } {
  // A copy, because a typed array begins at a multiple of its element's size.
  const bytes = sparse.slice().buffer;
  const terms = sparse.byteLength / 8;
  return { indices: new Uint32Array(bytes, 0, terms), values: new Float32Array(bytes, 4 * terms) };
}

/** Terms, how many passages each has, and the rows and weights of all, one after the other. */
export type IndexParts = [
  terms: Uint32Array,
  lengths: Uint32Array,
  rows: Uint32Array<ArrayBuffer>,
  weights: Float32Array<ArrayBuffer>,
];

/** The inverted index of one tenant's passages, in memory. Rows are those of the vector matrix. */
export class SparseIndex {
  readonly #terms = new Map<number, Postings>();
  #parts: IndexParts | undefined;

  /** The index that {@link parts} gave. It is made when it is used, or by {@link make}. */
  static of(...parts: IndexParts): SparseIndex {
    const index = new SparseIndex();
    index.#parts = parts;
    return index;
  }

  /** Makes what {@link of} has left: it takes longer than all else that a start reads. */
  make(): void {
    const parts = this.#parts;
    if (!parts) return;
    this.#parts = undefined;
    const [terms, lengths, rows, weights] = parts;
    let start = 0;
    for (const [position, term] of terms.entries()) {
      const length = lengths[position]!;
      const end = start + length;
      const [ownRows, ownWeights] = [rows.subarray(start, end), weights.subarray(start, end)];
      const postings =
        length >= MANY_POSTINGS
          ? { rows: ownRows, weights: ownWeights, length }
          : { rows: Array.from(ownRows), weights: Array.from(ownWeights), length };
      this.#terms.set(term, postings);
      start = end;
    }
  }

  /** What makes it again. @param isLive of a row */
  parts(isLive: (row: number) => boolean): IndexParts {
    this.make();
    let most = 0;
    for (const { length } of this.#terms.values()) most += length;
    const terms = Uint32Array.from(this.#terms.keys());
    const lengths = new Uint32Array(terms.length);
    const rows = new Uint32Array(most);
    const weights = new Float32Array(most);
    let end = 0;
    let position = 0;
    for (const postings of this.#terms.values()) {
      const start = end;
      for (let index = 0; index < postings.length; index++) {
        const row = postings.rows[index]!;
        if (!isLive(row)) continue;
        rows[end] = row;
        weights[end++] = postings.weights[index]!;
      }
      lengths[position++] = end - start;
    }
    return [terms, lengths, rows.subarray(0, end), weights.subarray(0, end)];
  }

  /**
   * Adds a passage; rows are added in ascending order.
   *
   * @param sparse from {@link encodeSparse}
   */
  append(row: number, sparse: Uint8Array): void {
    this.make();
    const { indices, values } = termsOf(sparse);
    for (let term = 0; term < indices.length; term++) this.#append(indices[term]!, row, values[term]!);
  }

  /**
   * BM25 of the query for every row, 0 for a row that shares no term: Σ over terms of query weight × passage
   * weight × ln(1 + (N − df + 0.5) / (df + 0.5)).
   *
   * N is the number of live passages, df the number of them that hold the term.
   */
  scores(
    query: SparseVector,
    passages: { rows: number; live: number; isLive: (row: number) => boolean },
  ): Float64Array {
    this.make();
    const scores = new Float64Array(passages.rows);
    // Most of the time nothing has been removed since the rows were last renumbered.
    const isLive = passages.live === passages.rows ? undefined : passages.isLive;
    for (const [position, term] of query.indices.entries()) {
      const postings = this.#terms.get(term);
      if (!postings) continue;
      const { rows, weights, length } = postings;
      const frequency = isLive ? liveOf(rows, length, isLive) : length;
      const idf = Math.log(1 + (passages.live - frequency + 0.5) / (frequency + 0.5));
      const factor = query.values[position]! * idf;
      for (let index = 0; index < length; index++) {
        const row = rows[index]!;
        if (!isLive || isLive(row)) scores[row] = scores[row]! + factor * weights[index]!;
      }
    }
    return scores;
  }

  /** Renumbers rows; `renumber` keeps their order and returns -1 for a row that is gone. */
  compact(renumber: Int32Array): void {
    this.make();
    for (const [term, postings] of this.#terms) {
      const { rows, weights, length } = postings;
      let kept = 0;
      for (let index = 0; index < length; index++) {
        const row = renumber[rows[index]!]!;
        if (row < 0) continue;
        rows[kept] = row;
        weights[kept] = weights[index]!;
        kept++;
      }
      postings.length = kept;
      if (Array.isArray(rows)) rows.length = kept;
      if (Array.isArray(weights)) weights.length = kept;
      if (kept === 0) this.#terms.delete(term);
    }
  }

  #append(term: number, row: number, weight: number): void {
    const postings = this.#terms.get(term);
    if (!postings) {
      this.#terms.set(term, { rows: [row], weights: [weight], length: 1 });
      return;
    }
    const { length } = postings;
    if (length >= MANY_POSTINGS && (Array.isArray(postings.rows) || length === postings.rows.length)) {
      // Grow by half, not twofold: there are many terms, and unused room would add up.
      const room = Math.ceil(1.5 * length);
      const rows = new Uint32Array(room);
      const weights = new Float32Array(room);
      rows.set(postings.rows);
      weights.set(postings.weights);
      postings.rows = rows;
      postings.weights = weights;
    }
    postings.rows[postings.length] = row;
    postings.weights[postings.length] = weight;
    postings.length++;
  }
}

function liveOf(rows: ArrayLike<number>, length: number, isLive: (row: number) => boolean): number {
  let live = 0;
  for (let index = 0; index < length; index++) if (isLive(rows[index]!)) live++;
  return live;
}
