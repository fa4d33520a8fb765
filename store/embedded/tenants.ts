import type { Counts, TenantCounts } from '../store.ts';
import type { Database } from './database.ts';
import { bytes, string } from './strings.ts';

/** The tenants of a collection, with their counts. */
export class Tenants {
  readonly #sql: ReturnType<typeof prepare>;

  constructor(database: Database, collection: number) {
    this.#sql = prepare(database, collection);
  }

  /** The row of a tenant; `undefined` for one that never had a document. */
  find(tenant: string): number | undefined {
    const row = this.#sql.find.get(bytes(tenant)) as { id: number } | undefined;
    return row?.id;
  }

  add(tenant: string): number {
    return Number(this.#sql.add.run(bytes(tenant)).lastInsertRowid);
  }

  /** Every tenant that has documents; tenants with the most passages first. */
  bySize(): { tenant: number; passages: number }[] {
    return this.#sql.bySize.all() as { tenant: number; passages: number }[];
  }

  /** Every tenant that has documents or remembered deletes. */
  names(now: number): string[] {
    return (this.#sql.names.all(now) as { tenant: Uint8Array }[]).map(({ tenant }) => string(tenant));
  }

  /** Counts of a tenant, or of all, without documents that have expired. */
  counts(now: number, tenant?: number): Counts {
    const row = tenant === undefined ? this.#sql.countAll.get() : this.#sql.countTenant.get(tenant);
    const expired = tenant === undefined ? this.#sql.expiredAll.get(now) : this.#sql.expired.get(now, tenant);
    const { documents, passages } = { documents: 0, passages: 0, ...(row as Counts | undefined) };
    const gone = expired as Counts;
    return { documents: documents - gone.documents, passages: passages - gone.passages };
  }

  /** Counts of each tenant that has documents, without those that have expired. */
  all(now: number): TenantCounts[] {
    const rows = this.#sql.all.all(now) as (Counts & { tenant: Uint8Array })[];
    return rows.map(({ tenant, documents, passages }) => ({ tenant: string(tenant), documents, passages }));
  }

  /** Forgets the name of a tenant that has nothing any more. */
  forget(tenant: number): void {
    this.#sql.forget.run(tenant);
  }

  /** Whether a row is of a tenant. */
  has(tenant: number): boolean {
    return this.#sql.has.get(tenant) !== undefined;
  }

  /** Adds to a tenant's counts. */
  change(tenant: number, documents: number, passages: number): void {
    this.#sql.change.run(documents, passages, tenant);
  }
}

function prepare(database: Database, collection: number) {
  const tenants = `tenants_${collection}`;
  const documents = `documents_${collection}`;
  const sums = (columns: string) =>
    `SELECT ${columns} AS documents, coalesce(sum(passages), 0) AS passages FROM`;
  const expired = `${sums('count(*)')} ${documents} INDEXED BY expiring_${collection} WHERE expires_at <= ?`;
  return {
    find: database.prepare(`SELECT id FROM ${tenants} WHERE tenant = ?`),
    add: database.prepare(`INSERT INTO ${tenants} (tenant) VALUES (?)`),
    change: database.prepare(
      `UPDATE ${tenants} SET documents = documents + ?, passages = passages + ? WHERE id = ?`,
    ),
    bySize: database.prepare(
      `SELECT id AS tenant, passages FROM ${tenants} WHERE passages > 0 ORDER BY passages DESC`,
    ),
    names: database.prepare(
      `SELECT tenant FROM ${tenants} t
       WHERE EXISTS (SELECT 1 FROM ${documents} d
           WHERE d.tenant = t.id AND (d.expires_at IS NULL OR d.expires_at > ? OR d.version > 0))
         OR EXISTS (SELECT 1 FROM deletions_${collection} d WHERE d.tenant = t.id)
       ORDER BY tenant`,
    ),
    all: database.prepare(
      `SELECT tenant, t.documents - coalesce(gone, 0) AS documents, t.passages - coalesce(lost, 0) AS passages
       FROM ${tenants} t LEFT JOIN
         (SELECT tenant AS of, count(*) AS gone, sum(passages) AS lost
          FROM ${documents} INDEXED BY expiring_${collection} WHERE expires_at <= ? GROUP BY tenant) ON of = t.id
       WHERE t.documents > coalesce(gone, 0) ORDER BY tenant`,
    ),
    forget: database.prepare(`DELETE FROM ${tenants} WHERE id = ?`),
    has: database.prepare(`SELECT 1 FROM ${tenants} WHERE id = ?`),
    countTenant: database.prepare(`SELECT documents, passages FROM ${tenants} WHERE id = ?`),
    countAll: database.prepare(`${sums('coalesce(sum(documents), 0)')} ${tenants}`),
    expired: database.prepare(`${expired} AND tenant = ?`),
    expiredAll: database.prepare(expired),
  };
}
