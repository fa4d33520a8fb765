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

/** What has changed in a collection, in order. The newest change is the position of its freshness. */
export class ChangeLog {
  readonly #sql: ReturnType<typeof prepare>;
  readonly #kept: number;

  constructor(database: Database, collection: number, kept = CHANGES_KEPT) {
    this.#sql = prepare(database, `changes_${collection}`);
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
  }

  /** Cuts a log that has grown too long. */
  trim(): void {
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
    trim: database.prepare(`DELETE FROM ${changes} WHERE seq <= ?`),
  };
}
