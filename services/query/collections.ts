import { LRUCache } from 'lru-cache';
import { spaceMismatch, StoreError } from '../../store/errors.ts';
import type { CollectionKey, SpaceKey, Store } from '../../store/store.ts';
import { SingleFlight } from './single-flight.ts';

/**
 * How long a resolved alias is cached, in milliseconds. For so long after a switch the old collection still answers.
 * That is safe, because searches use its physical name, and its vectors and our tower still belong together.
 */
export const ALIAS_TTL_MS = 1000;

/** Most names to cache; there are seldom more collections. */
const MAX_NAMES = 1000;

/** Resolves names to physical collections, and checks that these belong to our tower's space. */
export class Collections {
  readonly #store: Pick<Store, 'findCollection'>;
  readonly #space: SpaceKey;
  readonly #known = new LRUCache<string, CollectionKey>({ max: MAX_NAMES, ttl: ALIAS_TTL_MS });
  readonly #flights = new SingleFlight<CollectionKey>();

  constructor(store: Pick<Store, 'findCollection'>, space: SpaceKey) {
    this.#store = store;
    this.#space = space;
  }

  /**
   * The physical name behind a logical one.
   *
   * @param identity that the collection has to have; absent for any
   * @throws {StoreError} `COLLECTION_NOT_FOUND`, `SPACE_MISMATCH`, `COLLECTION_REPLACED`, and what the store throws
   *   besides
   */
  async resolve(name: string, call: { readonly signal: AbortSignal }, identity?: string): Promise<string> {
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
    return found.physicalName;
  }

  /** Forgets a name that turned out to lead nowhere. */
  forget(name: string): void {
    this.#known.delete(name);
  }

  /** @param identity that the caller knows of; a look that began before anybody knew of it may not have seen it */
  async #describe(name: string, signal: AbortSignal, identity = ''): Promise<CollectionKey> {
    return this.#flights.join(`${name} ${identity}`, signal, async (shared) => {
      const found = await this.#store.findCollection(name, { signal: shared });
      this.#known.set(name, found);
      return found;
    });
  }
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
