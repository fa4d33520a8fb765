import { createHash } from 'node:crypto';
import { closeSync, constants, openSync } from 'node:fs';
import { mkdir, open, rename, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { defaultCacheDir } from '../towers/cache.ts';
import type { Tokens, Tower } from '../towers/tower.ts';
import { readFully } from './read-fully.ts';

/** Vectors that are written at a time. An interruption costs no more than these. */
const CHUNK = 4096;

/** Where vectors are cached, and who hears of progress. */
export interface CacheSettings {
  /** @default the cache of towers */
  cacheDir?: string | undefined;
  onProgress?: ((done: number, total: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Encodes inputs, or takes their vectors from the cache where the same tower has encoded the same inputs before. A run
 * that was broken off goes on where it was.
 *
 * @returns rows of the tower's dimensions
 */
export async function encodeCached(
  tower: Tower,
  inputs: readonly Tokens[],
  settings: CacheSettings = {},
): Promise<Float32Array> {
  const file = await encodeToFile(tower, inputs, settings);
  try {
    return file.all();
  } finally {
    file.close();
  }
}

/** The same, left on disk: for more vectors than memory holds. Close it when done. */
export async function encodeToFile(
  tower: Tower,
  inputs: readonly Tokens[],
  settings: CacheSettings = {},
): Promise<VectorFile> {
  const { dimensions } = tower.manifest;
  const folder = join(settings.cacheDir ?? defaultCacheDir(), 'vectors');
  await mkdir(folder, { recursive: true });
  const complete = join(folder, `${keyOf(tower, inputs)}.f32`);
  if (!(await exists(complete))) {
    const part = `${complete}.part`;
    const file = await open(part, constants.O_RDWR | constants.O_CREAT);
    try {
      await encodeInto(file, tower, inputs, settings);
    } finally {
      await file.close();
    }
    try {
      await rename(part, complete);
    } catch (error) {
      // Another process was at the same vectors and was done first.
      if (!(await exists(complete))) throw error;
    }
  }
  return new VectorFile(complete, inputs.length, dimensions);
}

/** Rows of float32 in a file, without a header. */
export class VectorFile {
  readonly rows: number;
  readonly dimensions: number;
  readonly #descriptor: number;

  constructor(path: string, rows: number, dimensions: number) {
    this.rows = rows;
    this.dimensions = dimensions;
    this.#descriptor = openSync(path, 'r');
  }

  /** Some rows, one after the other, in the order that is asked for. */
  read(rows: readonly number[]): Float32Array {
    const { dimensions } = this;
    const out = new Float32Array(rows.length * dimensions);
    const bytes = dimensions * Float32Array.BYTES_PER_ELEMENT;
    for (const [at, row] of rows.entries()) {
      readFully(this.#descriptor, out.subarray(at * dimensions, (at + 1) * dimensions), row * bytes);
    }
    return out;
  }

  /** The first row that has a number which is not finite. */
  firstBroken(): number | undefined {
    for (let start = 0; start < this.rows; start += CHUNK) {
      const rows = Array.from({ length: Math.min(CHUNK, this.rows - start) }, (_, i) => start + i);
      const at = this.read(rows).findIndex((x) => !Number.isFinite(x));
      if (at >= 0) return start + Math.floor(at / this.dimensions);
    }
    return undefined;
  }

  all(): Float32Array {
    const out = new Float32Array(this.rows * this.dimensions);
    readFully(this.#descriptor, out);
    return out;
  }

  close(): void {
    closeSync(this.#descriptor);
  }
}

async function encodeInto(
  file: FileHandle,
  tower: Tower,
  inputs: readonly Tokens[],
  { onProgress, signal }: CacheSettings,
): Promise<void> {
  const rowBytes = tower.manifest.dimensions * Float32Array.BYTES_PER_ELEMENT;
  const { size } = await file.stat();
  const chunks = Math.min(Math.floor(size / (CHUNK * rowBytes)), Math.floor(inputs.length / CHUNK));
  for (let done = chunks * CHUNK; done < inputs.length; done += CHUNK) {
    const chunk = inputs.slice(done, done + CHUNK);
    const base = done;
    const vectors = await tower.encodeAll(chunk, {
      onProgress: (count) => onProgress?.(base + count, inputs.length),
      signal,
    });
    const bytes = Buffer.from(vectors.buffer, vectors.byteOffset, vectors.byteLength);
    await file.write(bytes, 0, bytes.length, done * rowBytes);
  }
  await file.truncate(inputs.length * rowBytes);
  await file.sync();
}

/** The cache key: whatever moves a vector of the tower, and the token ids of each input. */
function keyOf(tower: Tower, inputs: readonly Tokens[]): string {
  const { files, pooling, normalize, dimensions, head, space } = tower.manifest;
  // A model without files here is known by its space.
  const model = files['model.onnx'] === undefined ? [files, space.fingerprint] : [files];
  const settings = [...model, pooling, normalize, dimensions, ...(head === undefined ? [] : [head])];
  const hash = createHash('sha256').update(JSON.stringify(settings));
  for (const { ids, unpooled = 0, text } of inputs) {
    hash.update(Uint32Array.from([ids.length, ...ids, ...(unpooled === 0 ? [] : [unpooled])]));
    // Of a model elsewhere, the ids are stand-ins.
    if (text !== undefined) hash.update(`${text.length}:${text}`);
  }
  return hash.digest('hex').slice(0, 32);
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
