import { setMaxListeners } from 'node:events';
import { context } from '@opentelemetry/api';
import { checkLimit, checkQuery, checkScope } from '../check.ts';
import { collectionNotFound, collectionReplaced, StoreError } from '../errors.ts';
import { checkIndexed, checkRoom, type FieldType } from '../indexed-fields.ts';
import { checkAnalysis, checkGolden, isPhysicalName } from '../names.ts';
import type { Freshness } from '../freshness.ts';
import type { Filter, SearchHit, SearchQuery } from '../queries.ts';
import type {
  BulkLoad,
  CallOptions,
  CollectionInfo,
  CollectionKey,
  CountedWords,
  Counts,
  PageRequest,
  ScrollPage,
  NewCollection,
  Store,
  TenantCounts,
  Usage,
} from '../store.ts';
import type {
  DocumentKey,
  FullDocument,
  GoneDocument,
  Origin,
  RememberedDelete,
  StoredDocument,
} from '../document.ts';
import type { DocumentWrite, DocumentWriteResult } from '../writes.ts';
import { readOnly } from './adopted/record.ts';
import { beginBulk, endExpired } from './bulk.ts';
import { Collections, reasonOf } from './collections.ts';
import type { Described } from './described.ts';
import { checkWhole, planCollections, type QdrantConfig } from './config.ts';
import { checkPosition } from './freshness.ts';
import { type OpenCollection, OpenCollections } from './open-collections.ts';
import { checkAll } from './prepare.ts';
import {
  count,
  countAll,
  deleteByFilter,
  findDelete,
  findOrigins,
  lookup,
  read,
  scroll,
  scrollDeletes,
  tenantCounts,
  tenants,
} from './reads.ts';
import { dropTenant, measure, remains, usage } from './tenants.ts';
import { Failure } from './transport/failure.ts';
import { openTransport } from './transport/open.ts';
import { throwIfOver } from './transport/bounds.ts';
import type { Transport } from './transport/transport.ts';
import { countWords } from './words.ts';
import { Writer } from './writes.ts';

/** Most points that a description counts exactly: in a larger collection that takes too long. */
const EXACT_COUNT_POINTS = 100_000;

/**
 * Vectors in a Qdrant server or cluster, 1.16 or newer. Opening it needs no server; while the server is away,
 * calls fail with `STORE_UNAVAILABLE`.
 */
export class QdrantStore implements Store {
  readonly kind = 'qdrant';
  readonly #transport: Transport;
  readonly #collections: Collections;
  readonly #open: OpenCollections;
  readonly #pending = new Set<Promise<unknown>>();
  /** Aborted when the store is closed, which ends background work. */
  readonly #closing = new AbortController();

  /**
   * @throws {StoreError} `STORE_INVALID_ARGUMENT`, naming the setting, if the configuration cannot be used
   */
  constructor(config: QdrantConfig, log?: { warn(message: string): void }) {
    checkWhole('hnswEf', config.hnswEf, 1);
    if (config.oversampling !== undefined && !(config.oversampling >= 1)) {
      throw new StoreError(
        'STORE_INVALID_ARGUMENT',
        `oversampling is ${config.oversampling}; use a number from 1`,
      );
    }
    setMaxListeners(0, this.#closing.signal);
    this.#transport = openTransport(config, log);
    this.#collections = new Collections(this.#transport, planCollections(config));
    this.#open = new OpenCollections(this.#transport, config, this.#closing.signal);
  }

  ensureCollection(name: string, space: NewCollection, options: CallOptions = {}): Promise<CollectionInfo> {
    return this.#run(options, async (bounds) => {
      checkGolden(space);
      checkAnalysis(space.analysis);
      const described = await this.#collections.ensure(name, space, bounds);
      this.#open.remember(described);
      await endExpired(this.#collections, described, bounds);
      return this.#info(described, await this.#collections.aliases(bounds), bounds);
    });
  }

