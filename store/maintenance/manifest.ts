import { createHash, hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readFile, stat } from 'node:fs/promises';
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
  let parsed: { manifest?: BackupManifest; sha256?: string };
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
  const { manifest, sha256 } = parsed;
  if (manifest === undefined || sha256 !== ownHash(manifest)) {
    throw damaged(`${path} is not as it was written: its sha256 differs`);
  }
  const { format }: { format: number } = manifest;
  if (format !== FORMAT) {
    throw damaged(
      `${path} has format ${format}, and this program restores format ${String(FORMAT)}; use the version of ` +
        'scalingnote that made the backup, or a later one',
    );
  }
  return manifest;
}

/** The entry of a file that is complete. */
export async function describeFile(folder: string, path: string): Promise<BackupFile> {
  const { size } = await stat(join(folder, path));
  return { path, bytes: size, sha256: await sha256Of(join(folder, path)) };
}

/**
 * @param place where the file lies now
 * @throws {StoreError} `BACKUP_DAMAGED`, naming the file, where it is not what the manifest says
 */
export async function verifyFile({ path, bytes, sha256 }: BackupFile, place: string): Promise<void> {
  const found = await stat(place).catch((error: NodeJS.ErrnoException) => {
    throw damaged(`${path} of the backup can't be read (${error.code})`, error);
  });
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
