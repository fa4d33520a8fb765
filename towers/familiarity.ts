import { deflateRawSync, inflateRawSync } from 'node:zlib';

/** A token whose count has fewer bits, that is below 4, is hardly known: its vector is what it was before training, or nearly. */
const KNOWN_BITS = 3;

/** The largest bucket: counts of 2^254 do not occur. */
const MAX_BUCKET = 255;

/**
 * Which tokens a student's training saw, and how often: for each token id the bit length of its count, a byte each,
 * deflated (RFC 1951) and in base64. Some ten kilobytes for thirty thousand tokens.
 *
 * @param counts - by token id
 */
export function encodeFamiliarity(counts: Uint32Array): string {
  const buckets = Uint8Array.from(counts, (count) => Math.min(MAX_BUCKET, 32 - Math.clz32(count)));
  return deflateRawSync(buckets, { level: 9 }).toString('base64');
}

/** What a student knows. A small student knows what it was shown, and little else. */
export class Familiarity {
  readonly #buckets: Uint8Array;

  /** @param encoded - from {@link encodeFamiliarity}; anything else says that no token is known */
  constructor(encoded: string) {
    this.#buckets = decode(encoded);
  }

  /** Whether training saw a token often enough to have learnt it. */
  knows(token: number): boolean {
    return (this.#buckets[token] ?? 0) >= KNOWN_BITS;
  }

  /** How many of a text's tokens are hardly known. */
  unknown(tokens: readonly number[]): number {
    let unknown = 0;
    for (const token of tokens) if (!this.knows(token)) unknown++;
    return unknown;
  }
}

function decode(encoded: string): Uint8Array {
  try {
    return inflateRawSync(Buffer.from(encoded, 'base64'));
  } catch {
    return new Uint8Array(0);
  }
}
