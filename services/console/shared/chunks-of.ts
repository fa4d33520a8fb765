/** Bytes of a file that one `POST /api/ingests/:id/chunks` takes at most. */
export const MAX_CHUNK_BYTES = 512 * 1024;

/** Cuts a stream into chunks of one size, the last one shorter. It reads on when the caller asks for the next chunk. */
export async function* chunksOf(
  stream: ReadableStream<Uint8Array>,
  size: number,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
  const reader = stream.getReader();
  let chunk = new Uint8Array(size);
  let filled = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      for (let start = 0; start < value.length;) {
        const part = value.subarray(start, start + size - filled);
        chunk.set(part, filled);
        filled += part.length;
        start += part.length;
        if (filled < size) continue;
        yield chunk;
        chunk = new Uint8Array(size);
        filled = 0;
      }
    }
    if (filled > 0) yield chunk.subarray(0, filled);
  } finally {
    // A caller that stops early closes the file.
    await reader.cancel().catch(() => {});
  }
}
