/** A caller's string as it is stored: UTF-8, because the driver cuts a bound string at its first NUL. */
export function bytes(text: string): Uint8Array {
  return Buffer.from(text);
}

/** The reverse of {@link bytes}. */
export function string(utf8: Uint8Array): string {
  return Buffer.from(utf8.buffer, utf8.byteOffset, utf8.byteLength).toString();
}
