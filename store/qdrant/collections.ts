import type { Schemas } from '@qdrant/js-client-rest';
import { collectionNotFound, StoreError } from '../errors.ts';
import {
  checkAlias,
  checkCollectionName,
  checkSpace,
  isLogicalName,
  isPhysicalName,
  physicalFor,
} from '../names.ts';
import type { FieldType } from '../indexed-fields.ts';
import type { CallOptions, NewCollection, SpaceKey } from '../store.ts';
import { readOnly } from './adopted/record.ts';
import type { CollectionPlan } from './config.ts';
import { type Described, describedAdopted, describedOwn, foreign } from './described.ts';
import { payloadPath } from './filters.ts';
import { Points } from './points.ts';
import { allIndexes, layoutIndexes, newCollection, type PayloadIndex } from './schema.ts';
import { type Call, Failure, isBeingMade } from './transport/failure.ts';
import { sleep } from './transport/bounds.ts';
import type { Transport } from './transport/transport.ts';
import { upgrade } from './upgrade.ts';

/** Older versions of Qdrant have no metadata of collections and no conditional upsert. */
const OLDEST_SERVER = [1, 16] as const;

/** Seconds that the server may take for a change that the cluster has to agree on. */
const CONSENSUS_TIMEOUT_S = 30;
const CONSENSUS = `?timeout=${CONSENSUS_TIMEOUT_S}`;

/** Why a collection is not listed: it is not ours, we can't use it, or it was dropped in between. */
const UNLISTED: ReadonlySet<string> = new Set([
  'COLLECTION_FOREIGN',
  'COLLECTION_LAYOUT',
  'COLLECTION_NOT_FOUND',
]);

/** Wait between two looks at a collection that the cluster is still making, in milliseconds. */
const MAKING_MS = 100;

/**
 * How long a new alias has to stand before it counts, in milliseconds. If two processes make the same alias,
 * Qdrant keeps the last and does not tell the first, so each looks again.
 */
const ALIAS_SETTLES_MS = 100;

/** Collections and their aliases, as the server has them. */
export class Collections {
  readonly #transport: Transport;
  readonly #plan: CollectionPlan;

  constructor(transport: Transport, plan: CollectionPlan) {
    this.#transport = transport;
    this.#plan = plan;
  }

