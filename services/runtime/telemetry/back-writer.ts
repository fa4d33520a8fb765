/** Longest text that is written a character at a time: beyond, a call into Node is cheaper. */
const SHORT_TEXT = 64;

const VARINT = 0;
const FIXED64 = 1;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;
const TWO_TO_32 = 2 ** 32;

/**
 * Writes protobuf from the last byte to the first, fields last to first: the length of a message is known when it has to
 * be written, so that nothing is measured beforehand and nothing is moved. Field numbers are below 2048.
 *
 * Source: "Encoding", https://protobuf.dev/programming-guides/encoding/
 */
export class BackWriter {
  #bytes: Buffer;
  #view: DataView;
  /** What has been written is from here on. */
  #at: number;

  /** @param capacity - bytes to begin with; it grows */
  constructor(capacity: number) {
    this.#bytes = Buffer.allocUnsafeSlow(capacity);
    this.#view = viewOf(this.#bytes);
    this.#at = capacity;
  }

  /** Bytes that have been written. */
  get length(): number {
    return this.#bytes.length - this.#at;
  }

  /** What has been written; nothing may be written after. */
  finish(): Buffer {
    return this.#bytes.subarray(this.#at);
  }

  /** Ends a message that began where {@link length} was `from`. */
  message(field: number, from: number): void {
    const size = this.length - from;
    this.#reserve(7);
    this.#varint(size);
    this.#tag(field, LENGTH_DELIMITED);
  }

  string(field: number, text: string): void {
    const { length } = text;
    if (length <= SHORT_TEXT) {
      this.#reserve(length + 3);
      let index = length;
      let at = this.#at;
      for (; index > 0; index--) {
        const code = text.charCodeAt(index - 1);
        if (code >= 0x80) break;
        this.#bytes[--at] = code;
      }
      if (index === 0) {
        this.#at = at;
        this.#bytes[--this.#at] = length;
        this.#tag(field, LENGTH_DELIMITED);
        return;
      }
    }
    const size = Buffer.byteLength(text);
    this.#reserve(size + 7);
    this.#at -= size;
    this.#bytes.write(text, this.#at);
    this.#varint(size);
    this.#tag(field, LENGTH_DELIMITED);
  }

  /** Bytes that are given as hex digits. */
  hex(field: number, digits: string): void {
    const size = digits.length >>> 1;
    this.#reserve(size + 7);
    for (let index = 2 * size; index > 0; index -= 2) {
      this.#bytes[--this.#at] =
        (nibble(digits.charCodeAt(index - 2)) << 4) | nibble(digits.charCodeAt(index - 1));
    }
    this.#varint(size);
    this.#tag(field, LENGTH_DELIMITED);
  }

  /** @param value - a whole number that is exact; negative ones as protobuf's `int64` has them */
  integer(field: number, value: number): void {
    this.#reserve(12);
    if (value >= 0) this.#varint(value);
    else {
      // In two's complement it has all of ten groups of seven bits.
      let rest = BigInt.asUintN(64, BigInt(value));
      const groups: number[] = [];
      for (; rest > 0n; rest >>= 7n) groups.push(Number(rest & 0x7fn));
      for (let index = groups.length - 1; index >= 0; index--) {
        this.#bytes[--this.#at] = groups[index]! | (index === groups.length - 1 ? 0 : 0x80);
      }
    }
    this.#tag(field, VARINT);
  }

  double(field: number, value: number): void {
    this.#reserve(10);
    this.#at -= 8;
    this.#view.setFloat64(this.#at, value, true);
    this.#tag(field, FIXED64);
  }

  /** @param high - the upper half of the number, which does not fit into one */
  fixed64(field: number, high: number, low: number): void {
    this.#reserve(10);
    this.#at -= 8;
    this.#view.setUint32(this.#at, low, true);
    this.#view.setUint32(this.#at + 4, high, true);
    this.#tag(field, FIXED64);
  }

  fixed32(field: number, value: number): void {
    this.#reserve(6);
    this.#at -= 4;
    this.#view.setUint32(this.#at, value, true);
    this.#tag(field, FIXED32);
  }

  #tag(field: number, type: number): void {
    this.#varint((field << 3) | type);
  }

  #varint(value: number): void {
    if (value < 0x80) {
      this.#bytes[--this.#at] = value;
      return;
    }
    let size = 2;
    for (let rest = Math.floor(value / 0x4000); rest > 0; rest = Math.floor(rest / 0x80)) size++;
    this.#at -= size;
    let rest = value;
    for (let index = 0; index < size - 1; index++) {
      this.#bytes[this.#at + index] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#bytes[this.#at + size - 1] = rest;
  }

  #reserve(size: number): void {
    if (this.#at >= size) return;
    const { length } = this;
    const grown = Buffer.allocUnsafeSlow(2 * (this.#bytes.length + size));
    this.#bytes.copy(grown, grown.length - length, this.#at);
    this.#at = grown.length - length;
    this.#bytes = grown;
    this.#view = viewOf(grown);
  }
}

function viewOf({ buffer, byteOffset, length }: Buffer): DataView {
  return new DataView(buffer, byteOffset, length);
}

/** The value of a hex digit, by its character. */
function nibble(code: number): number {
  return code < 0x3a ? code & 0xf : (code & 0xf) + 9;
}

/** A time in whole nanoseconds, in two halves. @param seconds - at most 2^32 @param nanoseconds - below 10^9 */
export function nanosecondHalves(seconds: number, nanoseconds: number): { high: number; low: number } {
  // A billion times the upper and the lower half of the seconds: neither product is past what a number has exactly.
  const upper = (seconds >>> 16) * 1e9;
  const lower = (seconds & 0xffff) * 1e9 + nanoseconds;
  const sum = (upper % 0x1_0000) * 0x1_0000 + lower;
  return { high: Math.floor(upper / 0x1_0000) + Math.floor(sum / TWO_TO_32), low: sum % TWO_TO_32 };
}
