import { collectionNotFound, collectionReplaced, invalidArgument, StoreError } from '../errors.ts';
import type { Freshness } from '../freshness.ts';
import { checkCollectionName, isPhysicalName } from '../names.ts';
import type { CollectionKey, SpaceKey } from '../store.ts';
import type { Rows } from './memory-rows.ts';

/** A collection of a memory store. */
export interface Collection {
  physicalName: string;
  space: SpaceKey;
  golden: string | undefined;
  analysis: string | undefined;
  /** Field to type. */
  indexed: Record<string, string>;
  identity: string;
  rows: Rows;
  /** Counts the writes: the position of its freshness. */
  writes: number;
  /** The last of them that was of a tenant: the position of the freshness of that one. */
  writesOf: Map<string, number>;
}

/** What memory stores share. */
export class MemoryData {
  /** By physical name. */
  readonly collections = new Map<string, Collection>();
  /** Logical to physical name. */
  readonly aliases = new Map<string, string>();

  lookUp(name: string): Collection | undefined {
    return this.collections.get(this.aliases.get(name) ?? name);
  }

  find(name: string): Collection {
    checkCollectionName(name);
    const collection = this.lookUp(name);
    if (!collection) throw collectionNotFound(name);
    return collection;
  }

  findPhysical(name: string): Collection {
    const collection = this.find(name);
    if (!isPhysicalName(name)) throw collectionNotFound(name);
    return collection;
  }

  keyOf({ physicalName, space, identity, analysis, indexed }: Collection): CollectionKey {
    const aliases = [...this.aliases].filter(([, physical]) => physical === physicalName);
    const [name = physicalName] = aliases.map(([alias]) => alias).sort();
    return {
      name,
      physicalName,
      space,
      identity,
      ...(analysis !== undefined && { analysis }),
      ...(Object.keys(indexed).length > 0 && { indexedFields: { ...indexed } }),
    };
  }
}

/** @throws {StoreError} where a search can't answer as freshly as its caller asks */
export function checkFresh(name: string, now: Freshness, atLeast: Freshness | undefined): void {
  if (atLeast === undefined) return;
  if (atLeast.identity !== now.identity) throw collectionReplaced(name, atLeast.identity, now.identity);
  if (!/^\d{1,15}$/.test(atLeast.position)) {
    throw invalidArgument(`freshness position ${JSON.stringify(atLeast.position)} is not one of this store`);
  }
  if (Number(atLeast.position) > Number(now.position)) {
    throw new StoreError('STORE_NOT_FRESH', `collection "${name}" is at ${now.position} only`);
  }
}
