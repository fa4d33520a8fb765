/** The largest code. */
const MAX_CODE = 127;

/** A scale is so much larger than it has to be, so that later rows seldom need another. */
const HEADROOM = 1.1;

/**
 * Vectors as int8: `code × scale` is near each number. A scan of them reads a quarter of the memory, and {@link error} says how far
 * off its scores may be. All rows have one scale, so that the order of their dot products means something.
 */
export class VectorCodes {
  readonly #dimensions: number;
  #codes: Int8Array<ArrayBuffer> = new Int8Array(0);
  /** Rows that are encoded. */
  #rows = 0;
  #scale = 0;
  #error = 0;
  #version = 0;

  constructor(dimensions: number) {
    this.#dimensions = dimensions;
  }

  /** Codes that were made before: of all rows there are. */
  static of(dimensions: number, codes: Int8Array<ArrayBuffer>, scale: number, error: number): VectorCodes {
    const made = new VectorCodes(dimensions);
    made.#codes = codes;
    made.#rows = codes.length / dimensions;
    made.#scale = scale;
    made.#error = error;
    return made;
  }

  /** What 1 of a code is. */
  get scale(): number {
    return this.#scale;
  }

  /** The length of the difference between a vector and its codes, at most. */
  get error(): number {
    return this.#error;
  }

  /** Grows whenever codes change that were there before. */
  get version(): number {
    return this.#version;
  }

  /** The codes of the first so many rows. @param vectors of the rows; those that are encoded have not changed */
  of(vectors: Float32Array, rows: number): Int8Array {
    const dimensions = this.#dimensions;
    if (this.#codes.length < vectors.length) {
      const grown = new Int8Array(vectors.length);
      grown.set(this.#codes);
      this.#codes = grown;
    }
    const largest = largestOf(vectors, this.#rows * dimensions, rows * dimensions);
    if (largest > this.#scale * MAX_CODE) {
      this.#scale = (largest * HEADROOM) / MAX_CODE;
      this.#error = 0;
      this.truncate(0);
    }
    for (; this.#rows < rows; this.#rows++) {
      const start = this.#rows * dimensions;
      this.#error = Math.max(
        this.#error,
        encode(vectors, this.#codes, start, start + dimensions, this.#scale),
      );
    }
    return this.#codes.subarray(0, rows * dimensions);
  }

  /** Forgets every row from `rows` on. */
  truncate(rows: number): void {
    if (rows >= this.#rows) return;
    this.#rows = rows;
    this.#version++;
  }
}

/** A query as int8. */
export interface QueryCodes {
  codes: Int8Array;
  scale: number;
  /** The length of the difference between the query and its codes. */
  error: number;
}

export function queryCodes(query: Float32Array): QueryCodes {
  const codes = new Int8Array(query.length);
  const scale = largestOf(query, 0, query.length) / MAX_CODE;
  return { codes, scale, error: encode(query, codes, 0, query.length, scale) };
}

function largestOf(vectors: Float32Array, start: number, end: number): number {
  let largest = 0;
  for (let index = start; index < end; index++) {
    const size = Math.abs(vectors[index]!);
    if (size > largest) largest = size;
  }
  return largest;
}

/** Encodes the numbers from `start` to `end`. @returns the length of the difference */
function encode(vectors: Float32Array, codes: Int8Array, start: number, end: number, scale: number): number {
  const factor = scale === 0 ? 0 : 1 / scale;
  let squares = 0;
  for (let index = start; index < end; index++) {
    const value = vectors[index]!;
    const code = Math.round(value * factor);
    codes[index] = code;
    const rest = value - code * scale;
    squares += rest * rest;
  }
  return Math.sqrt(squares);
}
