import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DatabaseSync, type DatabaseSyncInstance, type StatementSyncInstance } from '@photostructure/sqlite';
import { StoreError, type StoreErrorReason } from '../errors.ts';
import { CATALOG_VERSION, upgradeCatalog } from './layouts.ts';
import {
  DATABASE_FILE,
  newStoreId,
  Presence,
  readMarker,
  requireDatabase,
  requireSameStore,
  storeLost,
  writeMarker,
} from './presence.ts';

export type Statement = StatementSyncInstance;

/** `application_id` of our files: "SNST" in ASCII. */
export const APPLICATION_ID = 0x534e5354;

/** Size of the write-ahead log after a checkpoint cuts it back. */
const WAL_SIZE_LIMIT = 64 * 1024 * 1024;

const READ = 'BEGIN';
const WRITE = 'BEGIN IMMEDIATE';

/** Pause between two attempts at a lock that SQLite does not wait for. */
const RETRY_MS = 10;

/** The id of the store, which its marker holds too. Stores from before that table get one when they are opened. */
const IDENTITY = 'CREATE TABLE IF NOT EXISTS store (id TEXT NOT NULL)';

/**
 * How far each tenant has come in each collection; see `change-log.ts`. No collection's tables have it: programs that do not
 * know it go on with the file as before.
 */
const POSITIONS = `CREATE TABLE IF NOT EXISTS positions (
  collection INTEGER NOT NULL, tenant INTEGER NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (collection, tenant)
) WITHOUT ROWID`;

/**
 * Which file of vectors goes with the database; see `snapshots.ts`. Only who has written one says so here, in a transaction: so a
 * file whose mark stands here was made from this database's own past. As with positions, no other program has to know it.
 */
const SNAPSHOTS = `CREATE TABLE IF NOT EXISTS snapshots (
  collection INTEGER NOT NULL, tenant INTEGER NOT NULL, seq INTEGER NOT NULL, mark TEXT NOT NULL,
  PRIMARY KEY (collection, tenant)
) WITHOUT ROWID`;

/** Primary result codes of SQLite: https://www.sqlite.org/rescode.html */
const SQLITE_BUSY = 5;
const SQLITE_LOCKED = 6;
const SQLITE_READONLY = 8;
const SQLITE_IOERR = 10;
const SQLITE_CORRUPT = 11;
const SQLITE_FULL = 13;
const SQLITE_CANTOPEN = 14;
const SQLITE_NOTADB = 26;

/**
 * The driver's `all()` gives an error's message without its code: https://www.sqlite.org/c3ref/errcode.html
 */
const CODES_BY_MESSAGE: ReadonlyMap<string, number> = new Map([
  ['database is locked', SQLITE_BUSY],
  ['attempt to write a readonly database', SQLITE_READONLY],
  ['disk I/O error', SQLITE_IOERR],
  ['database disk image is malformed', SQLITE_CORRUPT],
  ['database or disk is full', SQLITE_FULL],
  ['unable to open database file', SQLITE_CANTOPEN],
  ['file is not a database', SQLITE_NOTADB],
]);

/** The shared-memory file of the write-ahead log could not grow: in practice, the disk is full. */
const SQLITE_IOERR_SHMSIZE = SQLITE_IOERR | (19 << 8);

/**
 * One connection to the file that holds everything. Other processes may share the file: readers never wait,
 * writers wait for each other.
 *
 * A committed transaction is on the disk: `synchronous=FULL` syncs the log at every commit, so the
 * transaction survives a power failure as well as `kill -9`. A write of many documents is one transaction,
 * and so one sync.
 */
export class Database {
  readonly path: string;
  /** Random, made with the store. */
  readonly id: string;
  readonly #connection: DatabaseSyncInstance;
  readonly #busyTimeoutMs: number;
  /** Whether the folder says that a store is here. */
  readonly #expectsStore: boolean;
  #presence: Presence | undefined;

