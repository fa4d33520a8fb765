import { randomUUID } from 'node:crypto';
import {
  closeSync,
  fstatSync,
  fsync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import type { Collection } from './catalog.ts';
import type { Database } from './database.ts';
import type { Documents } from './documents.ts';
import type { Mirror } from './mirror.ts';
import { type ImageHead, writeImage } from './mirror-image.ts';
import { BadSnapshot, SnapshotReader, SnapshotWriter } from './snapshot-file.ts';

/** Their folder, in that of the store. */
export const SNAPSHOTS_FOLDER = 'mirrors';

/** From how many vectors on a tenant has a snapshot. Fewer are read row by row in a tenth of a second. */
export const LEAST_PASSAGES = 4096;

/** A snapshot is written again once so many changes came after it, as a share of the vectors, and none came lately. */
const STALE_SHARE = 0.1;

/** The same where changes never end. So all that is ever written is some times the vectors there are. */
const STALE_SHARE_BUSY = 0.5;

/** The same, in changes of the whole collection: the log keeps some more of them. */
const STALE_CHANGES = 50_000;

/** A file that is being written has changed within this time; otherwise its writer is gone. */
const ABANDONED_MS = 60_000;

/** After a failure, such as a full disk, the next attempt waits. */
const RETRY_MS = 10 * 60_000;

/** What follows the name of a file that is being written. */
const UNFINISHED = '.new';

/** Bytes that one call overwrites. */
const OVERWRITE_BYTES = 1024 * 1024;

interface Row {
  seq: number;
  mark: string;
}

interface Head extends ImageHead {
  mark: string;
}

/** A tenant's vectors in memory, which agree with the database of a moment ago. */
export interface KeptMirror {
  collection: Collection;
  documents: Documents;
  tenant: number;
  mirror: Mirror;
}

/** A snapshot that is being written. */
interface Writing extends KeptMirror {
  /** Of the unfinished file. */
  path: string;
  mark: string;
  writer: SnapshotWriter;
  steps: Generator<void, ImageHead, void>;
  /** See `Mirror.layout`. */
  layout: number;
  /** Present once all is written. */
  head?: ImageHead;
  /** How the sync goes that follows. */
  sync?: 'under way' | 'done' | Error;
}

/** What the snapshot of a mirror has, as the mirror and the log count changes. */
interface Saved {
  applied: number;
  seq: number;
}

/**
 * Files from which a start reads vectors and terms in one go instead of row by row: one for each tenant with many vectors,
 * beside the database. They are never needed: what is missing, damaged or of another past is ignored, and made again.
 */
export class Snapshots {
  readonly #database: Database;
  readonly #folder: string;
  readonly #sql: ReturnType<typeof prepare>;
  readonly #warn: (message: string) => void;
  readonly #saved = new WeakMap<Mirror, Saved>();
  /** The last change of each mirror when it was last looked at. */
  readonly #seen = new WeakMap<Mirror, number>();
  #writing: Writing | undefined;
  #notBefore = 0;

  constructor(database: Database, warn: (message: string) => void) {
    this.#database = database;
    this.#folder = join(dirname(database.path), SNAPSHOTS_FOLDER);
    this.#sql = prepare(database);
    this.#warn = warn;
  }

  /**
   * Opens the snapshot of a tenant, in a transaction.
   *
   * @param oldest the oldest change that the log has
   * @returns `undefined` where there is none that can be used
   */
  open({ id, dimensions }: Collection, tenant: number, oldest: number): SnapshotReader | undefined {
    const row = this.#sql.find.get(id, tenant) as Row | undefined;
    if (!row || row.seq < oldest - 1) return undefined;
    let reader: SnapshotReader | undefined;
    try {
      reader = new SnapshotReader(this.#pathOf(id, tenant));
      const head = reader.head as Head;
      if (head.mark !== row.mark) throw new BadSnapshot('it was made from another state of the store');
      if (head.dimensions !== dimensions) throw new BadSnapshot('its vectors are of another length');
      return reader;
    } catch (error) {
      reader?.close();
      // It was not copied along with the database, or another process has just removed it.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') this.reject(id, tenant, error);
      return undefined;
    }
  }

  /** Removes a snapshot that cannot be used, and says so. */
  reject(collection: number, tenant: number, error: unknown): void {
    const path = this.#pathOf(collection, tenant);
    this.#warn(`${path} is not used: ${(error as Error).message}; its vectors are read from the database`);
    removeIfThere(path);
  }

  /** A mirror has been read from its snapshot. */
  restored(mirror: Mirror): void {
    this.#saved.set(mirror, { applied: mirror.applied, seq: mirror.seq });
  }

  /**
   * Goes on with the snapshot that is being written, or begins one where it is time for that. It works in slices; the caller
   * is in no transaction, and calls again and again.
   *
   * @param mirrors all that may have a snapshot
   */
  *keep(mirrors: readonly KeptMirror[]): Generator<void, void, void> {
    const isWanted = ({ mirror }: KeptMirror): boolean => mirror === this.#writing?.mirror;
    if (!mirrors.some(isWanted)) this.#abandon();
    this.#sweep();
    for (const kept of mirrors) while (this.#step(kept)) yield;
  }

  /** Forgets the snapshot of a tenant or, without one, of a collection, in the transaction that drops it. */
  forget(collection: number, tenant?: number): void {
    if (tenant === undefined) this.#sql.forgetAll.run(collection);
    else this.#sql.forget.run(collection, tenant);
  }

  /**
   * Overwrites and removes the files of a tenant or, without one, of a collection. Once {@link forget} is committed, nobody
   * puts another there.
   */
  erase(collection: number, tenant?: number): void {
    const begin = tenant === undefined ? `${collection}-` : nameOf(collection, tenant);
    for (const name of this.#names()) if (name.startsWith(begin)) erase(join(this.#folder, name));
  }

  close(): void {
    this.#abandon();
  }

  /** @returns whether there is more to do at once */
  #step(kept: KeptMirror): boolean {
    const writing = this.#writing;
    if (writing ? writing.mirror !== kept.mirror : !this.#isDue(kept.mirror)) return false;
    try {
      return writing ? this.#goOn(writing) : this.#begin(kept);
    } catch (error) {
      this.#abandon();
      this.#notBefore = Date.now() + RETRY_MS;
      this.#warn(`no snapshot of vectors in ${this.#folder} for now: ${(error as Error).message}`);
      return false;
    }
  }

  #isDue(mirror: Mirror): boolean {
    const { passages, seq, applied } = mirror;
    const isQuiet = this.#seen.get(mirror) === seq;
    this.#seen.set(mirror, seq);
    if (passages < LEAST_PASSAGES || Date.now() < this.#notBefore) return false;
    const saved = this.#saved.get(mirror);
    if (!saved) return true;
    const behind = applied - saved.applied;
    if (behind > passages * STALE_SHARE_BUSY) return true;
    return isQuiet && behind > 0 && (behind > passages * STALE_SHARE || seq - saved.seq > STALE_CHANGES);
  }

  #begin({ collection, documents, tenant, mirror }: KeptMirror): boolean {
    const { passages, seq, applied, layout } = mirror;
    const known = this.#database.read(() => this.#sql.find.get(collection.id, tenant) as Row | undefined);
    const place = this.#pathOf(collection.id, tenant);
    if (known && isThere(place) && seq - known.seq < passages * STALE_SHARE) {
      // Another process has written it.
      this.#saved.set(mirror, { applied, seq: known.seq });
      return false;
    }
    const image = mirror.image();
    if (!image) return false;
    mkdirSync(this.#folder, { recursive: true });
    const path = `${place}${UNFINISHED}`;
    if (isAbandoned(path)) removeIfThere(path);
    // Another process is writing it.
    if (isThere(path)) return false;
    // Whoever may read the database may read this.
    const writer = new SnapshotWriter(path, 'wx', statSync(this.#database.path).mode & 0o777);
    const steps = writeImage(image, writer);
    this.#writing = {
      collection,
      documents,
      tenant,
      mirror,
      path,
      mark: randomUUID(),
      writer,
      steps,
      layout,
    };
    this.#saved.set(mirror, { applied, seq });
    return true;
  }

  #goOn(writing: Writing): boolean {
    const { mirror, steps, writer, mark, layout, head, sync } = writing;
    if (sync === 'under way') return false;
    if (sync instanceof Error) throw sync;
    if (head) {
      this.#publish(writing, head);
      return false;
    }
    if (mirror.layout !== layout) {
      // Its rows have other numbers now.
      this.#saved.delete(mirror);
      this.#abandon();
      return false;
    }
    const step = steps.next();
    if (step.done !== true) return true;
    writing.head = step.value;
    writer.finish({ ...step.value, mark } satisfies Head);
    // A sync takes long, and searches would wait for this thread: the next call sees how it ended.
    writing.sync = 'under way';
    fsync(writer.file, (error) => {
      writing.sync = error ?? 'done';
      if (this.#writing !== writing) writer.close();
    });
    return false;
  }

  /** Puts a complete file in its place, and says in the database that it is there. */
  #publish(writing: Writing, { seq }: ImageHead): void {
    const { collection, documents, tenant, path, mark, writer } = writing;
    const isDone = this.#database.tryWrite(() => {
      // What was dropped meanwhile must not come back.
      const isWanted = this.#sql.collection.get(collection.id) !== undefined && documents.tenants.has(tenant);
      if (!isWanted || !isSameFile(path, writer.file)) return true;
      renameSync(path, this.#pathOf(collection.id, tenant));
      this.#sql.put.run(collection.id, tenant, seq, mark);
      return true;
    });
    // While another process writes, the next call tries again.
    if (isDone === true) this.#abandon();
  }

  /** Ends what is being written. A file that did not come to its place is removed. */
  #abandon(): void {
    const writing = this.#writing;
    if (!writing) return;
    this.#writing = undefined;
    const { path, writer, sync } = writing;
    if (isSameFile(path, writer.file)) removeIfThere(path);
    if (sync !== 'under way') writer.close();
  }

  /** Removes what belongs to nothing: files of what was dropped, and of writers that are gone. */
  #sweep(): void {
    const names = this.#names();
    if (names.length === 0) return;
    const rows = this.#database.read(() => this.#sql.all.all() as { collection: number; tenant: number }[]);
    const known = new Set(rows.map(({ collection, tenant }) => nameOf(collection, tenant)));
    for (const name of names) {
      const path = join(this.#folder, name);
      if (name.endsWith(UNFINISHED) ? isAbandoned(path) : !known.has(name)) erase(path);
    }
  }

  #pathOf(collection: number, tenant: number): string {
    return join(this.#folder, nameOf(collection, tenant));
  }

  #names(): string[] {
    return isThere(this.#folder) ? readdirSync(this.#folder) : [];
  }
}

function nameOf(collection: number, tenant: number): string {
  return `${collection}-${tenant}.mirror`;
}

function isThere(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}

function isAbandoned(path: string): boolean {
  const stats = statSync(path, { throwIfNoEntry: false });
  return stats !== undefined && Date.now() - stats.mtimeMs > ABANDONED_MS;
}

function isSameFile(path: string, file: number): boolean {
  const stats = statSync(path, { throwIfNoEntry: false });
  const { ino, dev } = fstatSync(file);
  return stats?.ino === ino && stats.dev === dev;
}

function removeIfThere(path: string): void {
  rmSync(path, { force: true });
}

/** Overwrites a file and removes it, so that its vectors are not left on the disk. */
function erase(path: string): void {
  let file: number;
  try {
    file = openSync(path, 'r+');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  try {
    const zeros = Buffer.alloc(OVERWRITE_BYTES);
    const { size } = fstatSync(file);
    for (let at = 0; at < size;) at += writeSync(file, zeros, 0, Math.min(zeros.length, size - at), at);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  removeIfThere(path);
}

function prepare(database: Database) {
  return {
    find: database.prepare('SELECT seq, mark FROM snapshots WHERE collection = ? AND tenant = ?'),
    all: database.prepare('SELECT collection, tenant FROM snapshots'),
    put: database.prepare(
      'INSERT OR REPLACE INTO snapshots (collection, tenant, seq, mark) VALUES (?, ?, ?, ?)',
    ),
    forget: database.prepare('DELETE FROM snapshots WHERE collection = ? AND tenant = ?'),
    forgetAll: database.prepare('DELETE FROM snapshots WHERE collection = ?'),
    collection: database.prepare('SELECT 1 FROM collections WHERE id = ?'),
  };
}
