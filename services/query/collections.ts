import { LRUCache } from 'lru-cache';
import { spaceMismatch } from '../../store/errors.ts';
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
   * @throws {StoreError} `COLLECTION_NOT_FOUND`, `SPACE_MISMATCH`, and what the store throws besides
   */
  async resolve(name: string, call: { readonly signal: AbortSignal }): Promise<string> {
    const known = this.#known.get(name);
    if (known && this.#known.getRemainingTTL(name) < ALIAS_TTL_MS / 2) {
      // Before it expires, so that no search waits for it. The next search meets its errors.
      this.#describe(name, new AbortController().signal).catch(() => {});
    }
    const { physicalName, space } = known ?? (await this.#describe(name, call.signal));
    if (space.fingerprint !== this.#space.fingerprint) {
      throw spaceMismatch(name, space.fingerprint, this.#space.fingerprint);
    }
    return physicalName;
  }

  /** Forgets a name that turned out to lead nowhere. */
  forget(name: string): void {
    this.#known.delete(name);
  }

  async #describe(name: string, signal: AbortSignal): Promise<CollectionKey> {
    return this.#flights.join(name, signal, async (shared) => {
      const found = await this.#store.findCollection(name, { signal: shared });
      this.#known.set(name, found);
      return found;
    });
  }
}