  /**
   * Opens the store of a folder, and makes one where none was ever.
   *
   * @param expected the id of the store that this process has used before; no other will do, and none is made
   * @throws {StoreError} if the directory or the file in it cannot be used; `STORE_LOST` if a store should be there that
   *   is not
   */
  constructor(directory: string, busyTimeoutMs: number, expected?: string) {
    this.path = join(directory, DATABASE_FILE);
    this.#busyTimeoutMs = busyTimeoutMs;
    // The marker first: it is written after the database, so a marker without a database is a loss, whoever else
    // makes this store meanwhile.
    const marker = readMarker(directory);
    this.#expectsStore = marker !== undefined || expected !== undefined;
    requireDatabase(directory, marker, expected);
    if (!this.#expectsStore) makeDirectory(directory);
    try {
      this.#connection = new DatabaseSync(this.path, { timeout: busyTimeoutMs });
    } catch (error) {
      throw this.#translate(error);
    }
    try {
      this.id = this.#persist(() => this.#configure({ marker, expected }));
      if (marker === undefined) writeMarker(directory, this.id);
      this.#presence = new Presence(this.path);
    } catch (error) {
      this.#connection.close();
      throw error;
    }
  }

  prepare(sql: string): Statement {
    return this.#connection.prepare(sql);
  }

  exec(sql: string): void {
    this.#connection.exec(sql);
  }

  /** Runs `work` on one snapshot of the database. */
  read<Result>(work: () => Result): Result {
    return this.#transaction(READ, work);
  }

  /** Runs `work` as the only writer. Its writes are durable on return, or undone if it throws. */
  write<Result>(work: () => Result): Result {
    return this.#transaction(WRITE, work);
  }

  /** As {@link write}, but waits for nobody. @returns `undefined` where another process writes */
  tryWrite<Result>(work: () => Result): Result | undefined {
    this.exec('PRAGMA busy_timeout = 0');
    try {
      return this.write(work);
    } catch (error) {
      if (error instanceof StoreError && error.reason === 'STORE_UNAVAILABLE') return undefined;
      throw error;
    } finally {
      this.exec(`PRAGMA busy_timeout = ${this.#busyTimeoutMs}`);
    }
  }

  /** As {@link write}; what the work deletes is overwritten in the file, as soon as a checkpoint has come there. */
  overwriting<Result>(work: () => Result): Result {
    this.exec('PRAGMA secure_delete = ON');
    try {
      return this.write(work);
    } finally {
      this.exec('PRAGMA secure_delete = OFF');
    }
  }

  /** Brings the log into the file and empties it, as far as nobody reads or writes. */
  checkpoint(): void {
    this.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get();
  }

  /** @throws {StoreError} `STORE_LOST` if the files are not there any more, or cannot take a write */
  checkPresence(): void {
    this.#check(true);
  }

  /** A row is not what was written: the store is lost from now on. @param what follows the path in the message */
  damaged(what: string): StoreError {
    return this.#presence?.lose('damaged', what) ?? storeLost('damaged', this.path, what);
  }

  close(): void {
    this.#connection.close();
  }

  #transaction<Result>(begin: typeof READ | typeof WRITE, work: () => Result): Result {
    this.#check(begin === WRITE);
    let result: Result;
    try {
      this.#connection.exec(begin);
      result = work();
      this.#connection.exec('COMMIT');
    } catch (error) {
      this.#rollBack();
      throw this.#translate(error);
    }
    // What was committed to a file that nobody can find must not be acknowledged.
    if (begin === WRITE) this.#check(true);
    return result;
  }

  #rollBack(): void {
    // On some errors, such as a full disk, SQLite has rolled back already.
    if (!this.#connection.isTransaction) return;
    try {
      this.#connection.exec('ROLLBACK');
    } catch {
      // The error that led here says more, and SQLite undoes the transaction when it reads the file again.
    }
  }

