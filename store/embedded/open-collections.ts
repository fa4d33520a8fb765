import type { Catalog, Collection } from './catalog.ts';
import type { Database } from './database.ts';
import { Documents } from './documents.ts';
import { Mirror } from './mirror.ts';
import { type KeptMirror, Snapshots } from './snapshots.ts';

/** With more vectors than this a scan takes so much time and memory that a server is the better choice. */
export const MANY_VECTORS = 300_000;

/** A collection that this process uses. */
interface OpenCollection {
  documents: Documents;
  /**
   * Key: row of `tenants`. Only searches fill it, so a process that only writes holds no vectors in memory.
   */
  mirrors: Map<number, Mirror>;
}

/** The collections that this process uses, by what it holds of each. The caller runs its methods in a transaction. */
export class OpenCollections {
  readonly #database: Database;
  readonly #catalog: Catalog;
  readonly #warn: (message: string) => void;
  readonly #open = new Map<number, OpenCollection>();
  readonly snapshots: Snapshots;
  #warned = false;

  constructor(database: Database, catalog: Catalog, warn: (message: string) => void) {
    this.#database = database;
    this.#catalog = catalog;
    this.#warn = warn;
    this.snapshots = new Snapshots(database, warn);
  }

  documents(collection: Collection): Documents {
    return this.#collection(collection).documents;
  }

  /** A tenant's vectors, as far as they are loaded. */
  mirror(collection: Collection, tenant: number): Mirror {
    const { documents, mirrors } = this.#collection(collection);
    let mirror = mirrors.get(tenant);
    if (!mirror) {
      mirror = new Mirror(documents, tenant, collection.dimensions, {
        open: (oldest) => this.snapshots.open(collection, tenant, oldest),
        reject: (error) => this.snapshots.reject(collection.id, tenant, error),
        restored: (restored) => this.snapshots.restored(restored),
      });
      mirrors.set(tenant, mirror);
    }
    return mirror;
  }

  /** The same, with what its snapshot is made from. */
  kept(collection: Collection, tenant: number): KeptMirror {
    const { documents } = this.#collection(collection);
    return { collection, documents, tenant, mirror: this.mirror(collection, tenant) };
  }

  /** Forgets a collection that was dropped. */
  forget({ id }: Pick<Collection, 'id'>): void {
    this.#open.delete(id);
  }

  /** Forgets the vectors of tenants that were dropped, by whatever process. */
  forgetTenants(): void {
    const there = new Set(this.#catalog.list().map(({ id }) => id));
    for (const [id, { documents, mirrors }] of this.#open) {
      if (!there.has(id)) continue;
      for (const tenant of mirrors.keys()) if (!documents.tenants.has(tenant)) mirrors.delete(tenant);
    }
  }

  /** Warns, once, of more vectors in memory than are good for it. */
  warnOfSize(): void {
    if (this.#warned) return;
    let vectors = 0;
    for (const { mirrors } of this.#open.values())
      for (const mirror of mirrors.values()) vectors += mirror.passages;
    if (vectors <= MANY_VECTORS) return;
    this.#warned = true;
    this.#warn(
      `the embedded store holds ${vectors} vectors in memory and scans them for each search; ` +
        `past ${MANY_VECTORS}, move to Qdrant (store kind "qdrant")`,
    );
  }

  #collection({ id, dimensions }: Collection): OpenCollection {
    let open = this.#open.get(id);
    if (!open) {
      this.#forgetDropped();
      open = { documents: new Documents(this.#database, { id, dimensions }), mirrors: new Map() };
      this.#open.set(id, open);
    }
    return open;
  }

  /** Closes collections that another process has dropped. */
  #forgetDropped(): void {
    const there = new Set(this.#catalog.list().map(({ id }) => id));
    for (const id of this.#open.keys()) if (!there.has(id)) this.#open.delete(id);
  }
}
