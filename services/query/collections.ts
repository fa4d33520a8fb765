import { LRUCache } from 'lru-cache';
import { spaceMismatch, StoreError } from '../../store/errors.ts';
import { isLogicalName, isPhysicalName } from '../../store/names.ts';
import type { CollectionKey, SpaceKey, Store } from '../../store/store.ts';
import { namesOf } from '../runtime/config.ts';
import { invalidArgument } from '../runtime/errors.ts';
import { SingleFlight } from './single-flight.ts';

/**
 * How long a resolved alias is cached, in milliseconds. For so long after a switch the old collection still answers.
 * That is safe, because searches use its physical name, and its vectors and our tower still belong together.
 */
export const ALIAS_TTL_MS = 1000;

/** Most names to cache; there are seldom more collections. */
const MAX_NAMES = 1000;

/** Most names of collections that an error lists. */
const MAX_LISTED = 5;

/** The one entry of the cache of the default collection. */
const DEFAULT = 'default';

/** Resolves names to physical collections, and checks that these belong to our tower's space. */
export class Collections {
  readonly #store: Pick<Store, 'findCollection' | 'aliases'>;
  readonly #space: SpaceKey;
  readonly #setting: string;
  readonly #known = new LRUCache<string, CollectionKey>({ max: MAX_NAMES, ttl: ALIAS_TTL_MS });
  readonly #flights = new SingleFlight<CollectionKey>();
  readonly #only = new LRUCache<typeof DEFAULT, string>({ max: 1, ttl: ALIAS_TTL_MS });
  readonly #onlyFlights = new SingleFlight<string>();

  /** @param setting name of the default collection; empty for the only one that the store has */
  constructor(store: Pick<Store, 'findCollection' | 'aliases'>, space: SpaceKey, setting = '') {
    this.#store = store;
    this.#space = space;
    this.#setting = setting;
  }

  /**
   * The logical name that a request means: its own, or where it has none that of the default collection. Everything
   * after it, permissions and spans included, sees the name that this returns.
   *
   * @throws {ServiceError} `INVALID_ARGUMENT` where there are several collections, and no setting says which
   * @throws {StoreError} `COLLECTION_NOT_FOUND` where there is none
   */
  async named(name: string, { signal }: { readonly signal: AbortSignal }): Promise<string> {
    if (name !== '') return name;
    if (this.#setting !== '') return this.#setting;
    return (
      this.#only.get(DEFAULT) ??
      this.#onlyFlights.join(DEFAULT, signal, async (shared) => {
        const only = onlyOf(await this.#store.aliases({ signal: shared }));
        this.#only.set(DEFAULT, only);
        return only;
      })
    );
  }

  /**
   * The physical name behind a logical one.
   *
   * @param identity that the collection has to have; absent for any
   * @throws {StoreError} `COLLECTION_NOT_FOUND`, `SPACE_MISMATCH`, `COLLECTION_REPLACED`, and what the store throws
   *   besides
   */
  async resolve(name: string, call: { readonly signal: AbortSignal }, identity?: string): Promise<string> {
    return (await this.find(name, call, identity)).physicalName;
  }

  /** What is behind a logical name. @throws as {@link resolve} */
  async find(
    name: string,
    call: { readonly signal: AbortSignal },
    identity?: string,
  ): Promise<CollectionKey> {
    const cached = this.#known.get(name);
    // A token of a collection that we do not know may be newer than what we know.
    const known = identity === undefined || cached?.identity === identity ? cached : undefined;
    if (known && this.#known.getRemainingTTL(name) < ALIAS_TTL_MS / 2) {
      // Before it expires, so that no search waits for it. The next search meets its errors.
      this.#describe(name, new AbortController().signal).catch(() => {});
    }
    const found = known ?? (await this.#describe(name, call.signal, identity));
    const { fingerprint } = this.#space;
    if (found.space.fingerprint !== fingerprint && !found.admittedSpaces?.includes(fingerprint)) {
      throw spaceMismatch(name, found.space.fingerprint, this.#space.fingerprint);
    }
    if (identity !== undefined && found.identity !== identity) {
      throw tokenOfAnother(name, identity, found.identity);
    }
    return found;
  }

  /** Forgets a name that turned out to lead nowhere. */
  forget(name: string): void {
    this.#only.clear();
    this.#known.delete(name);
  }

  /** The same error; where the default collection is not there, it names the setting. */
  #ofDefault(name: string, error: unknown): unknown {
    const isMissing = error instanceof StoreError && error.reason === 'COLLECTION_NOT_FOUND';
    if (!isMissing || name !== this.#setting) return error;
    const { message, metadata } = error;
    const said = `${message}; it is the default collection (${namesOf('defaultCollection')}) of the query service`;
    return new StoreError('COLLECTION_NOT_FOUND', said, { metadata, cause: error });
  }

  /** @param identity that the caller knows of; a look that began before anybody knew of it may not have seen it */
  async #describe(name: string, signal: AbortSignal, identity = ''): Promise<CollectionKey> {
    return this.#flights.join(`${name} ${identity}`, signal, async (shared) => {
      const found = await this.#store
        .findCollection(name, { signal: shared })
        .catch((error: unknown) => Promise.reject(this.#ofDefault(name, error)));
      this.#known.set(name, found);
      return found;
    });
  }
}

/** The only collection that clients can name; what others keep on the same server does not count. */
function onlyOf(aliases: ReadonlyMap<string, string>): string {
  const names = [...aliases]
    .flatMap(([name, physical]) => (isLogicalName(name) && isPhysicalName(physical) ? [name] : []))
    .sort();
  const [only] = names;
  if (only === undefined) {
    throw new StoreError(
      'COLLECTION_NOT_FOUND',
      'the search names no collection, and the store has none yet; ingest documents first',
    );
  }
  if (names.length === 1) return only;
  const listed = names.slice(0, MAX_LISTED).join(', ') + (names.length > MAX_LISTED ? ', …' : '');
  throw invalidArgument(
    'collection',
    `is empty, and the store has ${names.length} collections: ${listed}; name one, or set a default ` +
      `(${namesOf('defaultCollection')}) for the query service`,
  );
}

/** The freshness of one collection says nothing about another. */
function tokenOfAnother(name: string, asked: string, found: string): StoreError {
  return new StoreError(
    'COLLECTION_REPLACED',
    `at_least_as_fresh_as is a token of collection ${asked}, and "${name}" is ${found}: it was dropped and made again, ` +
      'restored from a backup, or the token is that of another collection; take a new token, or leave it out',
    { metadata: { collection: name, expected_identity: asked, identity: found } },
  );
}
