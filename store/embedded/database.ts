import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync, type DatabaseSyncInstance, type StatementSyncInstance } from '@photostructure/sqlite';
import { StoreError, type StoreErrorReason } from '../errors.ts';
import { CATALOG_VERSION, upgradeCatalog } from './layouts.ts';

export type Statement = StatementSyncInstance;

/** `application_id` of our files: "SNST" in ASCII. */
const APPLICATION_ID = 0x534e5354;

/** Size of the write-ahead log after a checkpoint cuts it back. */
const WAL_SIZE_LIMIT = 64 * 1024 * 1024;

/** Pause between two attempts at a lock that SQLite does not wait for. */
const RETRY_MS = 10;

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
  ['disk I/O error', SQLITE_IOERR],
  ['database disk image is malformed', SQLITE_CORRUPT],
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
  readonly #connection: DatabaseSyncInstance;
  readonly #busyTimeoutMs: number;

  /** @throws {StoreError} if the directory or the file in it cannot be used */
  constructor(directory: string, busyTimeoutMs: number) {
    this.path = join(directory, 'store.db');
    this.#busyTimeoutMs = busyTimeoutMs;
    makeDirectory(directory);
    try {
      this.#connection = new DatabaseSync(this.path, { timeout: busyTimeoutMs });
    } catch (error) {
      throw this.#translate(error);
    }
    try {
      this.#persist(() => this.#configure());
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
    return this.#transaction('BEGIN', work);
  }

  /** Runs `work` as the only writer. Its writes are durable on return, or undone if it throws. */
  write<Result>(work: () => Result): Result {
    return this.#transaction('BEGIN IMMEDIATE', work);
  }

  close(): void {
    this.#connection.close();
  }

  #transaction<Result>(begin: string, work: () => Result): Result {
    try {
      this.#connection.exec(begin);
      const result = work();
      this.#connection.exec('COMMIT');
      return result;
    } catch (error) {
      // On some errors, such as a full disk, SQLite has rolled back already.
      if (this.#connection.isTransaction) this.#connection.exec('ROLLBACK');
      throw this.#translate(error);
    }
  }

  #configure(): void {
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

    this.write(() => {
      const version = this.#number('PRAGMA user_version');
      if (version === CATALOG_VERSION) return;
      if (version > CATALOG_VERSION) {
        throw new StoreError(
          'STORE_INVALID_ARGUMENT',
          `${this.path} was written by a newer version of this program; use that version, or another directory`,
        );
      }
      upgradeCatalog(this, version);
      this.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${CATALOG_VERSION}`);
    });
  }

  /** The answer to a question that has one number for an answer. */
  #number(sql: string): number {
    return Number(Object.values(this.prepare(sql).get() as object)[0]);
  }

  /**
   * Repeats `work` while another process has the file locked. Switching a new file to a write-ahead log needs
   * exclusive access. SQLite does not wait for it, because two processes could wait for each other for ever.
   */
  #persist(work: () => void): void {
    const giveUp = Date.now() + this.#busyTimeoutMs;
    for (;;) {
      try {
        work();
        return;
      } catch (error) {
        const translated = this.#translate(error);
        const locked = translated instanceof StoreError && translated.reason === 'STORE_UNAVAILABLE';
        if (!locked || Date.now() >= giveUp) throw translated;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RETRY_MS);
      }
    }
  }

  #foreign(cause?: unknown): StoreError {
    return new StoreError(
      'STORE_INVALID_ARGUMENT',
      `${this.path} is not a scalingnote store, or its first page is damaged; use another directory`,
      { cause },
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
        return fail('STORE_UNAVAILABLE', `the disk under ${path} fails: ${String(cause)}`);
      case SQLITE_READONLY:
      case SQLITE_CANTOPEN: {
        const advice = 'check the owner and mode of file and directory';
        return fail('STORE_PERMISSION_DENIED', `${path} cannot be opened for writing; ${advice}`);
      }
      case SQLITE_NOTADB:
        return this.#foreign(cause);
      case SQLITE_CORRUPT: {
        const advice = 'restore the directory from a copy, or remove it and ingest again';
        return fail('STORE_INTERNAL', `${path} is damaged; ${advice}`);
      }
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
