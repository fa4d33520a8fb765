import { exactSearch, MetricKind } from 'usearch';

/** Rows in a chunk: 6 MB at 384 dimensions. The last chunk alone is smaller and grows. */
const CHUNK_ROWS = 4096;

/** Initial rows of a matrix: few, because there may be thousands of tenants. */
const FIRST_CHUNK_ROWS = 64;

/** Fewest rows of each chunk that a scan looks at first. */
const SPARE_ROWS = 16;

/** A scan first looks in each chunk for this many times the chunk's even share of the answer. */
const UNEVENNESS = 4;

/** Factor by which a scan looks deeper at a chunk after a look that did not suffice. */
const WIDENING = 4;

/**
 * Error of float32 summation in a score of {@link VectorMatrix.nearest}, at most: a hundred times the error
 * measured at 4096 dimensions.
 */
export const SCORE_ERROR = 1e-4;

/** Unit vectors in rows; new rows go to the end. Memory grows by chunks, so growing never copies all of it. */
export class VectorMatrix {
  readonly dimensions: number;
  readonly #chunks: Float32Array[] = [];
  #length = 0;

  constructor(dimensions: number) {
    this.dimensions = dimensions;
  }

  /** Rows. */
  get length(): number {
    return this.#length;
  }

  /** @param vector `dimensions` float32, as bytes */
  append(vector: Uint8Array): void {
    const chunk = this.#reserve();
    const row = this.#length % CHUNK_ROWS;
    new Uint8Array(chunk.buffer).set(vector, row * this.dimensions * Float32Array.BYTES_PER_ELEMENT);
    this.#length++;
  }

  /** Copies rows from `from` on to those from `to` on, the first one first. @param to at most `from` */
  move(from: number, to: number, count: number): void {
    for (let done = 0; done < count;) {
      const [source, target] = [this.#place(from + done), this.#place(to + done)];
      const rows = Math.min(count - done, CHUNK_ROWS - source.row, CHUNK_ROWS - target.row);
      const start = source.row * this.dimensions;
      const end = start + rows * this.dimensions;
      const at = target.row * this.dimensions;
      if (source.chunk === target.chunk) target.chunk.copyWithin(at, start, end);
      else target.chunk.set(source.chunk.subarray(start, end), at);
      done += rows;
    }
  }

  /** Forgets every row from `length` on. */
  truncate(length: number): void {
    this.#length = length;
    this.#chunks.length = Math.ceil(length / CHUNK_ROWS);
  }

  /**
   * Dot product with a row, summed in double precision, so that it does not depend on how the row was found.
   */
  dot(row: number, query: Float32Array): number {
    const chunk = this.#chunks[Math.floor(row / CHUNK_ROWS)]!;
    const start = (row % CHUNK_ROWS) * this.dimensions;
    let sum = 0;
    for (let index = 0; index < query.length; index++) sum += chunk[start + index]! * query[index]!;
    return sum;
  }

  /**
   * Visits the best rows of each chunk: first a share of `count`, then more, until `enough` returns true for
   * the lowest score seen in each chunk, which means that no lower score matters. It may visit a row twice,
   * because equal scores come in any order.
   *
   * @param visit takes a row and its score in single precision; see {@link SCORE_ERROR}
   */
  nearest(
    query: Float32Array,
    count: number,
    visit: (row: number, score: number) => void,
    enough: (score: number) => boolean,
  ): void {
    let unfinished = [...this.#chunks.keys()];
    let depth = SPARE_ROWS + Math.ceil((UNEVENNESS * count) / Math.max(1, this.#chunks.length));
    while (unfinished.length > 0) {
      const lowest = unfinished.map((chunk) => this.#nearestInChunk(chunk, query, depth, visit));
      // Which scores are good enough is known only after a look at all chunks.
      unfinished = unfinished.filter((_, index) => lowest[index] !== undefined && !enough(lowest[index]));
      depth *= WIDENING;
    }
  }

  /**
   * Visits the `depth` best rows of a chunk. @returns the lowest score; `undefined` if the chunk has no more
   * rows
   */
  #nearestInChunk(
    index: number,
    query: Float32Array,
    depth: number,
    visit: (row: number, score: number) => void,
  ): number | undefined {
    const start = index * CHUNK_ROWS;
    const rows = Math.min(CHUNK_ROWS, this.#length - start);
    const count = Math.min(depth, rows);
    const vectors = this.#chunks[index]!.subarray(0, rows * this.dimensions);
    // One thread: starting a second takes longer than scanning a chunk, and the encoders need the other cores.
    const matches = exactSearch(vectors, query, this.dimensions, count, MetricKind.IP, 1);
    const { keys, distances } = matches;
    for (let rank = 0; rank < count; rank++) visit(start + Number(keys[rank]), 1 - distances[rank]!);
    return count === rows ? undefined : 1 - distances[count - 1]!;
  }

  #place(row: number): { chunk: Float32Array; row: number } {
    return { chunk: this.#chunks[Math.floor(row / CHUNK_ROWS)]!, row: row % CHUNK_ROWS };
  }

  /** The chunk for the next row, with room for it. */
  #reserve(): Float32Array {
    const row = this.#length % CHUNK_ROWS;
    const last = this.#chunks.at(-1);
    if (last && row * this.dimensions < last.length && this.#length < this.#chunks.length * CHUNK_ROWS)
      return last;
    if (last && row > 0) {
      const grown = new Float32Array(Math.min(2 * last.length, CHUNK_ROWS * this.dimensions));
      grown.set(last);
      this.#chunks[this.#chunks.length - 1] = grown;
      return grown;
    }
    const rows = this.#chunks.length === 0 ? FIRST_CHUNK_ROWS : CHUNK_ROWS;
    const chunk = new Float32Array(rows * this.dimensions);
    this.#chunks.push(chunk);
    return chunk;
  }
}
