import { join } from 'node:path';
import { StoreError } from '../../errors.ts';
import { DATABASE_FILE } from '../presence.ts';
import { openToWrite, processesWith, storeBytes } from './files.ts';
import type { Finding } from './findings.ts';

/**
 * Mends the findings that have a repair, each in a transaction of its own.
 *
 * @returns the findings that were mended
 * @throws {StoreError} if another process keeps the store locked
 */
export function repair(directory: string, findings: readonly Finding[]): Finding[] {
  const mendable = findings.filter((finding) => finding.repair !== undefined);
  if (mendable.length === 0) return [];
  const database = openToWrite(directory);
  try {
    for (const finding of mendable) finding.repair!(database);
  } catch (error) {
    throw locked(directory, error);
  } finally {
    database.close();
  }
  return mendable;
}

/**
 * Gives the room of deleted rows back to the disk.
 *
 * @returns bytes of the store's files before and after
 * @throws {StoreError} if another process is in the way, or the disk has no room for the copy
 */
export function compact(directory: string): { before: number; after: number } {
  const before = storeBytes(directory);
  const database = openToWrite(directory);
  try {
    // The log grows by the whole new database; cutting it off needs a moment without readers.
    database.exec('VACUUM');
    const row = database.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get() as { busy: number };
    if (row.busy !== 0) throw new Error('database is locked');
  } catch (error) {
    throw locked(directory, error);
  } finally {
    database.close();
  }
  return { before, after: storeBytes(directory) };
}

function locked(directory: string, cause: unknown): unknown {
  if (!(cause instanceof Error) || !cause.message.includes('locked')) return cause;
  const pids = processesWith(join(directory, DATABASE_FILE)) ?? [];
  const who = pids.length > 0 ? `process ${pids.join(', ')} uses` : 'another process uses';
  return new StoreError(
    'STORE_UNAVAILABLE',
    `${who} ${join(directory, DATABASE_FILE)}; stop the services, and try again`,
    { cause },
  );
}
