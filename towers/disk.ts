import { statfs } from 'node:fs/promises';
import { TowerError } from './errors.ts';

/** Turns the file system's error for a full disk into one that says what to do. */
export function diskError(error: unknown, directory: string): unknown {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return error;
  return full(directory, 'there is no room left', error);
}

/**
 * Refuses a file that does not fit before the first byte of it is fetched.
 *
 * @throws {TowerError} `DISK_FULL`
 */
export async function requireRoom(directory: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(directory);
  const free = bavail * bsize;
  if (bytes > free) throw full(directory, `${megabytes(bytes)} are needed, ${megabytes(free)} are free`);
}

function megabytes(bytes: number): string {
  return `${Math.ceil(bytes / 1e6)} MB`;
}

function full(directory: string, why: string, cause?: unknown): TowerError {
  return new TowerError(
    'DISK_FULL',
    `can't write to ${directory}: ${why}; make room, or put the cache elsewhere with SCALINGNOTE_CACHE`,
    { metadata: { directory }, cause },
  );
}
