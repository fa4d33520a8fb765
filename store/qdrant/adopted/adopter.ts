import type { Schemas } from '@qdrant/js-client-rest';
import { invalidArgument, type StoreError } from '../../errors.ts';
import { checkAlias, isLogicalName, isPhysicalName, newIdentity } from '../../names.ts';
import { type CallOptions, physicalName } from '../../store.ts';
import { Collections } from '../collections.ts';
import { ADMITTED_KEY } from '../described.ts';
import { planCollections, type QdrantConfig } from '../config.ts';
import { DENSE } from '../layout.ts';
import { openTransport } from '../transport/open.ts';
import { Failure } from '../transport/failure.ts';
import type { Transport } from '../transport/transport.ts';
import { isObject } from './mapping.ts';
import { type ForeignPoint, ForeignPoints } from './points.ts';
import { type Adoption, ADOPTION_KEY, type Distance, isAdoption, type Measured } from './record.ts';

/** Vectors of a collection. */
export interface VectorKind {
  /** Empty for vectors without a name. */
  name: string;
  dimensions: number;
  distance: Distance;
  /** Several vectors for a point, as late interaction has them. */
  several: boolean;
}

/** A collection as it lies in the server, whoever made it. */
export interface Examined {
  /** Its own name in the server. */
  collection: string;
  /** Points, roughly. */
  points: number;
  vectors: readonly VectorKind[];
  /** Names of its sparse vectors. */
  sparse: readonly string[];
  /** Where we made it: its space, and the physical name that is its own. */
  own?: { fingerprint: string; admitted: readonly string[] };
  /** Absent, too, where its record can't be read: another version wrote it. */
  adoption?: Adoption;
  /** Where there is a record, readable or not: the alias that was made for clients; empty for none. */
  alias?: string;
}

/** Points of one request for a sample: their payloads lie in memory together. */
const SAMPLE_POINTS = 64;

/** Most bytes of payloads in a sample. */
const SAMPLE_BYTES = 64 * 1024 * 1024;

/** Requests that may bring nothing new before a sample is done. */
const EMPTY_REQUESTS = 4;

/**
 * Takes over collections that others made, and gives them back. What it writes into the server: the key
 * {@link ADOPTION_KEY} in the collection's metadata, and aliases that lead to it. No point, no index, no setting.
 */
export class Adopter {
  readonly #transport: Transport;
  readonly #collections: Collections;

  /** @throws {StoreError} `STORE_INVALID_ARGUMENT`, naming the setting, if the configuration cannot be used */
  constructor(config: QdrantConfig, log?: { warn(message: string): void }) {
    this.#transport = openTransport(config, log);
    this.#collections = new Collections(this.#transport, planCollections(config));
  }

  async close(): Promise<void> {
    await this.#transport.close();
  }

  /** @param name of the collection, or an alias that leads to it @throws {StoreError} `COLLECTION_NOT_FOUND` */
  examine(name: string, options: CallOptions = {}): Promise<Examined> {
    return plain(async () => {
      const collection = (await this.#collections.targets(options)).get(name) ?? name;
      const path = `/collections/${encodeURIComponent(collection)}`;
      const info = await this.#transport.call<Schemas['CollectionInfo']>(
        { operation: 'describe', method: 'GET', path, collection, catalog: true },
        options,
      );
      const { metadata, params } = info.config;
      const own = metadata?.['product'] === 'scalingnote' ? metadata : undefined;
      const record = metadata?.[ADOPTION_KEY] ?? undefined;
      const adoption = isAdoption(record) ? record : undefined;
      const alias = isObject(record) && typeof record['alias'] === 'string' ? record['alias'] : '';
      return {
        collection,
        points: info.points_count ?? 0,
        vectors: vectorsOf(params.vectors),
        sparse: Object.keys(params.sparse_vectors ?? {}),
        ...(own && {
          own: {
            fingerprint: String(own['space']),
            admitted: isObject(own[ADMITTED_KEY]) ? Object.keys(own[ADMITTED_KEY]) : [],
          },
        }),
        ...(adoption && { adoption }),
        ...(record !== undefined && { alias }),
      };
    });
  }

