import type { BytesInFlight } from './bytes-in-flight.ts';

/** Before each message of gRPC: one byte that says whether it is compressed, and four of its length. */
const PREFIX_BYTES = 5;

/**
 * What a byte of gzip or deflate can become at most (https://zlib.net/zlib_tech.html). So memory for a compressed
 * message is known before it is inflated.
 */
export const MAX_INFLATION = 1032;

/**
 * Follows the messages of one call as they come in, and counts what each will take in memory from the moment when its
 * length is known: before the bytes have come, and before they are inflated. A message counts until the next one
 * begins, or the call ends.
 */
export class MessageMeter {
  readonly #bytes: BytesInFlight;
  readonly #maxReceiveBytes: number;
  /** How much of a prefix has come, and what it says so far. */
  #prefixed = 0;
  #isCompressed = false;
  #length = 0;
  /** Bytes of the message that have not come. */
  #missing = 0;
  #held = 0;
  /** What of that is for inflation. */
  #inflated = 0;
  #messages = 0;

  /** @param maxReceiveBytes what inflation stops at */
  constructor(bytes: BytesInFlight, maxReceiveBytes: number) {
    this.#bytes = bytes;
    this.#maxReceiveBytes = maxReceiveBytes;
  }

  /** Whether a message has come as a whole. */
  get isWhole(): boolean {
    return this.#messages > 0;
  }

  /** @returns whether there is room for the messages that begin in these bytes */
  read(chunk: Buffer): boolean {
    for (let at = 0; at < chunk.length;) {
      if (this.#missing > 0) {
        const part = Math.min(this.#missing, chunk.length - at);
        this.#missing -= part;
        at += part;
        if (this.#missing === 0) this.#messages++;
        continue;
      }
      const byte = chunk[at++]!;
      if (this.#prefixed++ === 0) {
        this.#isCompressed = byte !== 0;
        this.#length = 0;
        continue;
      }
      this.#length = this.#length * 256 + byte;
      if (this.#prefixed < PREFIX_BYTES) continue;
      this.#prefixed = 0;
      if (!this.#begin(this.#isCompressed, this.#length)) return false;
    }
    return true;
  }

  /** The message has become so many bytes, and counts as these, no more as what it might have become. */
  inflated(bytes: number): void {
    if (bytes >= this.#inflated) return;
    this.#bytes.give(this.#inflated - bytes);
    this.#held -= this.#inflated - bytes;
    this.#inflated = bytes;
  }

  /** Counts nothing any more. */
  end(): void {
    this.#bytes.give(this.#held);
    this.#held = 0;
    this.#inflated = 0;
  }

  #begin(isCompressed: boolean, length: number): boolean {
    this.end();
    this.#missing = length;
    if (length === 0) this.#messages++;
    // What is larger is refused by whoever reads it, before it comes.
    if (length > this.#maxReceiveBytes) return true;
    const inflated = isCompressed ? Math.min(this.#maxReceiveBytes, length * MAX_INFLATION) : 0;
    if (!this.#bytes.take(length + inflated)) return false;
    this.#held = length + inflated;
    this.#inflated = inflated;
    return true;
  }
}
