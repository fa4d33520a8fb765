import { exactSearch, MetricKind } from 'usearch';
import { type HelperAnswer, type ScanHelper, scanHelper } from './scan-helper.ts';
import { type QueryCodes, queryCodes, VectorCodes } from './vector-codes.ts';

/** Rows in a chunk: 6 MB at 384 dimensions. The last chunk alone is smaller and grows. */
const CHUNK_ROWS = 4096;

/** Initial rows of a matrix: few, because there may be thousands of tenants. */
const FIRST_CHUNK_ROWS = 64;

/** Fewest rows of each chunk that a scan looks at first. */
const SPARE_ROWS = 16;

/** A scan first looks in each chunk for this many times the chunk's even share of the answer. */
const UNEVENNESS = 4;

/** A scan of codes looks so many times deeper: their order is not quite that of the vectors. */
const CODE_DEPTH = 4;

/** Factor by which a scan looks deeper at a chunk after a look that did not suffice. */
const WIDENING = 4;

/** Error of float32 summation in a score, at most: a hundred times the error measured at 4096 dimensions. */
const SCORE_ERROR = 1e-4;

/** Some rows, and what finds them quickly. */
interface Chunk {
  vectors: Float32Array<ArrayBuffer>;
  codes: VectorCodes;
}

/** What a snapshot has of a chunk. */
export interface ChunkParts {
  vectors: Float32Array<ArrayBuffer>;
  codes: Int8Array<ArrayBuffer>;
  /** See `VectorCodes`. */
  scale: number;
  error: number;
}

/** The rows of a chunk that have the highest scores, and a bound of each score. */
interface Best {
  keys: BigUint64Array;
  atMost: Float32Array;
}

/** From how many rows on a second thread scans half of them. Handing over a scan takes as long as scanning some thousands. */
const HELPED_ROWS = 16 * CHUNK_ROWS;

/**
 * Unit vectors in rows; new rows go to the end. Memory grows by chunks, so growing never copies all of it.
 *
 * A scan reads the vectors as int8 first, and those as float32 only where that leaves a doubt.
 */