  /**
   * Logical name to physical name. The physical name of a collection that others made, and we have adopted, is an alias
   * of that form: `<name>--<first 12 of the fingerprint>`.
   */
  async aliases(options: CallOptions): Promise<Map<string, string>> {
    const targets = await this.targets(options);
    const physicalOf = new Map(
      [...targets].flatMap(([alias, target]) => (isPhysicalName(alias) ? [[target, alias]] : [])),
    );
    const pairs = [...targets].flatMap(([alias, target]): [string, string][] =>
      isPhysicalName(alias) ? [] : [[alias, physicalOf.get(target) ?? target]],
    );
    // Its own name leads to it, too, where no alias has taken that.
    for (const [target, physical] of physicalOf) {
      if (isLogicalName(target) && !targets.has(target)) pairs.push([target, physical]);
    }
    return new Map(pairs.sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  /** Each alias of the server, and the collection that it leads to. */
  async targets(options: CallOptions): Promise<Map<string, string>> {
    const { aliases } = await this.#call<Schemas['CollectionsAliasesResponse']>(
      { operation: 'aliases', method: 'GET', path: '/aliases' },
      options,
    );
    return new Map(aliases.map((alias) => [alias.alias_name, alias.collection_name] as const));
  }

  /** The physical collection that a name leads to. @throws {StoreError} `COLLECTION_NOT_FOUND` */
  async resolve(name: string, options: CallOptions): Promise<string> {
    checkCollectionName(name);
    return isPhysicalName(name) ? name : Collections.target(name, await this.aliases(options));
  }

  /** The same, with aliases read before. @throws {StoreError} `COLLECTION_NOT_FOUND` */
  static target(name: string, aliases: ReadonlyMap<string, string>): string {
    checkCollectionName(name);
    const physical = isPhysicalName(name) ? name : aliases.get(name);
    if (physical === undefined) throw collectionNotFound(name);
    return physical;
  }

  /**
   * Brings a collection of an older layout up to date.
   *
   * @throws {StoreError} `COLLECTION_NOT_FOUND`, `COLLECTION_FOREIGN`, `COLLECTION_LAYOUT`
   */
  async describe(physical: string, options: CallOptions): Promise<Described> {
    let info = await this.#info(physical, options);
    const adopted = describedAdopted(physical, info);
    if (adopted) return adopted;
    const { metadata } = info.config;
    if (typeof metadata?.['space'] !== 'string' || metadata['product'] !== 'scalingnote')
      throw foreign(physical);
    if (await this.#upgrade(physical, info, options)) info = await this.#info(physical, options);
    return describedOwn(physical, info);
  }

  /** Our physical collections, in any order. */
  async list(options: CallOptions): Promise<Described[]> {
    const { collections } = await this.#call<Schemas['CollectionsResponse']>(
      { operation: 'list', method: 'GET', path: '/collections' },
      options,
    );
    const own = collections.map(({ name }) => name).filter(isPhysicalName);
    const adopted = [...(await this.targets(options)).keys()].filter(isPhysicalName);
    const described = [...new Set([...own, ...adopted])].map((name) =>
      this.describe(name, options).catch((error: unknown) => {
        if (UNLISTED.has(reasonOf(error) ?? '')) return undefined;
        throw error;
      }),
    );
    return (await Promise.all(described)).filter((one) => one !== undefined);
  }

  /**
   * Makes a collection, its indexes and its alias, unless they are there.
   *
   * @throws {StoreError} `SPACE_MISMATCH`, `COLLECTION_FOREIGN`
   */
  async ensure(name: string, space: NewCollection, options: CallOptions): Promise<Described> {
    checkCollectionName(name);
    if (isPhysicalName(name)) {
      const known = await this.#find(name, options);
      if (known) return this.#complete(name, known, space, options);
      return this.#make(name, physicalFor(name, space), space, options);
    }
    const physical = physicalFor(name, space);
    const target = (await this.aliases(options)).get(name);
    if (target !== undefined)
      return this.#complete(name, await this.describe(target, options), space, options);
    const made = await this.#make(name, physical, space, options);
    await this.#claimAlias(name, made, options);
    return made;
  }

  /** @throws {StoreError} `COLLECTION_NOT_FOUND`, `COLLECTION_FOREIGN` */
  async switchAlias(alias: string, physical: string, options: CallOptions): Promise<void> {
    checkAlias(alias);
    checkPhysical(physical);
    const { adoption } = await this.describe(physical, options);
    const target = adoption ? (await this.targets(options)).get(physical) : physical;
    await this.setAlias(alias, target ?? physical, options);
  }

  /** @throws {StoreError} `COLLECTION_NOT_FOUND` */
  async drop(physical: string, options: CallOptions): Promise<void> {
    checkPhysical(physical);
    if ((await this.targets(options)).has(physical)) {
      throw readOnly(physical, `dropping it ("scalingnote adopt ${physical} --release" gives it back)`);
    }
    const dropped = await this.#about<boolean>(physical, 'drop', 'DELETE', options, { suffix: CONSENSUS });
    if (!dropped) throw collectionNotFound(physical);
  }

  /** Changes a collection's parameters. Merges the metadata; `null` removes a key. */
  async configure(
    physical: string,
    changes: Schemas['UpdateCollection'],
    options: CallOptions,
  ): Promise<void> {
    await this.#about(physical, 'configure', 'PATCH', options, { body: changes });
  }

  /** Indexes a field of the metadata, and returns when that is done. */
  async indexField(physical: string, field: string, type: FieldType, options: CallOptions): Promise<void> {
    const wanted: PayloadIndex[] = [[payloadPath(field), type]];
    await this.#index(physical, { wanted, indexed: new Set(), wait: true }, options);
  }

  /** Waits for a collection that another process is making, as long as that process waits itself. */
  async #info(physical: string, options: CallOptions): Promise<Schemas['CollectionInfo']> {
    const giveUpAt = Date.now() + 1000 * CONSENSUS_TIMEOUT_S;
    for (; ; await sleep(MAKING_MS, options.signal)) {
      try {
        return await this.#about<Schemas['CollectionInfo']>(physical, 'describe', 'GET', options);
      } catch (error) {
        if (!(error instanceof Failure && isBeingMade(error)) || Date.now() > giveUpAt) throw error;
      }
    }
  }

