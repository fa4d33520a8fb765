import { randomBytes } from 'node:crypto';
import {
  accessSync,
  type BigIntStats,
  closeSync,
  constants,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { StoreError } from '../errors.ts';

/** The database of a store, in its folder. */
export const DATABASE_FILE = 'store.db';

/**
 * The marker: a file with the id that the database holds too. It is written after the database has been made, so a
 * marker without its database tells a loss from a first start.
 */
export const MARKER_FILE = 'store.id';

/** Smallest database that SQLite makes: one page of the smallest size. */
const MIN_DATABASE_BYTES = 512n;

const STORE_ID = /^store_[0-9a-f]{32}$/;

/** What can happen to the files of a store. */
export type LossKind = 'gone' | 'replaced' | 'truncated' | 'read-only' | 'damaged';

/** A new store's id. */
export function newStoreId(): string {
  return `store_${randomBytes(16).toString('hex')}`;
}

/** The files of a store are not what they were. @param what follows the path in the message */
export function storeLost(kind: LossKind, path: string, what: string, cause?: unknown): StoreError {
  const fix =
    kind === 'read-only'
      ? 'make it writable again'
      : `stop the services, bring back ${dirname(path)} from a backup, and start them again; ` +
        `"scalingnote doctor --data ${dirname(path)}" says what is there`;
  return new StoreError('STORE_LOST', `${path} ${what}, so nothing is acknowledged: ${fix}`, {
    metadata: { path, loss: kind },
    cause,
  });
}

/**
 * The id in the marker of a folder; `undefined` if there is no marker.
 *
 * @throws {StoreError} if there is something else in its place
 */
export function readMarker(directory: string): string | undefined {
  const path = join(directory, MARKER_FILE);
  let content: string;
  try {
    content = readFileSync(path, 'utf8').trim();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new StoreError('STORE_PERMISSION_DENIED', `${path} can't be read: ${String(error)}`, {
      cause: error,
    });
  }
  if (STORE_ID.test(content)) return content;
  throw new StoreError(
    'STORE_LOST',
    `${path} does not hold the id of a store; where ${DATABASE_FILE} beside it is the right one, remove ${path}, and it ` +
      'is made again',
    { metadata: { path, loss: 'damaged' } },
  );
}

/** Writes the marker of a folder durably: a reader finds all of it or nothing. */
export function writeMarker(directory: string, id: string): void {
  const path = join(directory, MARKER_FILE);
  const draft = `${path}.${process.pid}-${randomBytes(4).toString('hex')}`;
  const file = openSync(draft, 'wx');
  try {
    writeSync(file, `${id}\n`);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(draft, path);
  syncDirectory(directory);
}

/**
 * Refuses a folder where a store is expected and not there. Call it before the database is opened, because opening makes
 * one.
 *
 * @param marker from {@link readMarker}, read before this call
 * @param expected the id of the store that this process has used already
 * @throws {StoreError} `STORE_LOST`
 */
export function requireDatabase(
  directory: string,
  marker: string | undefined,
  expected: string | undefined,
): void {
  const path = join(directory, DATABASE_FILE);
  const stats = statOf(path);
  if (expected !== undefined && stats === undefined) {
    throw storeLost('gone', path, 'is gone: it was removed or moved while this process used it');
  }
  if (marker === undefined || (stats !== undefined && stats.size >= MIN_DATABASE_BYTES)) return;
  const markerPath = join(directory, MARKER_FILE);
  throw new StoreError(
    'STORE_LOST',
    `${path} ${stats === undefined ? 'is missing' : 'is empty'}, but ${markerPath} says that a store was there: bring ` +
      `${directory} back from a backup, or remove ${markerPath} to start with an empty store on purpose`,
    { metadata: { path, loss: stats === undefined ? 'gone' : 'truncated' } },
  );
}

/** Refuses a database that is not the one that the folder, or this process, had. @throws {StoreError} `STORE_LOST` */
export function requireSameStore(
  directory: string,
  id: string | undefined,
  { marker, expected }: { marker: string | undefined; expected: string | undefined },
): void {
  const path = join(directory, DATABASE_FILE);
  if (expected !== undefined && id !== expected) {
    throw storeLost('replaced', path, 'is another store than the one that this process used');
  }
  if (marker === undefined || marker === id) return;
  const markerPath = join(directory, MARKER_FILE);
  throw new StoreError(
    'STORE_LOST',
    `${path} is another store (${id ?? 'one without an id'}) than ${markerPath} says (${marker}): bring the right ` +
      `${DATABASE_FILE} back, or, if this one was put there on purpose, remove ${markerPath}, and it is made again`,
    { metadata: { path, loss: 'replaced' } },
  );
}

/**
 * The files of a database that is open, compared with what stands at their paths. A file that is removed or replaced
 * goes on taking writes through the open handle, and nobody ever sees them again.
 */
export class Presence {
  readonly #path: string;
  /** Files that exist as long as a connection is open: SQLite removes log and index with the last connection alone. */
  readonly #files: { path: string; known: BigIntStats }[];
  #size: bigint;
  #lost: StoreError | undefined;

  /** @param path of a database that is open in write-ahead mode */
  constructor(path: string) {
    this.#path = path;
    this.#files = ['', '-wal', '-shm'].map((suffix) => {
      const known = statOf(path + suffix);
      if (known === undefined)
        throw storeLost('gone', path + suffix, 'was removed while the store was opened');
      return { path: path + suffix, known };
    });
    this.#size = this.#files[0]!.known.size;
  }

  /**
   * @param writing whether it has to be writable too
   * @param isWhole asked where the database has shrunk: whether it can still be read
   * @throws {StoreError} `STORE_LOST`; once a file has been lost, always
   */
  check(writing: boolean, isWhole: () => boolean): void {
    if (this.#lost) throw this.#lost;
    for (const [index, { path, known }] of this.#files.entries()) {
      const now = statOf(path);
      if (now === undefined) throw this.lose('gone', 'is gone: it was removed or moved', path);
      if (now.ino !== known.ino || now.dev !== known.dev) {
        throw this.lose('replaced', 'was replaced by another file', path);
      }
      if (index === 0) this.#checkSize(now.size, isWhole);
    }
    if (writing) requireWritable(this.#path);
  }

  /** Takes the store for lost from now on. */
  lose(kind: LossKind, what: string, path = this.#path, cause?: unknown): StoreError {
    this.#lost ??= storeLost(kind, path, what, cause);
    return this.#lost;
  }

  /** A database shrinks when it is compacted; what else cuts it has damaged it. */
  #checkSize(size: bigint, isWhole: () => boolean): void {
    if (size < MIN_DATABASE_BYTES) throw this.lose('truncated', 'was cut to nothing');
    const shrunk = size < this.#size;
    this.#size = size;
    if (shrunk && !isWhole()) throw this.lose('truncated', 'was cut off, and is damaged');
  }
}

function requireWritable(path: string): void {
  try {
    accessSync(path, constants.W_OK);
  } catch (error) {
    throw storeLost('read-only', path, 'has become read-only', error);
  }
}

function statOf(path: string): BigIntStats | undefined {
  try {
    return statSync(path, { bigint: true, throwIfNoEntry: false });
  } catch {
    // A part of the path is no folder any more, or may not be searched.
    return undefined;
  }
}

function syncDirectory(directory: string): void {
  // Windows can't open a folder, and needs no such call.
  if (process.platform === 'win32') return;
  const folder = openSync(directory, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