export class VectorMatrix {
  readonly dimensions: number;
  readonly #chunks: Chunk[] = [];
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
    const { vectors, codes } = this.#reserve();
    const row = this.#length % CHUNK_ROWS;
    new Uint8Array(vectors.buffer).set(vector, row * this.dimensions * Float32Array.BYTES_PER_ELEMENT);
    codes.of(vectors, row + 1);
    this.#length++;
  }

  /** The first rows, chunk by chunk. @param isBlank which rows are given as zeros */
  *parts(rows: number, isBlank: (row: number) => boolean): Generator<ChunkParts, void, void> {
    const { dimensions } = this;
    for (let start = 0; start < rows; start += CHUNK_ROWS) {
      const chunk = this.#chunks[start / CHUNK_ROWS]!;
      const count = Math.min(CHUNK_ROWS, rows - start);
      const vectors = chunk.vectors.slice(0, count * dimensions);
      const codes = chunk.codes.of(chunk.vectors, count).slice(0, count * dimensions);
      for (let row = 0; row < count; row++) {
        if (!isBlank(start + row)) continue;
        for (const each of [vectors, codes]) each.fill(0, row * dimensions, (row + 1) * dimensions);
      }
      yield { vectors, codes, scale: chunk.codes.scale, error: chunk.codes.error };
    }
  }

  /** Adds the next chunk as {@link parts} gave it; the one before has to be full. */
  adopt({ vectors, codes, scale, error }: ChunkParts): void {
    this.#chunks.push({ vectors, codes: VectorCodes.of(this.dimensions, codes, scale, error) });
    this.#length += vectors.length / this.dimensions;
  }

  /** Copies rows from `from` on to those from `to` on, the first one first. @param to at most `from` */
  move(from: number, to: number, count: number): void {
    for (let done = 0; done < count;) {
      const [source, target] = [this.#place(from + done), this.#place(to + done)];
      const rows = Math.min(count - done, CHUNK_ROWS - source.row, CHUNK_ROWS - target.row);
      const start = source.row * this.dimensions;
      const end = start + rows * this.dimensions;
      const at = target.row * this.dimensions;
      target.chunk.codes.truncate(target.row);
      if (source.chunk === target.chunk) target.chunk.vectors.copyWithin(at, start, end);
      else target.chunk.vectors.set(source.chunk.vectors.subarray(start, end), at);
      done += rows;
    }
  }

  /** Forgets every row from `length` on. */
  truncate(length: number): void {
    this.#length = length;
    this.#chunks.length = Math.ceil(length / CHUNK_ROWS);
    this.#chunks.at(-1)?.codes.truncate(length - (this.#chunks.length - 1) * CHUNK_ROWS);
  }

  /**
   * Dot product with a row, summed in double precision, so that it does not depend on how the row was found.
   */
  dot(row: number, query: Float32Array): number {
    const { vectors } = this.#chunks[Math.floor(row / CHUNK_ROWS)]!;
    const start = (row % CHUNK_ROWS) * this.dimensions;
    let sum = 0;
    for (let index = 0; index < query.length; index++) sum += vectors[start + index]! * query[index]!;
    return sum;
  }

  /**
   * Visits every row whose score may be so high that `enough` is not true for it, and some others.
   *
   * @param count how many rows the caller wants, about
   * @param visit takes a row and a bound: its score is not higher. It may get a row twice
   * @param enough whether scores up to this one do not matter; asked again and again, since visits may change the answer
   */
  nearest(
    query: Float32Array,
    count: number,
    visit: (row: number, atMost: number) => void,
    enough: (atMost: number) => boolean,
  ): void {
    let depth = SPARE_ROWS + Math.ceil((UNEVENNESS * count) / Math.max(1, this.#chunks.length));
    const bounds = new Map<number, number>();
    const look = (index: number, best: Best): void => {
      const bound = this.#visit(index, best, visit, enough);
      if (bound !== undefined) bounds.set(index, bound);
    };
    this.#scanCodes(queryCodes(query), CODE_DEPTH * depth, look);
    for (;;) {
      // Which scores are good enough is known only after a look at all chunks.
      const unfinished = [...bounds].flatMap(([index, bound]) => (enough(bound) ? [] : [index]));
      if (unfinished.length === 0) return;
      bounds.clear();
      for (const index of unfinished) look(index, this.#scanVectors(index, query, depth));
      depth *= WIDENING;
    }
  }

  /** @returns the bound of the rows that it has not visited; `undefined` if it has visited all */
  #visit(
    index: number,
    { keys, atMost }: Best,
    visit: (row: number, atMost: number) => void,
    enough: (atMost: number) => boolean,
  ): number | undefined {
    const start = index * CHUNK_ROWS;
    for (let rank = 0; rank < keys.length; rank++) {
      const bound = atMost[rank]!;
      if (enough(bound)) return bound;
      visit(start + Number(keys[rank]), bound);
    }
    return keys.length === this.#rowsOf(index) ? undefined : atMost.at(-1);
  }

  /** Exact but for the summation. */
  #scanVectors(index: number, query: Float32Array, depth: number): Best {
    const rows = this.#rowsOf(index);
    const seen = this.#chunks[index]!.vectors.subarray(0, rows * this.dimensions);
    const count = Math.min(depth, rows);
    // One thread: starting a second takes longer than scanning a chunk, and the encoders need the other cores.
    const { keys, distances } = exactSearch(seen, query, this.dimensions, count, MetricKind.IP, 1);
    return { keys, atMost: distances.map((distance) => 1 - distance + SCORE_ERROR) };
  }

  /**
   * Off by what was rounded. Where q and v are unit vectors, and q' and v' what their codes say,
   * |qv - q'v'| = |(q - q')v + q'(v - v')| ≤ |q - q'| + |q'| |v - v'|, and |q'| ≤ 1 + |q - q'|.
   */
  #scanCodes(query: QueryCodes, depth: number, look: (index: number, best: Best) => void): void {
    const found = (index: number, { keys, distances }: HelperAnswer[number]): void => {
      const { codes } = this.#chunks[index]!;
      const error = query.error + (1 + query.error) * codes.error + SCORE_ERROR;
      const scale = query.scale * codes.scale;
      look(index, { keys, atMost: distances.map((distance) => scale * (1 - distance) + error) });
    };
    const scan = (index: number): void => {
      const rows = this.#rowsOf(index);
      const { vectors, codes } = this.#chunks[index]!;
      const count = Math.min(depth, rows);
      const seen = codes.of(vectors, rows);
      found(index, exactSearch(seen, query.codes, this.dimensions, count, MetricKind.IP, 1));
    };
    const helper = this.#length >= HELPED_ROWS && depth <= CHUNK_ROWS ? scanHelper() : undefined;
    const helped = helper ? this.#handOver(helper, query, depth) : [];
    for (const index of this.#chunks.keys()) if (!helped.includes(index)) scan(index);
    if (helped.length === 0) return;
    const answer = helper!.take();
    for (const [place, index] of helped.entries()) {
      if (answer) found(index, answer[place]!);
      else scan(index);
    }
  }

  /** Gives every second full chunk to another thread. @returns their indices */
  #handOver(helper: ScanHelper, query: QueryCodes, depth: number): number[] {
    const full = Math.floor(this.#length / CHUNK_ROWS);
    const helped = [...this.#chunks.keys()].filter((index) => index % 2 === 1 && index < full);
    const chunks = helped.map((index) => {
      const { vectors, codes } = this.#chunks[index]!;
      // Encoded now, so that the version is that of what is scanned.
      const seen = codes.of(vectors, CHUNK_ROWS);
      return { index, version: codes.version, codes: () => seen };
    });
    return helper.ask(this, chunks, query.codes, depth) ? helped : [];
  }

  #rowsOf(index: number): number {
    return Math.min(CHUNK_ROWS, this.#length - index * CHUNK_ROWS);
  }

  #place(row: number): { chunk: Chunk; row: number } {
    return { chunk: this.#chunks[Math.floor(row / CHUNK_ROWS)]!, row: row % CHUNK_ROWS };
  }

  /** The chunk for the next row, with room for it. */
  #reserve(): Chunk {
    const { dimensions } = this;
    const row = this.#length % CHUNK_ROWS;
    const last = this.#chunks.at(-1);
    if (last && this.#length < this.#chunks.length * CHUNK_ROWS) {
      const { vectors } = last;
      if (row * dimensions === vectors.length) {
        last.vectors = new Float32Array(Math.min(2 * vectors.length, CHUNK_ROWS * dimensions));
        last.vectors.set(vectors);
      }
      return last;
    }
    const rows = this.#chunks.length === 0 ? FIRST_CHUNK_ROWS : CHUNK_ROWS;
    const chunk = { vectors: new Float32Array(rows * dimensions), codes: new VectorCodes(dimensions) };
    this.#chunks.push(chunk);
    return chunk;
  }
}