  /**
   * Points by chance, with payloads and vectors: fewer than are wanted where there are fewer, or where they are large.
   *
   * @param vector name of the vectors
   */
  sample(
    { collection, own }: Examined,
    vector: string,
    wanted: number,
    options: CallOptions = {},
  ): Promise<ForeignPoint[]> {
    return plain(async () => {
      const points = new ForeignPoints(this.#transport, collection, vector);
      // In a collection of ours some points are no passages.
      const filter = own ? { must_not: [{ is_empty: { key: 'tenant' } }] } : undefined;
      const found = new Map<ForeignPoint['id'], ForeignPoint>();
      let bytes = 0;
      for (let misses = 0; found.size < wanted && misses < EMPTY_REQUESTS && bytes < SAMPLE_BYTES;) {
        const before = found.size;
        const read = { keys: true as const, ...(filter && { filter }) };
        for (const point of await points.sample(Math.min(SAMPLE_POINTS, wanted), read, options)) {
          if (found.has(point.id) || found.size === wanted || !point.vector) continue;
          found.set(point.id, point);
          bytes += 2 * JSON.stringify(point.payload).length;
        }
        misses = found.size === before ? misses + 1 : 0;
      }
      return [...found.values()];
    });
  }

  /**
   * Checks the name that {@link adopt} would give, before anything is measured.
   *
   * @throws {StoreError} `STORE_INVALID_ARGUMENT` for one that is not allowed, or leads to another collection
   */
  async checkName(
    examined: Examined,
    fingerprint: string,
    as: string | undefined,
    options: CallOptions = {},
  ): Promise<void> {
    await plain(() => this.#names(examined, fingerprint, as, options));
  }

  /**
   * Writes an adoption down, and makes the aliases that lead to the collection.
   *
   * @param as what clients call it. @default its own name
   * @returns the physical name that it goes by
   */
  adopt(
    examined: Examined,
    record: Omit<Adoption, 'format' | 'identity' | 'alias'>,
    as: string | undefined,
    options: CallOptions = {},
  ): Promise<{ name: string; physicalName: string; identity: string }> {
    return plain(async () => {
      const { collection, alias: before } = examined;
      await this.#collections.checkServer(options);
      const { name, physical, targets } = await this.#names(examined, record.fingerprint, as, options);
      const isOwnName = name === collection;
      const isTheirs = targets.has(name) && before !== name;
      const identity = newIdentity();
      const alias = isOwnName || isTheirs ? '' : name;
      const adoption: Adoption = { ...record, format: 1, identity, alias };
      await this.#collections.configure(collection, { metadata: { [ADOPTION_KEY]: adoption } }, options);
      const old = ofAdoption(targets, collection, before).filter((one) => one !== name && one !== physical);
      await this.#changeAliases(
        collection,
        { remove: old, make: [physical, ...(alias === '' ? [] : [alias])] },
        options,
      );
      return { name, physicalName: physical, identity };
    });
  }

  /** Gives a collection back: removes what {@link adopt} has written. */
  release({ collection, alias }: Examined, options: CallOptions = {}): Promise<{ aliases: string[] }> {
    return plain(async () => {
      const aliases = ofAdoption(await this.#collections.targets(options), collection, alias);
      await this.#changeAliases(collection, { remove: aliases, make: [] }, options);
      await this.#collections.configure(collection, { metadata: { [ADOPTION_KEY]: null } }, options);
      return { aliases };
    });
  }

  /** Writes down in a collection of ours that a tower of another space makes the same vectors. */
  admit(
    { collection }: Examined,
    fingerprint: string,
    measured: Measured,
    options: CallOptions = {},
  ): Promise<void> {
    return plain(async () => {
      const { metadata } = await this.#collections.describe(collection, options);
      const before = isObject(metadata[ADMITTED_KEY]) ? metadata[ADMITTED_KEY] : {};
      const admitted = { ...before, [fingerprint]: measured };
      await this.#collections.configure(collection, { metadata: { [ADMITTED_KEY]: admitted } }, options);
    });
  }

  async #names(
    { collection }: Examined,
    fingerprint: string,
    as: string | undefined,
    options: CallOptions,
  ): Promise<{ name: string; physical: string; targets: ReadonlyMap<string, string> }> {
    const name = nameFor(collection, as);
    const physical = physicalName(name, fingerprint);
    const targets = await this.#collections.targets(options);
    for (const alias of [name, physical]) {
      const target = targets.get(alias);
      if (target !== undefined && target !== collection) throw taken(alias, target);
    }
    return { name, physical, targets };
  }

  async #changeAliases(
    collection: string,
    { remove, make }: { remove: readonly string[]; make: readonly string[] },
    options: CallOptions,
  ): Promise<void> {
    const actions = [
      ...remove.map((alias) => ({ delete_alias: { alias_name: alias } })),
      ...make.map((alias) => ({ create_alias: { alias_name: alias, collection_name: collection } })),
    ];
    if (actions.length > 0) await this.#collections.changeAliases(collection, actions, options);
  }
}

/** Name of the vectors of our own collections. */
export const OWN_VECTOR = DENSE;

/** The aliases that an adoption has made. */
function ofAdoption(
  targets: ReadonlyMap<string, string>,
  collection: string,
  made: string | undefined,
): string[] {
  return [...targets].flatMap(([alias, target]) =>
    target === collection && (isPhysicalName(alias) || alias === made) ? [alias] : [],
  );
}

function nameFor(collection: string, as: string | undefined): string {
  if (as !== undefined) {
    checkAlias(as);
    return as;
  }
  if (isLogicalName(collection)) return collection;
  throw invalidArgument(
    `clients can't call a collection ${JSON.stringify(collection)}; give it a name with --as: 1 to 64 of a-z, A-Z, 0-9, "_" ` +
      'and "-", without "--"',
  );
}

function taken(alias: string, target: string): StoreError {
  return invalidArgument(
    `the name "${alias}" leads to collection "${target}" already; give another one with --as`,
  );
}

function vectorsOf(found: Schemas['CollectionParams']['vectors']): VectorKind[] {
  if (!isObject(found)) return [];
  const named = 'size' in found ? { '': found } : found;
  return Object.entries(named as Record<string, Schemas['VectorParams']>).map(([name, params]) => ({
    name,
    dimensions: params.size,
    distance: params.distance,
    several: params.multivector_config !== undefined && params.multivector_config !== null,
  }));
}

/** Runs a call, with the {@link StoreError} of a failure. */
async function plain<Result>(call: () => Promise<Result>): Promise<Result> {
  try {
    return await call();
  } catch (error) {
    throw error instanceof Failure ? error.error : error;
  }
}
