import type { SparseVector } from '../document.ts';

/** Decimals of a unit vector's component: as many as float32 holds for the larger ones. */
const DECIMALS = 7;

const SCALE = 10 ** DECIMALS;

/** Bytes of one component with its comma: sign, one digit, point, decimals. */
const COMPONENT_BYTES = DECIMALS + 4;

/** Bytes that UTF-8 takes for one UTF-16 unit, at most. */
const UNIT_BYTES = 3;

/** Bytes to allocate at a time: some hundreds of points. */
const BLOCK_BYTES = 1024 * 1024;

const ZERO = 0x30;
const COMMA = 0x2c;
const MINUS = 0x2d;
const POINT = 0x2e;
const OPEN = 0x5b;
const CLOSE = 0x5d;

/**
 * A component's decimals are written as three digits and four. {@link DIGITS} has the four digits of each
 * number below this.
 */
const GROUP = 10_000;

const DIGITS = Uint8Array.from({ length: 4 * GROUP }, (_, at) => {
  const place = 10 ** (3 - (at % 4));
  return ZERO + (Math.floor(at / 4 / place) % 10);
});

/** Writes JSON as the bytes that are sent, so that vectors never become strings. */
export class JsonWriter {
  #block = Buffer.alloc(0);
  #start = 0;
  #end = 0;

  /** @param json a piece of JSON */
  raw(json: string): this {
    this.#reserve(UNIT_BYTES * json.length);
    this.#end += this.#block.write(json, this.#end);
    return this;
  }

  /**
   * Writes a vector, scaled and rounded to seven decimals: half as long as in full, and a tenth of the work
   * of making a string of each component. A score of two unit vectors changes by less than 1e-6.
   *
   * @param factor scales the vector to unit length
   */
  vector(vector: Float32Array, factor: number): this {
    this.#reserve(COMPONENT_BYTES * vector.length + 2);
    const bytes: Uint8Array = this.#block;
    const scale = factor * SCALE;
    let end = this.#end;
    bytes[end++] = OPEN;
    for (let index = 0; index < vector.length; index++) {
      if (index > 0) bytes[end++] = COMMA;
      const component = vector[index]! * scale;
      // 32-bit integers need no call, and dividing them by a constant is a multiplication.
      let rest = ((component < 0 ? -component : component) + 0.5) | 0;
      if (component < 0 && rest > 0) bytes[end++] = MINUS;
      const whole = rest >= SCALE ? 1 : 0;
      rest -= whole * SCALE;
      const thousands = (rest / GROUP) | 0;
      const high = thousands << 2;
      const low = (rest - GROUP * thousands) << 2;
      bytes[end] = ZERO + whole;
      bytes[end + 1] = POINT;
      bytes[end + 2] = DIGITS[high + 1]!;
      bytes[end + 3] = DIGITS[high + 2]!;
      bytes[end + 4] = DIGITS[high + 3]!;
      bytes[end + 5] = DIGITS[low]!;
      bytes[end + 6] = DIGITS[low + 1]!;
      bytes[end + 7] = DIGITS[low + 2]!;
      bytes[end + 8] = DIGITS[low + 3]!;
      end += 2 + DECIMALS;
    }
    bytes[end++] = CLOSE;
    this.#end = end;
    return this;
  }

  /** Writes a sparse vector, with its weights rounded to float32. */
  sparse({ indices, values }: SparseVector): this {
    let weights = '';
    let last: number | undefined;
    let weight = '';
    // Formatting a weight is slow, and most terms of a passage occur once and weigh the same.
    for (const value of values) {
      if (value !== last) weight = String(Math.fround(value));
      last = value;
      weights += weights === '' ? weight : `,${weight}`;
    }
    return this.raw(`{"indices":[${indices.join()}],"values":[${weights}]}`);
  }

  /** Returns the bytes written since the last call. */
  take(): Buffer {
    const taken = this.#block.subarray(this.#start, this.#end);
    this.#start = this.#end;
    return taken;
  }

  #reserve(bytes: number): void {
    if (this.#end + bytes <= this.#block.length) return;
    const begun = this.take();
    this.#block = Buffer.allocUnsafeSlow(Math.max(BLOCK_BYTES, begun.length + bytes));
    this.#start = 0;
    this.#end = begun.copy(this.#block);
  }
}
