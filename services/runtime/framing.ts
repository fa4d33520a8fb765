/** Bytes of the fixed wire types (https://protobuf.dev/programming-guides/encoding): 64 bits and 32 bits. */
const FIXED: Readonly<Record<number, number>> = { 1: 8, 5: 4 };

const VARINT = 0;
const LENGTH_DELIMITED = 2;

/** Most bytes of a varint. */
const VARINT_BYTES = 10;

/**
 * Checks that a message is a row of whole fields. The decoder takes a string that ends early for a shorter one, and any
 * wire type for that of the field. Fields inside of fields are left to the decoder.
 *
 * @throws {Error} that says where the bytes are none of that
 */
export function checkFraming(bytes: Uint8Array): void {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let index = 0; index < VARINT_BYTES; index++) {
      const byte = bytes[at++];
      if (byte === undefined) break;
      value += (byte & 0x7f) * 2 ** (7 * index);
      if (byte < 0x80) return value;
    }
    throw new Error(`the number that ends at byte ${at} does not end`);
  };
  while (at < bytes.length) {
    const start = at;
    const tag = varint();
    const type = tag % 8;
    if (tag < 8) throw new Error(`byte ${start} begins field 0, which no message has`);
    if (type === VARINT) varint();
    else if (type === LENGTH_DELIMITED) {
      const length = varint();
      at += length;
    } else if (FIXED[type] !== undefined) at += FIXED[type];
    else throw new Error(`byte ${start} begins a field of wire type ${type}, which no message has`);
    if (at > bytes.length) throw new Error(`the field at byte ${start} is longer than the message`);
  }
}
