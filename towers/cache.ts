import { createHash, randomUUID } from 'node:crypto';
import { chmod, copyFile, link, mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { MANIFEST_FILE } from './directory.ts';
import { diskError } from './disk.ts';
import { hashFile } from './hash.ts';
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
 * - `towers/NAME-KEY/`: hard links to blobs, and `tower.json`; it appears complete or not at all;
 * - `downloads/KEY/`: parts of what is being fetched, and the lock of who fetches it;
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

  /** The directory of a tower that is here, by the canonical form of its reference. */
  async find(reference: string): Promise<string | undefined> {
    const key = keyOf(reference);
    const name = (await this.#towers()).find((each) => each.endsWith(`-${key}`));
    return name === undefined ? undefined : join(this.root, 'towers', name);
  }

  /** All towers that are here. */
  async list(): Promise<string[]> {
    return (await this.#towers()).map((name) => join(this.root, 'towers', name));
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

  async hasBlob(sha256: string): Promise<boolean> {
    return stat(this.blob(sha256)).then(
      () => true,
      () => false,
    );
  }

  /** Takes a file in, by renaming it. @returns its sha256 */
  async adopt(path: string): Promise<string> {
    const sha256 = await hashFile(path);
    await mkdir(join(this.root, 'blobs'), { recursive: true });
    await chmod(path, 0o444);
    await rename(path, this.blob(sha256));
    return sha256;
  }

  /** Makes a tower's directory out of blobs. @returns its path */
  async assemble(reference: string, manifest: TowerManifest): Promise<string> {
    const towers = join(this.root, 'towers');
    const draft = join(towers, `.${randomUUID()}`);
    const directory = join(towers, `${manifest.name}-${keyOf(reference)}`);
    try {
      await mkdir(draft, { recursive: true });
      for (const [path, sha256] of Object.entries(manifest.files)) {
        const target = join(draft, path);
        await mkdir(dirname(target), { recursive: true });
        // Some file systems know no hard links.
        await link(this.blob(sha256), target).catch(() => copyFile(this.blob(sha256), target));
      }
      await writeFile(join(draft, MANIFEST_FILE), `${JSON.stringify(manifest, undefined, 2)}\n`);
      const old = await this.find(reference);
      if (old !== undefined) await rm(old, { recursive: true, force: true });
      await rename(draft, directory);
    } catch (error) {
      await rm(draft, { recursive: true, force: true });
      throw error;
    }
    return directory;
  }

  async #towers(): Promise<string[]> {
    try {
      const names = await readdir(join(this.root, 'towers'));
      return names.filter((name) => !name.startsWith('.')).sort();
    } catch {
      return [];
    }
  }
}

/** Names a reference in file names. */
function keyOf(reference: string): string {
  return createHash('sha256').update(reference).digest('hex').slice(0, 12);
}
