import { hash, randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';

/** What every key begins with, so that people and scanners of repositories know what they have found. */
export const KEY_PREFIX = 'sn_';

/** Random bytes of a key: 256 bits can't be guessed, so that a fast hash of them is enough. */
const SECRET_BYTES = 32;
/** Digits of the secret: as many as 256 bits need in base 62. */
const SECRET_DIGITS = 43;
/** Digits of the id: 71 random bits, so that no two keys of a file share one. */
const ID_DIGITS = 12;
/** Digits of the checksum: as many as 32 bits need in base 62. */
const CHECK_DIGITS = 6;

const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const SHAPE = new RegExp(
  `^${KEY_PREFIX}(?<id>[0-9A-Za-z]{${ID_DIGITS}})_[0-9A-Za-z]{${SECRET_DIGITS}}(?<check>[0-9A-Za-z]{${CHECK_DIGITS}})$`,
);

/** Names a key; it is no secret. */
export const KEY_ID = new RegExp(`^[0-9A-Za-z]{${ID_DIGITS}}$`);

/** A key that was just made: the one moment at which its text is known here. */
export interface NewKey {
  id: string;
  /** `sn_ID_SECRET`, whose last digits are a checksum. */
  text: string;
}

/** What is known of a text that has the form of a key. */
export interface PresentedKey {
  id: string;
  /** SHA-256 of the whole text. */
  hash: Buffer;
}

/** Makes a key from random bits of the system. */
export function makeKey(): NewKey {
  const id = base62(randomBytes(16), ID_DIGITS);
  const body = `${KEY_PREFIX}${id}_${base62(randomBytes(SECRET_BYTES), SECRET_DIGITS)}`;
  return { id, text: body + checksum(body) };
}

/** Reads a key; `undefined` for what no `makeKey` has made: most mistakes and guesses end here, without a hash. */
export function readKey(text: string): PresentedKey | undefined {
  const groups = SHAPE.exec(text)?.groups;
  if (!groups || checksum(text.slice(0, -CHECK_DIGITS)) !== groups['check']) return undefined;
  return { id: groups['id']!, hash: hashOf(text) };
}

/** What is stored of a key. */
export function hashOf(text: string): Buffer {
  return hash('sha256', text, 'buffer');
}

/** Every call with a key takes one: numbers, for BigInt takes longer than the hash. */
function checksum(body: string): string {
  let rest = crc32(body);
  let text = '';
  while (text.length < CHECK_DIGITS) {
    text = DIGITS[rest % 62]! + text;
    rest = Math.floor(rest / 62);
  }
  return text;
}

/** The last `digits` digits of a number in base 62. */
function base62(bytes: Buffer, digits: number): string {
  let rest = BigInt(`0x${bytes.toString('hex')}`);
  let text = '';
  while (text.length < digits) {
    text = DIGITS[Number(rest % 62n)]! + text;
    rest /= 62n;
  }
  return text;
}
