import { createHash, hash } from 'node:crypto';
import { createReadStream, type Stats } from 'node:fs';
import { lstat, open, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { StoreError } from '../errors.ts';
import type { CollectionInfo } from '../store.ts';

/** Name of the manifest in the folder of a backup. */
export const MANIFEST_FILE = 'backup.json';

/** Raise this when an older program can't restore what this one backs up. */
const FORMAT = 1;

/** A file of a backup. */
export interface BackupFile {
  /** Path in the folder of the backup. */
  path: string;
  bytes: number;
  /** Hex digits. */
  sha256: string;
}

/** A collection as it was when it was backed up. */
export interface BackupCollection extends CollectionInfo {
  aliases: string[];
}

/** What a backup is. */
export interface BackupManifest {
  format: typeof FORMAT;
  kind: 'embedded' | 'qdrant';
  /** ISO 8601. */
  created: string;
  collections: BackupCollection[];
  files: BackupFile[];
}

/** Writes the manifest, with a hash of its own. */
export async function writeManifest(
  folder: string,
  manifest: Omit<BackupManifest, 'format' | 'created'>,
): Promise<BackupManifest> {
  const whole: BackupManifest = { format: FORMAT, created: new Date().toISOString(), ...manifest };
  const file = await open(join(folder, MANIFEST_FILE), 'wx');
  try {
    await file.writeFile(`${JSON.stringify({ manifest: whole, sha256: ownHash(whole) }, undefined, 2)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  return whole;
}

/** @throws {StoreError} `BACKUP_DAMAGED` where there is none, or it is not what was written */
export async function readManifest(folder: string): Promise<BackupManifest> {
  const path = join(folder, MANIFEST_FILE);
  let parsed: { manifest?: BackupManifest; sha256?: string } | null;
  try {
    parsed = JSON.parse(await readFile(path, 'utf8')) as typeof parsed;
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code;
    throw damaged(
      missing === undefined
        ? `${path} is not JSON`
        : `${folder} is no backup: ${path} can't be read (${missing})`,
      error,
    );
  }
  const { manifest, sha256 } = parsed ?? {};
  if (typeof manifest !== 'object' || manifest === null || sha256 !== ownHash(manifest)) {
    throw damaged(`${path} is not as it was written: its sha256 differs`);
  }
  const { format }: { format: number } = manifest;
  if (format !== FORMAT) {
    throw damaged(
      `${path} has format ${format}, and this program restores format ${String(FORMAT)}; use the version of ` +
        'scalingnote that made the backup, or a later one',
    );
  }
  const flaw = flawOf(manifest);
  if (flaw !== undefined) throw damaged(`${path}: ${flaw}`);
  return manifest;
}

/** What is wrong with a manifest that somebody else than this program wrote: its hash is no secret. */
function flawOf({ files, collections }: { files?: unknown; collections?: unknown }): string | undefined {
  if (!Array.isArray(files) || !Array.isArray(collections))
    return 'it has no list of files and of collections';
  for (const file of files as (Partial<Record<keyof BackupFile, unknown>> | null)[]) {
    const { path, bytes, sha256 } = file ?? {};
    // A name in the folder: what leads out of it, or through another folder, is no file of a backup.
    if (typeof path !== 'string' || !/^(?!\.{1,2}$)[^/\\\0]+$/.test(path)) {
      return `${JSON.stringify(path)} is no name of a file in the folder of the backup`;
    }
    if (!Number.isSafeInteger(bytes) || typeof sha256 !== 'string') return `${path} has no size or sha256`;
  }
  for (const collection of collections as (Partial<BackupCollection> | null)[]) {
    const { name, physicalName, space } = collection ?? {};
    if (
      typeof name !== 'string' ||
      typeof physicalName !== 'string' ||
      typeof space?.fingerprint !== 'string'
    ) {
      return 'a collection has no name, or no space';
    }
  }
  return undefined;
}

/** The entry of a file that is complete. */
export async function describeFile(folder: string, path: string): Promise<BackupFile> {
  const { size } = await stat(join(folder, path));
  return { path, bytes: size, sha256: await sha256Of(join(folder, path)) };
}

/**
 * Refuses what is no file: a link may lead anywhere, and a device has no end.
 *
 * @param path in the backup
 * @throws {StoreError} `BACKUP_DAMAGED`
 */
export async function requireFile(path: string, place: string): Promise<Stats> {
  const found = await lstat(place).catch((error: NodeJS.ErrnoException) => {
    throw damaged(`${path} of the backup can't be read (${error.code})`, error);
  });
  if (!found.isFile()) throw damaged(`${path} of the backup is no file`);
  return found;
}

/**
 * @param place where the file lies now
 * @throws {StoreError} `BACKUP_DAMAGED`, naming the file, where it is not what the manifest says
 */
export async function verifyFile({ path, bytes, sha256 }: BackupFile, place: string): Promise<void> {
  const found = await requireFile(path, place);
  if (found.size !== bytes) {
    throw damaged(`${path} of the backup has ${found.size} bytes, and had ${bytes} when it was made`);
  }
  if ((await sha256Of(place)) !== sha256) {
    throw damaged(`${path} of the backup is not as it was written: its sha256 differs`);
  }
}

/** Refuses a backup with vectors of another space than the one that is expected. @throws {StoreError} `SPACE_MISMATCH` */
export function checkBackupSpace({ collections }: BackupManifest, fingerprint: string | undefined): void {
  const other = collections.find(
    ({ space }) => fingerprint !== undefined && space.fingerprint !== fingerprint,
  );
  if (other === undefined) return;
  const { name, space } = other;
  throw new StoreError(
    'SPACE_MISMATCH',
    `collection "${name}" of the backup holds vectors of space ${space.fingerprint}, and space ${fingerprint} is expected; ` +
      'restore with the tower that made it, or ingest the documents again',
    { metadata: { collection: name, collection_space: space.fingerprint, tower_space: fingerprint! } },
  );
}

/** Reads in pieces, whatever the size. */
async function sha256Of(path: string): Promise<string> {
  const sum = createHash('sha256');
  await pipeline(createReadStream(path, { highWaterMark: 1024 * 1024 }), sum);
  return sum.digest('hex');
}

function ownHash(manifest: BackupManifest): string {
  return hash('sha256', JSON.stringify(manifest), 'hex');
}

/** The backup can't be trusted. */
export function damaged(message: string, cause?: unknown): StoreError {
  return new StoreError('BACKUP_DAMAGED', `${message}; nothing was restored`, { cause });
}
