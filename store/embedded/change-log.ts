import { FIRST_POSITION } from '../freshness.ts';
import type { Database } from './database.ts';

/** An entry of the change log, which tells mirrors of a put, a confirm, an update or a delete. */
export interface Change {
  seq: number;
  /** Row of `documents` that was removed, if any. */
  removed: number | null;
  /** Row of `documents` that was added or changed; `null` for a delete. */
  added: number | null;
}

/**
 * How many changes the log keeps. A mirror that is further behind loads everything again, which takes about
 * as long as applying this many changes. A log of twice this length is cut to this length.
 */
const CHANGES_KEPT = 100_000;

/**
 * What has changed in a collection, in order. Beside it each tenant has a position of its own, which says nothing of what
 * others write: it begins with the time of the tenant's first write, in microseconds, and grows by one with each transaction
 * that changes something of the tenant. So it grows as well over a drop of the tenant.
 */
export class ChangeLog {
  readonly #sql: ReturnType<typeof prepare>;
  readonly #kept: number;
  readonly #collection: number;
  /** Tenants that this transaction has changed something of. */
  readonly #changed = new Set<number>();

  constructor(database: Database, collection: number, kept = CHANGES_KEPT) {
    this.#sql = prepare(database, `changes_${collection}`);
    this.#collection = collection;
    this.#kept = kept;
  }

  /** The oldest and the newest change that the log has; 0 if there never was one. */
  bounds(): { oldest: number; newest: number } {
    return this.#sql.bounds.get() as { oldest: number; newest: number };
  }

  /** The first changes to a tenant's documents after `seq`, in order. */
  after(tenant: number, seq: number, limit: number): Change[] {
    return this.#sql.after.all(seq, tenant, limit) as Change[];
  }

  add(tenant: number, removed: number | null, added: number | null): void {
    this.#sql.add.run(tenant, removed, added);
    this.#changed.add(tenant);
  }

  /** How far a tenant has come. */
  position(tenant: number | undefined): number {
    const row = tenant === undefined ? undefined : this.#sql.position.get(this.#collection, tenant);
    return (row as { position: number } | undefined)?.position ?? FIRST_POSITION;
  }

  /** How far a tenant has come once this transaction, which changes something of it, is done; or no further. */
  nextPosition(tenant: number): number {
    const now = this.position(tenant);
    return now === FIRST_POSITION ? Date.now() * 1000 : now + 1;
  }

  /** A tenant is gone. */
  forget(tenant: number): void {
    this.#changed.delete(tenant);
    this.#sql.forget.run(this.#collection, tenant);
  }

  /** Ends the changes of a transaction: moves the tenants on, and cuts a log that has grown too long. */
  trim(): void {
    for (const tenant of this.#changed) this.#sql.moveOn.run(this.#collection, tenant, Date.now() * 1000);
    this.#changed.clear();
    const { oldest, newest } = this.bounds();
    if (newest - oldest >= 2 * this.#kept) this.#sql.trim.run(newest - this.#kept);
  }
}

function prepare(database: Database, changes: string) {
  return {
    add: database.prepare(`INSERT INTO ${changes} (tenant, removed, added) VALUES (?, ?, ?)`),
    bounds: database.prepare(`SELECT coalesce((SELECT min(seq) FROM ${changes}), 0) AS oldest,
         coalesce((SELECT max(seq) FROM ${changes}), 0) AS newest`),
    after: database.prepare(
      `SELECT seq, removed, added FROM ${changes} WHERE seq > ? AND tenant = ? ORDER BY seq LIMIT ?`,
    ),
    position: database.prepare('SELECT position FROM positions WHERE collection = ? AND tenant = ?'),
    moveOn: database.prepare(
      `INSERT INTO positions (collection, tenant, position) VALUES (?, ?, ?)
       ON CONFLICT DO UPDATE SET position = position + 1`,
    ),
    forget: database.prepare('DELETE FROM positions WHERE collection = ? AND tenant = ?'),
    trim: database.prepare(`DELETE FROM ${changes} WHERE seq <= ?`),
  };
}