  #check(writing: boolean): void {
    this.#presence?.check(writing, () => this.#isWhole());
  }

  /** Reads the whole file; for use on suspicion alone. */
  #isWhole(): boolean {
    try {
      const answer = this.prepare('PRAGMA quick_check(1)').get() as object;
      return Object.values(answer)[0] === 'ok';
    } catch {
      return false;
    }
  }

  /** @returns the id of the store */
  #configure(known: { marker: string | undefined; expected: string | undefined }): string {
    // One snapshot: another process may be making the same file.
    const foreign = this.read(() => {
      const tables = this.#number('SELECT count(*) FROM sqlite_schema');
      return tables > 0 && this.#number('PRAGMA application_id') !== APPLICATION_ID;
    });
    if (foreign) throw this.#foreign();

    // Takes effect on a new file only; 8 KiB pages hold several vectors and their texts.
    this.exec('PRAGMA page_size = 8192');
    const { journal_mode: mode } = this.prepare('PRAGMA journal_mode = WAL').get() as {
      journal_mode: string;
    };
    if (mode !== 'wal') {
      throw new StoreError(
        'STORE_INVALID_ARGUMENT',
        `the file system of ${this.path} has no shared memory for a write-ahead log; use a local disk`,
      );
    }
    this.exec(`PRAGMA synchronous = FULL; PRAGMA journal_size_limit = ${WAL_SIZE_LIMIT}`);

    return this.write(() => {
      const version = this.#number('PRAGMA user_version');
      if (version === CATALOG_VERSION) return this.#identify(known);
      if (version > CATALOG_VERSION) {
        throw new StoreError(
          'STORE_INVALID_ARGUMENT',
          `${this.path} was written by a newer version of this program; use that version, or another directory`,
        );
      }
      upgradeCatalog(this, version);
      this.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${CATALOG_VERSION}`);
      return this.#identify(known);
    });
  }

  /** The id that the database holds; a new one for a database without. */
  #identify(known: { marker: string | undefined; expected: string | undefined }): string {
    this.exec(IDENTITY);
    this.exec(POSITIONS);
    this.exec(SNAPSHOTS);
    const row = this.prepare('SELECT id FROM store').get() as { id: string } | undefined;
    requireSameStore(dirname(this.path), row?.id, known);
    if (row !== undefined) return row.id;
    const id = newStoreId();
    this.prepare('INSERT INTO store (id) VALUES (?)').run(id);
    return id;
  }

  /** The answer to a question that has one number for an answer. */
  #number(sql: string): number {
    return Number(Object.values(this.prepare(sql).get() as object)[0]);
  }

  /**
   * Repeats `work` while another process has the file locked. Switching a new file to a write-ahead log needs
   * exclusive access. SQLite does not wait for it, because two processes could wait for each other for ever.
   */
  #persist<Result>(work: () => Result): Result {
    const giveUp = Date.now() + this.#busyTimeoutMs;
    for (;;) {
      try {
        return work();
      } catch (error) {
        const translated = this.#translate(error);
        const locked = translated instanceof StoreError && translated.reason === 'STORE_UNAVAILABLE';
        if (!locked || Date.now() >= giveUp) throw translated;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RETRY_MS);
      }
    }
  }

  #foreign(cause?: unknown): StoreError {
    if (this.#expectsStore) return this.#damaged(cause);
    return new StoreError(
      'STORE_INVALID_ARGUMENT',
      `${this.path} is not a scalingnote store, or its first page is damaged; use another directory`,
      { cause },
    );
  }

  #damaged(cause: unknown): StoreError {
    const what = `is damaged (${cause instanceof Error ? cause.message : 'it does not begin like a store'})`;
    return (
      this.#presence?.lose('damaged', what, this.path, cause) ?? storeLost('damaged', this.path, what, cause)
    );
  }

  #translate(cause: unknown): unknown {
    if (cause instanceof StoreError) return cause;
    const { path } = this;
    const fail = (reason: StoreErrorReason, message: string) => new StoreError(reason, message, { cause });
    const full = () => fail('STORE_FULL', `no room left on the disk for ${path}; free some and try again`);
    const code = extendedCode(cause);
    switch (code === undefined ? undefined : code & 0xff) {
      case SQLITE_BUSY:
      case SQLITE_LOCKED: {
        const ms = this.#busyTimeoutMs;
        return fail('STORE_UNAVAILABLE', `another process has kept ${path} locked for more than ${ms} ms`);
      }
      case SQLITE_FULL:
        return full();
      case SQLITE_IOERR:
        if (code === SQLITE_IOERR_SHMSIZE) return full();
        if (this.#presence && !this.#isWhole()) return this.#damaged(cause);
        return fail('STORE_UNAVAILABLE', `the disk under ${path} fails: ${String(cause)}`);
      case SQLITE_READONLY:
      case SQLITE_CANTOPEN: {
        if (this.#presence) return storeLost('read-only', path, 'has become read-only', cause);
        const advice = 'check the owner and mode of file and directory';
        return fail('STORE_PERMISSION_DENIED', `${path} cannot be opened for writing; ${advice}`);
      }
      case SQLITE_NOTADB:
        return this.#foreign(cause);
      case SQLITE_CORRUPT:
        return this.#damaged(cause);
      default:
        return cause;
    }
  }
}

function makeDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new StoreError(
      code === 'ENOSPC'
        ? 'STORE_FULL'
        : code === 'EACCES'
          ? 'STORE_PERMISSION_DENIED'
          : 'STORE_INVALID_ARGUMENT',
      `cannot make the store's directory ${directory}: ${String(error)}`,
      { cause: error },
    );
  }
}

function extendedCode(error: unknown): number | undefined {
  if (!(error instanceof Error)) return undefined;
  return 'sqliteExtendedCode' in error
    ? Number(error.sqliteExtendedCode)
    : CODES_BY_MESSAGE.get(error.message);
}
