import { closeSync, existsSync, openSync, readFileSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { DatabaseSync, type DatabaseSyncInstance } from '@photostructure/sqlite';
import { StoreError } from '../../errors.ts';
import { DATABASE_FILE, MARKER_FILE } from '../presence.ts';

/** How long an examination waits for other processes. */
const BUSY_TIMEOUT_MS = 5000;

const HEADER_BYTES = 100;
const MAGIC = 'SQLite format 3\0';

/** What the first page of a database says. */
export interface Header {
  isDatabase: boolean;
  pageSize: number;
  pages: number;
}

/** Bytes of the files of a store. */
export function storeBytes(directory: string): number {
  const files = [DATABASE_FILE, `${DATABASE_FILE}-wal`, `${DATABASE_FILE}-shm`, MARKER_FILE];
  return files.reduce(
    (sum, file) => sum + (statSync(join(directory, file), { throwIfNoEntry: false })?.size ?? 0),
    0,
  );
}

/** Opens a database without changing anything, not even by merging its log. */
export function openToRead(path: string): DatabaseSyncInstance {
  // Without a log there is nothing that could change, and no need to make one.
  if (!existsSync(`${path}-wal`)) {
    const location = `${pathToFileURL(path).href}?immutable=1`;
    return new DatabaseSync(location, { readOnly: true });
  }
  return new DatabaseSync(path, { readOnly: true, timeout: BUSY_TIMEOUT_MS });
}

/** Opens the database of a folder, and makes none. */
export function openToWrite(directory: string): DatabaseSyncInstance {
  const path = join(directory, DATABASE_FILE);
  if (!existsSync(path)) throw new StoreError('STORE_LOST', `${path} is missing`, { metadata: { path } });
  return new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS });
}

/** Reads what the first page says. */
export function readHeader(path: string): Header {
  const bytes = Buffer.alloc(HEADER_BYTES);
  const file = openSync(path, 'r');
  try {
    readSync(file, bytes);
  } finally {
    closeSync(file);
  }
  const pageSize = bytes.readUInt16BE(16);
  return {
    isDatabase: bytes.toString('latin1', 0, MAGIC.length) === MAGIC,
    // The format says 1 for the largest size.
    pageSize: pageSize === 1 ? 65_536 : pageSize,
    pages: bytes.readUInt32BE(28),
  };
}

/** Processes that have locked a file, as Linux tells: SQLite locks it as long as a connection is open. */
export function processesWith(path: string): number[] | undefined {
  const stats = statSync(`${path}-shm`, { throwIfNoEntry: false });
  if (stats === undefined) return [];
  let locks: string;
  try {
    locks = readFileSync('/proc/locks', 'utf8');
  } catch {
    return undefined;
  }
  const lines = locks.split('\n').filter((line) => line.includes(`:${stats.ino} `));
  return [...new Set(lines.map((line) => Number(line.trim().split(/\s+/)[4])))].filter((pid) => pid > 0);
}
