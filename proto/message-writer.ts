/** What follows a tag, by the number that says so. */
const VARINT = 0;
const EIGHT_BYTES = 1;
const FOUR_BYTES = 5;
const LENGTH = 2;

/** Bytes of a varint of 64 bits, at most. */
const VARINT_BYTES = 10;

/** Bytes that UTF-8 takes for one UTF-16 unit, at most. */
const UNIT_BYTES = 3;

/** Units up to which a text is written sooner here than by a call that leaves JavaScript. */
const SHORT = 48;

/** Memory that is kept between messages, at most: more than any answer but the largest takes. */
const KEPT_BYTES = 1024 * 1024;

/** Writes the fields of a message of Protocol Buffers one after the other, into memory that it keeps. */
export class MessageWriter {
  #bytes = Buffer.allocUnsafeSlow(4096);
  #end = 0;

  /** @param value whole, from 0 to 2^53 - 1 */
  varint(field: number, value: number): void {
    this.#tag(field, VARINT);
    this.bareVarint(value);
  }

  double(field: number, value: number): void {
    this.#tag(field, EIGHT_BYTES);
    this.#reserve(8);
    this.#end = this.#bytes.writeDoubleLE(value, this.#end);
  }

  float(field: number, value: number): void {
    this.#tag(field, FOUR_BYTES);
    this.bareFloat(value);
  }

  string(field: number, text: string): void {
    const start = this.begin(field);
    this.#reserve(UNIT_BYTES * text.length);
    if (text.length > SHORT || !this.#ascii(text)) this.#end += this.#bytes.write(text, this.#end);
    this.end(start);
  }

  /** Writes a text whose bytes are its units. @returns whether it is one */
  #ascii(text: string): boolean {
    const bytes: Uint8Array = this.#bytes;
    for (let index = 0; index < text.length; index++) {
      const unit = text.charCodeAt(index);
      if (unit > 0x7f) return false;
      bytes[this.#end + index] = unit;
    }
    this.#end += text.length;
    return true;
  }

  bytes(field: number, bytes: Uint8Array): void {
    const start = this.begin(field);
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#end);
    this.#end += bytes.length;
    this.end(start);
  }

  /** Begins a message within the message, or values that are packed; {@link end} follows, with the result. */
  begin(field: number): number {
    this.#tag(field, LENGTH);
    this.#reserve(1);
    // One byte holds the length of most.
    return ++this.#end;
  }

  end(start: number): void {
    const length = this.#end - start;
    let room = 1;
    for (let rest = length; rest >= 0x80; rest = Math.floor(rest / 0x80)) room++;
    if (room > 1) {
      this.#reserve(room);
      this.#bytes.copyWithin(start + room - 1, start, this.#end);
    }
    this.#end = start - 1;
    this.bareVarint(length);
    this.#end += length;
  }

  /** One of the values that are packed. */
  bareVarint(value: number): void {
    this.#reserve(VARINT_BYTES);
    let rest = value;
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) this.#bytes[this.#end++] = (rest % 0x80) | 0x80;
    this.#bytes[this.#end++] = rest;
  }

  /** One of the values that are packed. */
  bareFloat(value: number): void {
    this.#reserve(4);
    this.#end = this.#bytes.writeFloatLE(value, this.#end);
  }

  /** The message, in memory of its own; the next one begins. */
  take(): Buffer {
    const message = Buffer.from(this.#bytes.subarray(0, this.#end));
    this.#end = 0;
    if (this.#bytes.length > KEPT_BYTES) this.#bytes = Buffer.allocUnsafeSlow(4096);
    return message;
  }

  /** Forgets what was written of a message. */
  clear(): void {
    this.#end = 0;
  }

  #tag(field: number, kind: number): void {
    this.bareVarint(8 * field + kind);
  }

  #reserve(bytes: number): void {
    if (this.#end + bytes <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(2 * (this.#end + bytes));
    this.#bytes.copy(larger, 0, 0, this.#end);
    this.#bytes = larger;
  }
}
