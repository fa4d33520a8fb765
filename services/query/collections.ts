import { LRUCache } from 'lru-cache';
import { spaceMismatch } from '../../store/errors.ts';
import type { CollectionKey, SpaceKey, Store } from '../../store/store.ts';
import { SingleFlight } from './single-flight.ts';

/**
 * How long we believe where an alias leads, in milliseconds. For so long after a switch the old collection goes on
 * answering: its vectors and our tower still belong together, as they are searched by their physical name.
 */
export const ALIAS_TTL_MS = 1000;

/** Most names that are remembered; there are seldom more collections. */
const MAX_NAMES = 1000;

/** Knows which physical collection a name leads to, and that it is of our tower's space. */
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
    if (known && this.#known.getRemainingTTL(name) < ALIAS_TTL_MS / 2) this.#refresh(name);
    const { physicalName, space } = known ?? (await this.#describe(name, call.signal));
    if (space.fingerprint !== this.#space.fingerprint) {
      throw spaceMismatch(name, space.fingerprint, this.#space.fingerprint);
    }
    return physicalName;
  }

  /** Drops what is known of a name: it turned out to be wrong. */
  forget(name: string): void {
    this.#known.delete(name);
  }

  /** Looks again before it has to, so that no search waits for it. What it meets, the next search that waits will. */
  #refresh(name: string): void {
    this.#describe(name, new AbortController().signal).catch(() => {});
  }

  async #describe(name: string, signal: AbortSignal): Promise<CollectionKey> {
    return this.#flights.join(name, signal, async (shared) => {
      const found = await this.#store.findCollection(name, { signal: shared });
      this.#known.set(name, found);
      return found;
    });
  }
}
