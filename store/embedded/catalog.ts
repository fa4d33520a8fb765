import { collectionNotFound } from '../errors.ts';
import { checkAlias, checkCollectionName, checkSpace, isPhysicalName, physicalFor } from '../names.ts';
import type { SpaceKey } from '../store.ts';
import type { Database, Statement } from './database.ts';
import { createDocumentTables, dropDocumentTables } from './documents.ts';

/** A row of the catalog. */
export interface Collection {
  /** Unique: not reused after a drop. */
  id: number;
  physical: string;
  fingerprint: string;
  dimensions: number;
  /** The first alias that leads here. */
  alias: string | null;
}

const SELECT = `
  SELECT id, physical, fingerprint, dimensions,
    (SELECT min(alias) FROM aliases WHERE collection = id) AS alias
  FROM collections`;

/** The collections and their names. The caller runs its methods in a transaction. */
export class Catalog {
  readonly #database: Database;
  readonly #byPhysical: Statement;
  readonly #byAlias: Statement;
  readonly #all: Statement;
  readonly #aliases: Statement;
  readonly #insert: Statement;
  readonly #setAlias: Statement;
  readonly #delete: Statement;

  constructor(database: Database) {
    this.#database = database;
    this.#byPhysical = database.prepare(`${SELECT} WHERE physical = ?`);
    this.#byAlias = database.prepare(`${SELECT} WHERE id = (SELECT collection FROM aliases WHERE alias = ?)`);
    this.#all = database.prepare(SELECT);
    this.#aliases = database.prepare(
      'SELECT alias, physical FROM aliases JOIN collections ON id = collection ORDER BY alias',
    );
    this.#insert = database.prepare(
      'INSERT INTO collections (physical, fingerprint, dimensions) VALUES (?, ?, ?)',
    );
    this.#setAlias = database.prepare('INSERT OR REPLACE INTO aliases (alias, collection) VALUES (?, ?)');
    this.#delete = database.prepare('DELETE FROM collections WHERE id = ?');
  }

  /** @throws {StoreError} `COLLECTION_NOT_FOUND` */
  resolve(name: string): Collection {
    checkCollectionName(name);
    const collection = this.#find(name);
    if (!collection) throw collectionNotFound(name);
    return collection;
  }

  /** Whether {@link ensure} would change nothing. @throws {StoreError} as {@link ensure} */
  has(name: string, space: SpaceKey): boolean {
    checkCollectionName(name);
    const collection = this.#find(name);
    if (collection) checkSpace(name, collection, space);
    else physicalFor(name, space);
    return collection !== undefined;
  }

  /** @throws {StoreError} `SPACE_MISMATCH` */
  ensure(name: string, space: SpaceKey): void {
    if (this.has(name, space)) return;
    const physical = physicalFor(name, space);
    let collection = this.#find(physical);
    if (collection) {
      checkSpace(name, collection, space);
    } else {
      this.#insert.run(physical, space.fingerprint, space.dimensions);
      collection = this.#find(physical)!;
      createDocumentTables(this.#database, collection.id);
    }
    if (name !== physical) this.#setAlias.run(name, collection.id);
  }

  list(): Collection[] {
    return this.#all.all() as Collection[];
  }

  aliases(): Map<string, string> {
    const rows = this.#aliases.all() as { alias: string; physical: string }[];
    return new Map(rows.map(({ alias, physical }) => [alias, physical]));
  }

  /** @throws {StoreError} `COLLECTION_NOT_FOUND` */
  switchAlias(alias: string, physical: string): void {
    checkAlias(alias);
    this.#setAlias.run(alias, this.#physical(physical).id);
  }

  /** @throws {StoreError} `COLLECTION_NOT_FOUND` */
  drop(physical: string): Collection {
    const collection = this.#physical(physical);
    dropDocumentTables(this.#database, collection.id);
    this.#delete.run(collection.id);
    return collection;
  }

  #find(name: string): Collection | undefined {
    const statement = isPhysicalName(name) ? this.#byPhysical : this.#byAlias;
    return statement.get(name) as Collection | undefined;
  }

  #physical(name: string): Collection {
    checkCollectionName(name);
    const collection = isPhysicalName(name) ? this.#find(name) : undefined;
    if (!collection) throw collectionNotFound(name);
    return collection;
  }
}
