import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { defaultCacheDir } from '../towers/cache.ts';
import type { Tokens, Tower } from '../towers/tower.ts';

/** Vectors that are written at a time: an interruption costs no more than these. */
const CHUNK = 4096;

/**
 * Encodes inputs, or takes their vectors from the cache where the same tower has encoded the same inputs before. A run
 * that was broken off goes on where it was.
 *
 * @param cacheDir - @default where towers are kept
 * @returns rows of the tower's dimensions
 */
export async function encodeCached(
  tower: Tower,
  inputs: readonly Tokens[],
  options: {
    cacheDir?: string | undefined;
    onProgress?: ((done: number, total: number) => void) | undefined;
  } = {},
): Promise<Float32Array> {
  const { dimensions } = tower.manifest;
  const folder = join(options.cacheDir ?? defaultCacheDir(), 'vectors');
  await mkdir(folder, { recursive: true });
  const complete = join(folder, `${keyOf(tower, inputs)}.f32`);
  const vectors = new Float32Array(inputs.length * dimensions);
  const bytes = Buffer.from(vectors.buffer);
  const rowBytes = dimensions * Float32Array.BYTES_PER_ELEMENT;
  if (await exists(complete)) {
    await readInto(complete, bytes);
    return vectors;
  }
  const part = `${complete}.part`;
  const file = await open(part, constants.O_RDWR | constants.O_CREAT);
  try {
    const { size } = await file.stat();
    const chunks = Math.min(Math.floor(size / (CHUNK * rowBytes)), Math.floor(inputs.length / CHUNK));
    let done = chunks * CHUNK;
    await file.read(bytes, 0, done * rowBytes, 0);
    for (; done < inputs.length; done += CHUNK) {
      const chunk = inputs.slice(done, done + CHUNK);
      const base = done;
      const encoded = await tower.encodeAll(chunk, {
        onProgress: (count) => options.onProgress?.(base + count, inputs.length),
      });
      vectors.set(encoded, done * dimensions);
      await file.write(bytes, done * rowBytes, chunk.length * rowBytes, done * rowBytes);
    }
    await file.truncate(bytes.length);
    await file.sync();
  } finally {
    await file.close();
  }
  try {
    await rename(part, complete);
  } catch (error) {
    // Another process was at the same vectors and was done first.
    if (!(await exists(complete))) throw error;
  }
  return vectors;
}

/** Names what was encoded by what: weights and whatever else moves the vector, and the token ids of each input. */
function keyOf(tower: Tower, inputs: readonly Tokens[]): string {
  const { files, pooling, normalize, dimensions } = tower.manifest;
  const hash = createHash('sha256').update(JSON.stringify([files, pooling, normalize, dimensions]));
  for (const { ids } of inputs) hash.update(Uint32Array.from([ids.length, ...ids]));
  return hash.digest('hex').slice(0, 32);
}

async function readInto(path: string, bytes: Buffer): Promise<void> {
  const file = await open(path);
  try {
    // One read returns 2 GiB at the most.
    for (let at = 0; at < bytes.length;) {
      const { bytesRead } = await file.read(bytes, at, Math.min(2 ** 30, bytes.length - at), at);
      if (bytesRead === 0) break;
      at += bytesRead;
    }
  } finally {
    await file.close();
  }
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
