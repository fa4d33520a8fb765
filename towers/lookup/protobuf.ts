import { LookupError } from './errors.ts';

/** What takes a length before it. */
const DELIMITED = 2;

/** A field of a message, as it comes over the wire. */
export interface Field {
  number: number;
  /** Of a number; fixed widths are passed over. */
  value: number;
  /** Of what has a length. */
  bytes: Uint8Array | undefined;
}

/** The fields of a message, in their order. @throws {LookupError} where it ends too early, or is none */
export function* fields(message: Uint8Array): Generator<Field, void, undefined> {
  const at = { at: 0 };
  while (at.at < message.length) {
    const key = varint(message, at);
    const [number, wire] = [Math.floor(key / 8), key % 8];
    if (wire === DELIMITED) {
      const length = varint(message, at);
      const end = at.at + length;
      if (end > message.length) throw new LookupError('the file ends too early; fetch it again');
      yield { number, value: 0, bytes: message.subarray(at.at, end) };
      at.at = end;
    } else if (wire === 0) {
      yield { number, value: varint(message, at), bytes: undefined };
    } else if (wire === 1 || wire === 5) {
      at.at += wire === 1 ? 8 : 4;
    } else {
      throw new LookupError('the file holds no message of Protocol Buffers');
    }
  }
}

/** Numbers one after the other. @throws {LookupError} where the last one ends too early */
export function packed(bytes: Uint8Array): number[] {
  const found: number[] = [];
  const at = { at: 0 };
  while (at.at < bytes.length) found.push(varint(bytes, at));
  return found;
}

/** A number of Protocol Buffers. What is past 2^53 is none that we look at. */
function varint(bytes: Uint8Array, at: { at: number }): number {
  let value = 0;
  for (let factor = 1; ; factor *= 128) {
    const byte = bytes[at.at++];
    if (byte === undefined) throw new LookupError('the file ends too early; fetch it again');
    value += (byte & 127) * factor;
    if (byte < 128) return value;
  }
}
