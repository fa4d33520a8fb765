import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { defaultCacheDir, TowerCache } from './cache.ts';
import { checkFiles, MANIFEST_FILE, readManifest, type FileProblem } from './directory.ts';
import { TowerError } from './errors.ts';
import { KNOWN_TOWERS } from './known.ts';
import type { TowerManifest, TowerRole } from './manifest.ts';
import type { CacheOptions } from './options.ts';
import { parseReference } from './reference.ts';

/** A tower that can be opened: known by a short name, or fetched before. */
export interface TowerEntry {
  /** What {@link openTower} takes; a short name where there is one. */
  name: string;
  role: TowerRole;
  /** Where it comes from. */
  reference: string;
  /** Whether it is on this machine. */
  cached: boolean;
  /** Where it is, if it is here. */
  directory: string | undefined;
  /** Size of its files, if it is here. */
  bytes: number | undefined;
  /** Of the space it belongs to; undefined where that is not known before it is here. */
  fingerprint: string | undefined;
}

/** Known towers first, then all others in the cache. */
export async function listTowers({
  cacheDir = defaultCacheDir(),
}: Pick<CacheOptions, 'cacheDir'> = {}): Promise<TowerEntry[]> {
  const cache = new TowerCache(cacheDir);
  const entries: TowerEntry[] = [];
  const seen = new Set<string>();
  for (const { name, role, fingerprint } of KNOWN_TOWERS) {
    const { canonical, location } = parseReference(name);
    seen.add(canonical);
    const directory = location.scheme === 'file' ? location.directory : await cache.find(canonical);
    const entry = directory === undefined ? undefined : await entryOf(name, canonical, directory);
    const absent = { cached: false, directory: undefined, bytes: undefined };
    entries.push(entry ?? { name, role, reference: canonical, ...absent, fingerprint });
  }
  for (const { reference, directory } of await cache.list()) {
    if (seen.has(reference)) continue;
    const entry = await entryOf(reference, reference, directory);
    if (entry !== undefined) entries.push(entry);
  }
  return entries;
}

/**
 * The directory of a tower on this machine, damaged or not, without asking anybody for it.
 *
 * @throws {TowerError} `TOWER_REFERENCE_INVALID`, `TOWER_NOT_FOUND` where it was never fetched
 */
export async function findTower(
  reference: string,
  { cacheDir = defaultCacheDir() }: Pick<CacheOptions, 'cacheDir'> = {},
): Promise<string> {
  const { canonical, location } = parseReference(reference);
  if (location.scheme === 'file' && existsSync(join(location.directory, MANIFEST_FILE))) {
    return location.directory;
  }
  const directory = await new TowerCache(cacheDir).find(canonical);
  if (directory !== undefined) return directory;
  const message = `${reference} is not on this machine; fetch it with: npx scalingnote towers pull ${reference}`;
  throw new TowerError('TOWER_NOT_FOUND', message, { metadata: { reference } });
}

/** What {@link verifyTower} finds. */
export interface Verification {
  manifest: TowerManifest;
  bytes: number;
  /** Empty where all is well. */
  problems: FileProblem[];
}

/**
 * Reads every file of a tower again and compares it with the manifest.
 *
 * @throws {TowerError} `TOWER_NOT_FOUND`, `TOWER_MANIFEST_INVALID`
 */
export async function verifyTower(directory: string): Promise<Verification> {
  const manifest = await readManifest(directory);
  const problems = await checkFiles(directory, manifest);
  return { manifest, bytes: await sizeOf(directory, manifest), problems };
}

/** Undefined where there is no tower that could be opened. */
async function entryOf(name: string, reference: string, directory: string): Promise<TowerEntry | undefined> {
  try {
    const manifest = await readManifest(directory);
    const { role, space } = manifest;
    const bytes = await sizeOf(directory, manifest);
    return { name, role, reference, cached: true, directory, bytes, fingerprint: space.fingerprint };
  } catch (error) {
    if (error instanceof TowerError) return undefined;
    throw error;
  }
}

async function sizeOf(directory: string, manifest: TowerManifest): Promise<number> {
  const sizes = await Promise.all(
    Object.keys(manifest.files).map(
      async (path) => (await stat(join(directory, path)).catch(() => undefined))?.size ?? 0,
    ),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}
