import { constants, existsSync, readdirSync, statSync } from 'node:fs';
import { copyFile, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { DatabaseSync, type DatabaseSyncInstance } from '@photostructure/sqlite';
import { damagedDocuments } from '../embedded/doctor/collections.ts';
import { DATABASE_FILE, MARKER_FILE, newStoreId, writeMarker } from '../embedded/presence.ts';
import { StoreError } from '../errors.ts';
import { newIdentity } from '../names.ts';
import {
  type BackupCollection,
  type BackupManifest,
  checkBackupSpace,
  damaged,
  describeFile,
  readManifest,
  requireFile,
  verifyFile,
  writeManifest,
} from './manifest.ts';

/**
 * Backs up the embedded store of a folder into a new folder. SQLite writes a copy of one moment, whatever is written
 * meanwhile; services go on.
 *
 * @throws {StoreError} where there is no store, the copy is damaged, or something has the name of the new folder already
 */
export async function backupEmbedded(directory: string, to: string): Promise<BackupManifest> {
  const source = join(directory, DATABASE_FILE);
  if (!existsSync(source)) {
    throw new StoreError(
      'STORE_INVALID_ARGUMENT',
      `there is no embedded store in ${directory}: no ${source}`,
    );
  }
  if (existsSync(to)) {
    throw new StoreError('STORE_INVALID_ARGUMENT', `${to} is there already; name a folder that is not`);
  }
  const draft = `${to}.${process.pid}.part`;
  await mkdir(draft, { recursive: true });
  try {
    copyOfOneMoment(source, join(draft, DATABASE_FILE));
    await sync(join(draft, DATABASE_FILE));
    const collections = checkedCollections(join(draft, DATABASE_FILE), source);
    const files = [await describeFile(draft, DATABASE_FILE)];
    const manifest = await writeManifest(draft, { kind: 'embedded', collections, files });
    await rename(draft, to);
    return manifest;
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    throw error;
  }
}

/** How to restore an embedded store. */
export interface EmbeddedRestore {
  /** Folder of the backup. */
  from: string;
  /** Folder of the store; made where it is not there. */
  directory: string;
  /** Puts a store that is there aside, into a folder beside it. @default false: refuses */
  replace?: boolean;
  /** The only space that its collections may have. */
  fingerprint?: string | undefined;
}

/** What a restore did. */
export interface Restored {
  collections: BackupCollection[];
  /** Where the store that was there is now. */
  replaced?: string;
}

/**
 * Puts the store of a backup into a folder. Every collection gets a new identity, so that progress that was made after
 * the backup is not taken for progress of what was restored.
 *
 * @throws {StoreError} `BACKUP_DAMAGED`, `SPACE_MISMATCH`; `STORE_INVALID_ARGUMENT` where a store is there already
 */
export async function restoreEmbedded({
  from,
  directory,
  replace = false,
  fingerprint,
}: EmbeddedRestore): Promise<Restored> {
  const manifest = await readManifest(from);
  const [file] = manifest.files;
  if (manifest.kind !== 'embedded' || file === undefined) {
    throw new StoreError('STORE_INVALID_ARGUMENT', `${from} is a backup of a ${manifest.kind} store`);
  }
  checkBackupSpace(manifest, fingerprint);
  const target = join(directory, DATABASE_FILE);
  if (!replace) refuseStore(target);
  await mkdir(directory, { recursive: true });
  const draft = `${target}.${process.pid}.part`;
  try {
    await requireFile(file.path, join(from, file.path));
    await copyFile(join(from, file.path), draft, constants.COPYFILE_EXCL).catch(
      (error: NodeJS.ErrnoException) => {
        throw error.code === 'ENOENT' ? damaged(`${file.path} of the backup is missing`, error) : error;
      },
    );
    // The copy is checked, so that what is put into place is what was checked.
    await verifyFile(file, draft);
    const storeId = newStoreId();
    const identities = renew(draft, storeId);
    await sync(draft);
    const replaced = await setAside(directory);
    await rename(draft, target);
    writeMarker(directory, storeId);
    return {
      collections: manifest.collections.map((collection) => ({
        ...collection,
        identity: identities.get(collection.physicalName) ?? collection.identity,
      })),
      ...(replaced !== undefined && { replaced }),
    };
  } finally {
    for (const suffix of ['', '-journal', '-wal', '-shm']) await rm(draft + suffix, { force: true });
  }
}

function refuseStore(target: string): void {
  // An empty file is what a full disk or a wrong command leaves of a store; there is nothing in it to lose.
  if ((statSync(target, { throwIfNoEntry: false })?.size ?? 0) === 0) return;
  throw new StoreError(
    'STORE_INVALID_ARGUMENT',
    `a store is in ${dirname(target)} already; restore into another folder, or say --replace, which puts it aside`,
  );
}

/**
 * Moves the files of a store into a folder of their own: the log of one database must not meet another.
 *
 * @returns that folder; `undefined` where there is nothing but a marker, which the restored store replaces
 */
async function setAside(directory: string): Promise<string | undefined> {
  const files = new Set(['', '-wal', '-shm', '-journal'].map((suffix) => DATABASE_FILE + suffix));
  const there = readdirSync(directory).filter((name) => files.has(name));
  if (there.length === 0) return undefined;
  const folder = join(directory, `replaced-${new Date().toISOString().replaceAll(/[:.]/g, '-')}`);
  await mkdir(folder);
  for (const name of there) await rename(join(directory, name), join(folder, name));
  if (existsSync(join(directory, MARKER_FILE))) {
    // The marker stays until the new one takes its place: should this process die in between, it tells of a loss.
    await copyFile(join(directory, MARKER_FILE), join(folder, MARKER_FILE));
  }
  return folder;
}

/** `VACUUM INTO` reads one snapshot, writes no lock that others wait for, and leaves out what was deleted. */
function copyOfOneMoment(source: string, copy: string): void {
  withDatabase(source, { readOnly: true }, (database) => {
    requireStore(database, source);
    database.prepare('VACUUM INTO ?').run(copy);
  });
}

/** The collections of a copy. @throws {StoreError} where the copy is damaged, and so the store is */
function checkedCollections(copy: string, source: string): BackupCollection[] {
  return withDatabase(copy, { readOnly: true }, (database) => {
    const [check] = database.prepare('PRAGMA quick_check(1)').all() as { quick_check: string }[];
    if (check?.quick_check !== 'ok') throw damagedSource(source, check?.quick_check ?? 'no answer');
    const rows = database.prepare('SELECT * FROM collections ORDER BY physical').all() as CatalogRow[];
    return rows.map(({ id, physical, fingerprint, dimensions, identity }) => {
      // Pages may be sound, and what stands in them is not what was written.
      const damagedRows = damagedDocuments(database, id);
      if (damagedRows.length > 0) {
        throw damagedSource(
          source,
          `${damagedRows.length} documents of "${physical}" are not what was written`,
        );
      }
      const aliases = database
        .prepare('SELECT alias FROM aliases WHERE collection = ? ORDER BY alias')
        .all(id) as { alias: string }[];
      const counts = database
        .prepare(
          `SELECT coalesce(sum(documents), 0) AS documents, coalesce(sum(passages), 0) AS passages FROM tenants_${id}`,
        )
        .get() as { documents: number; passages: number };
      return {
        name: aliases[0]?.alias ?? physical,
        physicalName: physical,
        aliases: aliases.map(({ alias }) => alias),
        space: { fingerprint, dimensions },
        identity: identity ?? '',
        ...counts,
      };
    });
  });
}

function damagedSource(source: string, what: string): StoreError {
  return new StoreError(
    'STORE_INTERNAL',
    `${source} is damaged (${what}), and no backup was made; ask "scalingnote doctor"`,
  );
}

interface CatalogRow {
  id: number;
  physical: string;
  fingerprint: string;
  dimensions: number;
  /** Absent from stores of 0.1.0, which get identities when they are opened. */
  identity?: string;
}

/** Gives the store and each of its collections new identities. @returns these, by physical name */
function renew(path: string, storeId: string): Map<string, string> {
  return withDatabase(path, {}, (database) => {
    requireStore(database, path);
    database.exec('BEGIN IMMEDIATE');
    const rows = database.prepare('SELECT * FROM collections').all() as CatalogRow[];
    const identities = new Map<string, string>();
    for (const { id, physical, identity } of rows) {
      if (identity === undefined) continue;
      identities.set(physical, newIdentity());
      database.prepare('UPDATE collections SET identity = ? WHERE id = ?').run(identities.get(physical)!, id);
    }
    database.exec('CREATE TABLE IF NOT EXISTS store (id TEXT NOT NULL); DELETE FROM store');
    database.prepare('INSERT INTO store (id) VALUES (?)').run(storeId);
    database.exec('COMMIT');
    return identities;
  });
}

function requireStore(database: DatabaseSyncInstance, path: string): void {
  const tables = database
    .prepare("SELECT count(*) AS there FROM sqlite_schema WHERE name IN ('collections', 'aliases')")
    .get() as { there: number };
  if (tables.there === 2) return;
  throw new StoreError('STORE_INVALID_ARGUMENT', `${path} is not a scalingnote store`);
}

function withDatabase<T>(
  path: string,
  options: { readOnly?: boolean },
  work: (database: DatabaseSyncInstance) => T,
): T {
  let database: DatabaseSyncInstance | undefined;
  try {
    // A writer holds the lock for a write at most.
    database = new DatabaseSync(path, { timeout: 5000, ...options });
    return work(database);
  } catch (error) {
    if (error instanceof StoreError) throw error;
    throw new StoreError('STORE_INTERNAL', `${path}: ${(error as Error).message}`, { cause: error });
  } finally {
    database?.close();
  }
}

async function sync(path: string): Promise<void> {
  const file = await open(path, 'r+');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
