import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';

/** What a file must be. */
export interface Integrity {
  algorithm: 'sha256' | 'sha384' | 'sha512';
  /** Lower-case hex. */
  digest: string;
}

/** Hex digest of a file. */
export async function hashFile(path: string, algorithm: Integrity['algorithm'] = 'sha256'): Promise<string> {
  const hash = createHash(algorithm);
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash);
  return hash.digest('hex');
}

/**
 * The strongest hash of a Subresource Integrity string (`sha512-<base64>`, several apart by white space); undefined
 * where it has none that is safe.
 */
export function parseIntegrity(text: string): Integrity | undefined {
  for (const algorithm of ['sha512', 'sha384', 'sha256'] as const) {
    const entry = text.split(/\s+/).find((each) => each.startsWith(`${algorithm}-`));
    const base64 = entry?.slice(algorithm.length + 1).split('?', 1)[0];
    if (base64 !== undefined) return { algorithm, digest: Buffer.from(base64, 'base64').toString('hex') };
  }
  return undefined;
}