  /** Returns whether something changed. @throws {StoreError} `COLLECTION_LAYOUT` */
  #upgrade(
    physical: string,
    { config, payload_schema: schema }: Schemas['CollectionInfo'],
    options: CallOptions,
  ): Promise<boolean> {
    const wanted = layoutIndexes(Boolean(config.strict_mode_config?.enabled));
    const indexed = new Set(Object.keys(schema));
    const { identity } = config.metadata ?? {};
    const target = {
      physical,
      identity: typeof identity === 'string' ? identity : undefined,
      points: new Points(this.#transport, physical, (config.params.replication_factor ?? 1) > 1),
      index: (bounds: CallOptions) => this.#index(physical, { wanted, indexed, wait: false }, bounds),
      describe: (metadata: Readonly<Record<string, unknown>>, bounds: CallOptions) =>
        this.configure(physical, { metadata }, bounds),
    };
    return upgrade(target, config.metadata?.['layout'], options);
  }

  /** Adds the indexes that are missing. @param rest.wait until they are made */
  async #index(
    physical: string,
    {
      wanted,
      indexed,
      wait,
    }: {
      wanted: readonly PayloadIndex[];
      indexed: Pick<ReadonlySet<string>, 'has'>;
      wait: boolean;
    },
    options: CallOptions,
  ): Promise<void> {
    const missing = wanted.filter(([field]) => !indexed.has(field));
    await Promise.all(
      missing.map(([field, schema]) => {
        const body: Schemas['CreateFieldIndex'] = { field_name: field, field_schema: schema };
        return this.#about(physical, 'index', 'PUT', options, { suffix: `/index?wait=${wait}`, body });
      }),
    );
  }

  #call<Result>(call: Call, options: CallOptions): Promise<Result> {
    return this.#transport.call<Result>({ ...call, catalog: true }, options);
  }

  /** A call about one collection. @param rest.suffix of the path */
  #about<Result>(
    physical: string,
    operation: string,
    method: Call['method'],
    options: CallOptions,
    { suffix = '', body }: { suffix?: string; body?: object } = {},
  ): Promise<Result> {
    const path = `/collections/${encodeURIComponent(physical)}${suffix}`;
    const sent = body && { body: JSON.stringify(body) };
    return this.#call<Result>({ operation, method, path, collection: physical, ...sent }, options);
  }

  async #find(physical: string, options: CallOptions): Promise<Described | undefined> {
    try {
      return await this.describe(physical, options);
    } catch (error) {
      if (reasonOf(error) === 'COLLECTION_NOT_FOUND') return undefined;
      throw error;
    }
  }

  async #make(
    name: string,
    physical: string,
    space: NewCollection,
    options: CallOptions,
  ): Promise<Described> {
    let described = await this.#find(physical, options);
    if (!described) {
      await this.checkServer(options);
      await this.#create(physical, space, options);
      described = await this.describe(physical, options);
    }
    return this.#complete(name, described, space, options);
  }

  /**
   * Adds missing indexes: the process that made the collection may still be adding them, or may have died.
   */
  async #complete(
    name: string,
    described: Described,
    space: SpaceKey,
    options: CallOptions,
  ): Promise<Described> {
    checkSpace(name, described.space, space);
    if (described.adoption) throw readOnly(name, 'an ingest');
    const wanted = allIndexes(this.#plan);
    await this.#index(described.physical, { wanted, indexed: described.indexed, wait: true }, options);
    return described;
  }

  async #create(physical: string, space: NewCollection, options: CallOptions): Promise<void> {
    const body = newCollection(space, this.#plan);
    try {
      await this.#about(physical, 'create', 'PUT', options, { suffix: CONSENSUS, body });
    } catch (error) {
      // Another process was quicker.
      if (error instanceof Failure && error.status === 409) return;
      throw error;
    }
  }

  /**
   * Makes the alias. @throws {StoreError} `SPACE_MISMATCH` if another process has made it for another space
   */
  async #claimAlias(name: string, { physical, space }: Described, options: CallOptions): Promise<void> {
    const current = (await this.aliases(options)).get(name);
    if (current === undefined) await this.setAlias(name, physical, options);
    if (current !== physical) await sleep(ALIAS_SETTLES_MS, options.signal);
    const settled = (await this.aliases(options)).get(name);
    if (settled === undefined) throw collectionNotFound(name);
    if (settled !== physical) checkSpace(name, (await this.describe(settled, options)).space, space);
  }

  /** Makes an alias lead to a collection, whatever it is. @throws {StoreError} `COLLECTION_FOREIGN` where a collection has its name */
  async setAlias(alias: string, physical: string, options: CallOptions): Promise<void> {
    const create = { create_alias: { alias_name: alias, collection_name: physical } };
    await this.changeAliases(physical, [create], options);
  }

  /** Changes aliases in one step. @throws {StoreError} `COLLECTION_FOREIGN` where a collection has the name of one */
  async changeAliases(
    collection: string,
    actions: Schemas['ChangeAliasesOperation']['actions'],
    options: CallOptions,
  ): Promise<void> {
    try {
      const path = `/collections/aliases${CONSENSUS}`;
      const call = { operation: 'switch alias', method: 'POST', path, collection } as const;
      await this.#call({ ...call, body: JSON.stringify({ actions }) }, options);
    } catch (error) {
      // A collection has the name of the alias.
      if (error instanceof Failure && error.status === 409) {
        throw foreign(
          actions.flatMap((one) => ('create_alias' in one ? [one.create_alias.alias_name] : [])).join('", "'),
        );
      }
      throw error;
    }
  }

  /** @throws {StoreError} `STORE_UNSUPPORTED` where the server keeps no metadata of collections */
  async checkServer(options: CallOptions): Promise<void> {
    const { version } = await this.#call<{ version?: string }>(
      { operation: 'version', method: 'GET', path: '/' },
      options,
    );
    const [major = 0, minor = 0] = (version ?? '').split('.').map(Number);
    const [oldestMajor, oldestMinor] = OLDEST_SERVER;
    if (major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)) return;
    throw new StoreError(
      'STORE_UNSUPPORTED',
      `Qdrant ${version} is too old: it cannot store the space in a collection's metadata; ` +
        `use ${OLDEST_SERVER.join('.')} or newer`,
    );
  }
}

/** The {@link StoreError} reason of a failed call; `undefined` for other errors. */
export function reasonOf(error: unknown): string | undefined {
  if (error instanceof Failure) return error.error.reason;
  return error instanceof StoreError ? error.reason : undefined;
}

function checkPhysical(physical: string): void {
  checkCollectionName(physical);
  if (!isPhysicalName(physical)) throw collectionNotFound(physical);
}