  goldenVectors(collection: string, options: CallOptions = {}): Promise<string | undefined> {
    return this.#run(options, async (bounds) => {
      const physical = await this.#collections.resolve(collection, bounds);
      const { golden } = (await this.#collections.describe(physical, bounds)).metadata;
      return typeof golden === 'string' ? golden : undefined;
    });
  }

  setAnalysis(collection: string, analysis: string, options: CallOptions = {}): Promise<void> {
    return this.#run(options, async (bounds) => {
      checkAnalysis(analysis);
      const physical = await this.#collections.resolve(collection, bounds);
      if ((await this.#collections.describe(physical, bounds)).adoption)
        throw readOnly(collection, 'another analysis');
      await this.#collections.configure(physical, { metadata: { analysis } }, bounds);
    });
  }

  indexField(collection: string, field: string, type: FieldType, options: CallOptions = {}): Promise<void> {
    return this.#run(options, async (bounds) => {
      const one = checkIndexed(field, type);
      const physical = await this.#collections.resolve(collection, bounds);
      const { adoption, indexedFields } = await this.#collections.describe(physical, bounds);
      if (adoption) throw readOnly(collection, 'another index');
      checkRoom(indexedFields, one, type);
      if (indexedFields[one] === undefined) {
        await this.#collections.indexField(physical, one, type, bounds);
      }
    });
  }

  async words(
    collection: string,
    tenant: string,
    { limit }: { limit: number; known?: string },
    options: CallOptions = {},
  ): Promise<CountedWords> {
    checkScope(tenant, undefined);
    checkLimit(limit);
    return this.#using(collection, options, async ({ points, adopted, mostValues = limit }, bounds) =>
      adopted
        ? { stamp: '', counted: { words: '', passages: new Uint32Array() } }
        : countWords(points, tenant, Math.min(limit, mostValues), bounds),
    );
  }

  findCollection(name: string, options: CallOptions = {}): Promise<CollectionKey> {
    return this.#run(options, async (bounds) => {
      const aliases = await this.#collections.aliases(bounds);
      const physicalName = Collections.target(name, aliases);
      return keyOf(await this.#collections.describe(physicalName, bounds), aliases);
    });
  }

  listCollections(options: CallOptions = {}): Promise<CollectionInfo[]> {
    return this.#run(options, async (bounds) => {
      const [described, aliases] = await Promise.all([
        this.#collections.list(bounds),
        this.#collections.aliases(bounds),
      ]);
      const infos = await Promise.all(
        described.map((one) =>
          this.#info(one, aliases, bounds).catch((error: unknown) => {
            if (reasonOf(error) === 'COLLECTION_NOT_FOUND') return undefined;
            throw error;
          }),
        ),
      );
      return infos.filter((info) => info !== undefined).sort((a, b) => (a.name < b.name ? -1 : 1));
    });
  }

  async writeDocuments(
    collection: string,
    writes: readonly DocumentWrite[],
    options: CallOptions = {},
  ): Promise<DocumentWriteResult[]> {
    const checked = checkAll(writes);
    return this.#writing(collection, 'a write', options, (open, bounds) => {
      this.#open.sweepNowAndThen(open);
      return new Writer(open.points, open.dimensions, checked, bounds).write();
    });
  }

  beginBulk(collection: string, options: CallOptions = {}): Promise<BulkLoad> {
    return this.#run(options, async (bounds) => {
      const physical = await this.#collections.resolve(collection, bounds);
      if ((await this.#collections.describe(physical, bounds)).adoption)
        throw readOnly(collection, 'a bulk load');
      const load = await beginBulk(this.#collections, physical, this.#closing.signal, bounds);
      return { end: (own = {}) => this.#run(own, (bounds) => load.end(bounds)) };
    });
  }

  lookupDocuments(
    collection: string,
    keys: readonly DocumentKey[],
    options: CallOptions = {},
  ): Promise<(StoredDocument | undefined)[]> {
    return this.#using(collection, options, ({ points, adopted }, bounds) =>
      adopted ? adopted.lookup(keys, bounds) : lookup(points, keys, bounds),
    );
  }

  async deleteByFilter(
    collection: string,
    tenant: string,
    filter: Filter,
    options: CallOptions = {},
  ): Promise<number> {
    checkScope(tenant, filter);
    return this.#writing(collection, 'a delete', options, ({ points }, bounds) =>
      deleteByFilter(points, tenant, filter, bounds),
    );
  }

  async search(collection: string, query: SearchQuery, options: CallOptions = {}): Promise<SearchHit[]> {
    checkQuery(query);
    const { atLeast } = query;
    const search = async (open: OpenCollection, bounds: CallOptions) => {
      const { identity, points, copies, searcher, adopted } = open;
      if (atLeast) {
        if (atLeast.identity !== identity) throw collectionReplaced(collection, atLeast.identity, identity);
        if (adopted) throw readOnly(collection, 'a freshness token');
        await checkPosition(points, collection, copies, atLeast.position, bounds);
      }
      return (adopted ?? searcher).search(query, bounds);
    };
    return this.#using(collection, options, search, { asOfNow: atLeast !== undefined });
  }

  async count(
    collection: string,
    tenant: string,
    filter?: Filter,
    options: CallOptions = {},
  ): Promise<Counts> {
    checkScope(tenant, filter);
    return this.#using(collection, options, ({ points, adopted }, bounds) =>
      adopted ? adopted.count(tenant, filter, bounds) : count(points, tenant, filter, bounds),
    );
  }

  async scroll(
    collection: string,
    tenant: string,
    page: PageRequest,
    options: CallOptions = {},
  ): Promise<ScrollPage> {
    checkScope(tenant, page.filter);
    checkLimit(page.limit);
    return this.#using(collection, options, ({ points, adopted }, bounds) =>
      adopted ? adopted.scroll(tenant, page, bounds) : scroll(points, tenant, page, bounds),
    );
  }

  readDocuments(
    collection: string,
    keys: readonly DocumentKey[],
    { withVectors = false }: { withVectors?: boolean } = {},
    options: CallOptions = {},
  ): Promise<(FullDocument | undefined)[]> {
    return this.#using(collection, options, ({ points, adopted }, bounds) =>
      adopted ? adopted.read(keys, withVectors, bounds) : read(points, keys, withVectors, bounds),
    );
  }

  findOrigins(
    collection: string,
    keys: readonly DocumentKey[],
    options: CallOptions = {},
  ): Promise<(Origin | undefined)[]> {
    return this.#using(collection, options, async ({ points, adopted }, bounds) => {
      if (!adopted) return findOrigins(points, keys, bounds);
      const found = await adopted.lookup(keys, bounds);
      return found.map((document) => document && { foreign: true });
    });
  }

  findDelete(
    collection: string,
    key: DocumentKey,
    options: CallOptions = {},
  ): Promise<GoneDocument | undefined> {
    return this.#using(collection, options, async ({ points, adopted }, bounds) =>
      adopted ? undefined : findDelete(points, key, bounds),
    );
  }

  tenants(collection: string, options: CallOptions = {}): Promise<string[]> {
    return this.#using(collection, options, ({ points, adopted }, bounds) =>
      adopted ? adopted.tenants(bounds) : tenants(points, bounds),
    );
  }

  tenantCounts(collection: string, options: CallOptions = {}): Promise<TenantCounts[]> {
    return this.#using(collection, options, ({ points, adopted }, bounds) =>
      adopted ? adopted.tenantCounts(bounds) : tenantCounts(points, bounds),
    );
  }

  async usage(collection: string, tenant: string, options: CallOptions = {}): Promise<Usage> {
    checkScope(tenant, undefined);
    return this.#writing(collection, 'a quota', options, ({ points, dimensions }, bounds) =>
      usage(points, tenant, dimensions, bounds),
    );
  }

  measureDocuments(
    collection: string,
    keys: readonly DocumentKey[],
    options: CallOptions = {},
  ): Promise<(number | undefined)[]> {
    return this.#writing(collection, 'a quota', options, ({ points, dimensions }, bounds) =>
      measure(points, keys, dimensions, bounds),
    );
  }

  async dropTenant(collection: string, tenant: string, options: CallOptions = {}): Promise<number> {
    checkScope(tenant, undefined);
    return this.#writing(collection, 'the drop of a tenant', options, ({ points }, bounds) =>
      dropTenant(points, tenant, bounds),
    );
  }

  async remains(collection: string, tenant: string, options: CallOptions = {}): Promise<number> {
    checkScope(tenant, undefined);
    return this.#using(collection, options, async ({ points, adopted }, bounds) =>
      adopted ? 0 : remains(points, tenant, bounds),
    );
  }

  async scrollDeletes(
    collection: string,
    tenant: string,
    page: { limit: number; after?: string },
    options: CallOptions = {},
  ): Promise<{ deletes: RememberedDelete[]; next?: string }> {
    checkScope(tenant, undefined);
    checkLimit(page.limit);
    return this.#using(collection, options, async ({ points, adopted }, bounds) =>
      adopted ? { deletes: [] } : scrollDeletes(points, tenant, page, bounds),
    );
  }

  freshness(collection: string, options: CallOptions = {}): Promise<Freshness> {
    const now = async ({ identity, copies, marker }: OpenCollection, bounds: CallOptions) => ({
      identity,
      position: await marker.position(copies, bounds),
    });
    // It may have to write a marker.
    return this.#writing(collection, 'a freshness token', options, now, { asOfNow: true });
  }

  aliases(options: CallOptions = {}): Promise<Map<string, string>> {
    return this.#run(options, async (bounds) => {
      const all = await this.#collections.aliases(bounds);
      return new Map([...all].filter(([, physical]) => isPhysicalName(physical)));
    });
  }

  switchAlias(alias: string, physical: string, options: CallOptions = {}): Promise<void> {
    return this.#run(options, (bounds) => this.#collections.switchAlias(alias, physical, bounds));
  }

  dropCollection(physical: string, options: CallOptions = {}): Promise<void> {
    return this.#run(options, async (bounds) => {
      await this.#collections.drop(physical, bounds);
      this.#open.delete(physical);
    });
  }

  prepare(): Promise<void> {
    return Promise.resolve();
  }

  probe(options: CallOptions = {}): Promise<void> {
    return this.#run(options, async (bounds) => {
      await this.#collections.aliases(bounds);
    });
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.allSettled([...this.#pending, this.#open.idle()]);
    await this.#transport.close();
  }

  /**
   * Runs `action` on the collection that a name leads to.
   *
   * @param asOfNow whether to ask what it is now: it may have been dropped and made again
   */
  #using<Result>(
    name: string,
    options: CallOptions,
    action: (collection: OpenCollection, bounds: CallOptions) => Promise<Result>,
    { asOfNow = false }: { asOfNow?: boolean } = {},
  ): Promise<Result> {
    return this.#run(options, async (bounds) => {
      const physical = await this.#collections.resolve(name, bounds);
      try {
        const known = asOfNow ? undefined : this.#open.get(physical);
        const open = known ?? this.#open.remember(await this.#collections.describe(physical, bounds));
        return await action(open, bounds);
      } catch (error) {
        if (reasonOf(error) !== 'COLLECTION_NOT_FOUND') throw error;
        this.#open.delete(physical);
        throw collectionNotFound(name);
      }
    });
  }

  /** The same for what writes. @throws {StoreError} `COLLECTION_READ_ONLY` where others own the collection */
  #writing<Result>(
    name: string,
    what: string,
    options: CallOptions,
    action: (collection: OpenCollection, bounds: CallOptions) => Promise<Result>,
    look: { asOfNow?: boolean } = {},
  ): Promise<Result> {
    const own = async (open: OpenCollection, bounds: CallOptions) => {
      if (open.adopted) throw readOnly(name, what);
      return await action(open, bounds);
    };
    return this.#using(name, options, own, look);
  }

  async #info(
    described: Described,
    aliases: ReadonlyMap<string, string>,
    options: CallOptions,
  ): Promise<CollectionInfo> {
    const exact = described.points <= EXACT_COUNT_POINTS;
    const { adopted, points } = this.#open.remember(described);
    const counts = await (adopted ? adopted.countAll(exact, options) : countAll(points, exact, options));
    return { ...keyOf(described, aliases), ...counts };
  }

  /** Runs `action` within the caller's bounds, which hold for all its requests together. */
  async #run<Result>(
    options: CallOptions,
    action: (bounds: CallOptions) => Promise<Result>,
  ): Promise<Result> {
    throwIfOver(options);
    if (this.#closing.signal.aborted)
      throw new StoreError('STORE_UNAVAILABLE', 'the Qdrant store has been closed');
    // As of now: what is active is another thing after the first wait.
    const work = action({ ...options, trace: options.trace ?? context.active() });
    this.#pending.add(work);
    try {
      return await work;
    } catch (error) {
      throwIfOver(options);
      throw error instanceof Failure ? error.error : error;
    } finally {
      this.#pending.delete(work);
    }
  }
}

function keyOf(
  { physical, space, identity, adoption, admitted, analysis, indexedFields }: Described,
  aliases: ReadonlyMap<string, string>,
): CollectionKey {
  return {
    name: nameOf(physical, aliases),
    physicalName: physical,
    space,
    identity,
    ...(adoption && { readOnly: true }),
    ...(admitted.length > 0 && { admittedSpaces: admitted }),
    ...(analysis !== undefined && { analysis }),
    ...(Object.keys(indexedFields).length > 0 && { indexedFields }),
  };
}

/** The first alias that leads to a collection, or its own name. */
function nameOf(physical: string, aliases: ReadonlyMap<string, string>): string {
  return [...aliases].find(([, target]) => target === physical)?.[0] ?? physical;
}
