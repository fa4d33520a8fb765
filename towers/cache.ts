import { hash, randomUUID } from 'node:crypto';
import { chmod, copyFile, link, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import * as z from 'zod';
import { MANIFEST_FILE } from './directory.ts';
import { diskError } from './disk.ts';
import { hashFile } from './hash.ts';
import { readJson, writeWhole } from './json.ts';
import { withLock } from './lock.ts';
import type { TowerManifest } from './manifest.ts';

/** Where towers are kept when nobody says. */
export function defaultCacheDir(env: NodeJS.ProcessEnv = process.env): string {
  if (env['SCALINGNOTE_CACHE']) return env['SCALINGNOTE_CACHE'];
  return join(env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'scalingnote');
}

/**
 * Fetched towers on disk:
 *
 * - `blobs/SHA256`: each file once, read only;
 * - `towers/NAME-HASH/`: hard links to blobs, and `tower.json`; it appears complete or not at all;
 * - `references/KEY.json`: which directory a reference has led to;
 * - `downloads/KEY/`: parts of what is being fetched, beside it the lock of who fetches it;
 * - `verified/`: what has been hashed already (see `checkFiles`).
 *
 * Links are hard because ONNX Runtime looks for external data beside the file that a symbolic link leads to.
 */
export class TowerCache {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  get stamps(): string {
    return join(this.root, 'verified');
  }

  /** The directory that a reference, in canonical form, has led to. It may be damaged. */
  async find(reference: string): Promise<string | undefined> {
    const entry = await this.#readReference(`${keyOf(reference)}.json`);
    return entry?.directory;
  }

  /** All towers that have been fetched, by reference. */
  async list(): Promise<{ reference: string; directory: string }[]> {
    const names = await readdir(join(this.root, 'references')).catch(() => []);
    const entries = await Promise.all(
      names.filter((name) => name.endsWith('.json')).map((name) => this.#readReference(name)),
    );
    return entries
      .filter((entry) => entry !== undefined)
      .sort((a, b) => (a.reference < b.reference ? -1 : 1));
  }

  /**
   * Runs what fetches a tower, in one process at a time.
   *
   * @param fetch gets a folder of its own for parts, which outlives a failure
   */
  async fetching<T>(reference: string, fetch: (parts: string) => Promise<T>, onWait: () => void): Promise<T> {
    const parts = join(this.root, 'downloads', keyOf(reference));
    try {
      await mkdir(parts, { recursive: true });
      return await withLock(
        `${parts}.lock`,
        async () => {
          await mkdir(parts, { recursive: true });
          const value = await fetch(parts);
          await rm(parts, { recursive: true, force: true });
          return value;
        },
        { onWait },
      );
    } catch (error) {
      throw diskError(error, this.root);
    }
  }

  /** Path of a file by its contents. */
  blob(sha256: string): string {
    return join(this.root, 'blobs', sha256);
  }

  /** Whether a file is here, undamaged. */
  async hasBlob(sha256: string): Promise<boolean> {
    return (await hashFile(this.blob(sha256)).catch(() => undefined)) === sha256;
  }

  /** Takes a file in, by renaming it. @returns its sha256 */
  async adopt(path: string): Promise<string> {
    const sha256 = await hashFile(path);
    await mkdir(join(this.root, 'blobs'), { recursive: true });
    await chmod(path, 0o444);
    await rename(path, this.blob(sha256));
    return sha256;
  }

  /** Gives a folder files of the cache. @param files path in the folder → sha256 */
  async link(files: Readonly<Record<string, string>>, folder: string): Promise<void> {
    await mkdir(folder, { recursive: true });
    for (const [path, sha256] of Object.entries(files)) {
      const target = join(folder, path);
      await mkdir(dirname(target), { recursive: true });
      // Some file systems know no hard links.
      await link(this.blob(sha256), target).catch(() => copyFile(this.blob(sha256), target));
    }
  }

  /** Makes a tower's directory out of blobs, and has the reference lead to it. @returns its path */
  async assemble(reference: string, manifest: TowerManifest): Promise<string> {
    const text = `${JSON.stringify(manifest, undefined, 2)}\n`;
    const name = `${manifest.name}-${hash('sha256', text).slice(0, 12)}`;
    const directory = join(this.root, 'towers', name);
    const draft = join(this.root, 'towers', `.${randomUUID()}`);
    try {
      await this.link(manifest.files, draft);
      await writeFile(join(draft, MANIFEST_FILE), text);
      await rm(directory, { recursive: true, force: true });
      await rename(draft, directory);
    } finally {
      await rm(draft, { recursive: true, force: true });
    }
    const entry = join(this.root, 'references', `${keyOf(reference)}.json`);
    await writeWhole(entry, JSON.stringify({ reference, directory: name }));
    return directory;
  }

  async #readReference(file: string): Promise<{ reference: string; directory: string } | undefined> {
    const entry = await readJson(join(this.root, 'references', file), Entry);
    return entry && { ...entry, directory: join(this.root, 'towers', entry.directory) };
  }
}

const Entry = z.object({ reference: z.string(), directory: z.string() });

/** Names a reference in file names. */
function keyOf(reference: string): string {
  return hash('sha256', reference).slice(0, 12);
}
