import { collectionNotFound } from '../errors.ts';
import {
  checkAlias,
  checkCollectionName,
  checkSpace,
  isPhysicalName,
  newIdentity,
  physicalFor,
} from '../names.ts';
import type { CollectionKey, NewCollection, SpaceKey } from '../store.ts';
import type { Database, Statement } from './database.ts';
import { keepAnalysis, keepGolden } from './golden.ts';
import { checkLayout, createTables, dropTables, LAYOUT } from './layouts.ts';

/** A row of the catalog. */
export interface Collection {
  /** Unique: not reused after a drop. */
  id: number;
  physical: string;
  fingerprint: string;
  dimensions: number;
  layout: number;
  /** See `CollectionKey.identity`. */
  identity: string;
  /** The first alias that leads here. */
  alias: string | null;
}

/** What callers know a collection by. */
export function keyOf({ alias, physical, fingerprint, dimensions, identity }: Collection): CollectionKey {
  return {
    name: alias ?? physical,
    physicalName: physical,
    space: { fingerprint, dimensions },
    identity,
  };
}

const SELECT = `
  SELECT id, physical, fingerprint, dimensions, layout, identity,
    (SELECT min(alias) FROM aliases WHERE collection = id) AS alias
  FROM collections`;

/** The collections and their names. The caller runs its methods in a transaction. */
export class Catalog {
  readonly #database: Database;
  readonly #sql: ReturnType<typeof prepare>;

  constructor(database: Database) {
    this.#database = database;
    this.#sql = prepare((text) => database.prepare(text));
  }

  /** @throws {StoreError} `COLLECTION_NOT_FOUND`, `COLLECTION_LAYOUT` */
  resolve(name: string): Collection {
    checkCollectionName(name);
    const collection = this.#find(name);
    if (!collection) throw collectionNotFound(name);
    checkLayout(collection.physical, collection.layout);
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
  ensure(name: string, space: NewCollection): void {
    if (this.has(name, space)) return;
    const physical = physicalFor(name, space);
    let collection = this.#find(physical);
    if (collection) {
      checkSpace(name, collection, space);
    } else {
      const { fingerprint, dimensions, goldenVectors: golden, analysis } = space;
      this.#sql.insert.run(physical, fingerprint, dimensions, LAYOUT, newIdentity());
      collection = this.#find(physical)!;
      createTables(this.#database, collection.id);
      if (golden !== undefined) keepGolden(this.#database, collection.id, golden);
      if (analysis !== undefined) keepAnalysis(this.#database, collection.id, analysis);
    }
    if (name !== physical) this.#sql.setAlias.run(name, collection.id);
  }

  /** Every collection, of whatever layout. */
  list(): Collection[] {
    return this.#sql.all.all() as Collection[];
  }

  aliases(): Map<string, string> {
    const rows = this.#sql.aliases.all() as { alias: string; physical: string }[];
    return new Map(rows.map(({ alias, physical }) => [alias, physical]));
  }

  /** @throws {StoreError} `COLLECTION_NOT_FOUND` */
  switchAlias(alias: string, physical: string): void {
    checkAlias(alias);
    this.#sql.setAlias.run(alias, this.#physical(physical).id);
  }

  /** @throws {StoreError} `COLLECTION_NOT_FOUND` */
  drop(physical: string): Collection {
    const collection = this.#physical(physical);
    dropTables(this.#database, collection.id);
    this.#sql.forgetPositions.run(collection.id);
    this.#sql.delete.run(collection.id);
    return collection;
  }

  #find(name: string): Collection | undefined {
    const statement = isPhysicalName(name) ? this.#sql.byPhysical : this.#sql.byAlias;
    return statement.get(name) as Collection | undefined;
  }

  #physical(name: string): Collection {
    checkCollectionName(name);
    const collection = isPhysicalName(name) ? this.#find(name) : undefined;
    if (!collection) throw collectionNotFound(name);
    return collection;
  }
}

function prepare(sql: (text: string) => Statement) {
  return {
    byPhysical: sql(`${SELECT} WHERE physical = ?`),
    byAlias: sql(`${SELECT} WHERE id = (SELECT collection FROM aliases WHERE alias = ?)`),
    all: sql(SELECT),
    aliases: sql('SELECT alias, physical FROM aliases JOIN collections ON id = collection ORDER BY alias'),
    insert: sql(
      'INSERT INTO collections (physical, fingerprint, dimensions, layout, identity) VALUES (?, ?, ?, ?, ?)',
    ),
    setAlias: sql('INSERT OR REPLACE INTO aliases (alias, collection) VALUES (?, ?)'),
    forgetPositions: sql('DELETE FROM positions WHERE collection = ?'),
    delete: sql('DELETE FROM collections WHERE id = ?'),
  };
}
