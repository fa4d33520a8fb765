import type { Header } from './case.ts';

/** A whole number with a prefix of so many bits (RFC 7541, section 5.1). */
export function integer(value: number, prefix: number, flags: number): Buffer {
  const most = 2 ** prefix - 1;
  if (value < most) return Buffer.from([flags | value]);
  const bytes = [flags | most];
  let rest = value - most;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  bytes.push(rest);
  return Buffer.from(bytes);
}

/** A string without HPACK's code. Each character is a byte. */
export function string(value: string): Buffer {
  const bytes = Buffer.from(value, 'latin1');
  return Buffer.concat([integer(bytes.length, 7, 0), bytes]);
}

/** A field that nobody has to remember. */
export function literal([name, value]: Header): Buffer {
  return Buffer.concat([Buffer.from([0]), string(name), string(value)]);
}

/** A header block that refers to nothing. */
export function block(headers: readonly Header[]): Buffer {
  return Buffer.concat(headers.map(literal));
}

/** Statuses of the static table, by their place. */
const INDEXED: Readonly<Record<number, string>> = {
  0x88: '200',
  0x89: '204',
  0x8a: '206',
  0x8b: '304',
  0x8c: '400',
  0x8d: '404',
  0x8e: '500',
};
/** HPACK's code of the digits: five bits for those below 3, six for the others. */
const DIGITS = new Map(
  ['00000', '00001', '00010', '011001', '011010', '011011', '011100', '011101', '011110', '011111'].map(
    (code, digit) => [code, String(digit)],
  ),
);

/** The `:status` of a block of an answer, which stands first; `undefined` where there is none. */
export function httpStatusOf(headers: Buffer): string | undefined {
  let at = 0;
  // Sizes of the dynamic table may stand before.
  while ((headers[at]! & 0xe0) === 0x20) at++;
  const first = headers[at];
  if (first === undefined) return undefined;
  if (INDEXED[first]) return INDEXED[first];
  // A literal whose name is one of those places (8 to 14), remembered or not.
  const index = (first & 0xc0) === 0x40 ? first & 0x3f : first & 0x0f;
  if (index < 8 || index > 14) return undefined;
  const length = headers[at + 1]!;
  const value = headers.subarray(at + 2, at + 2 + (length & 0x7f));
  if ((length & 0x80) === 0) return value.toString('latin1');
  let bits = '';
  for (const byte of value) bits += byte.toString(2).padStart(8, '0');
  let digits = '';
  for (let from = 0; digits.length < 3;) {
    const digit = DIGITS.get(bits.slice(from, from + 5)) ?? DIGITS.get(bits.slice(from, from + 6));
    if (digit === undefined) return undefined;
    digits += digit;
    from += digit < '3' ? 5 : 6;
  }
  return digits;
}
