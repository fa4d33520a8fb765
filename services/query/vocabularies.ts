import { LRUCache } from 'lru-cache';
import type { Store } from '../../store/store.ts';
import { Vocabulary } from '../../towers/lexical/vocabulary.ts';
import { SingleFlight } from './single-flight.ts';

/**
 * Most words of one vocabulary: more than an English dictionary has. Of a tenant with more, the most frequent ones count,
 * and the others are found as they are written.
 */
export const MAX_WORDS = 250_000;

/** Words of all vocabularies that are kept, some 100 bytes each. The longest unused go first. */
const MAX_WORDS_KEPT = 1_000_000;

/** A vocabulary counts as that many words at least: tenants of few words are not free. */
const LEAST_WORDS = 64;

/** How old a vocabulary may become before it is read again, in milliseconds. */
const LEAST_AGE_MS = 1000;

/** It may become the older the longer reading it takes: so at most a fiftieth of the time goes into that. */
const AGE_PER_READING = 50;

interface Known {
  stamp: string;
  vocabulary: Vocabulary;
  /** By the clock of `performance`. */
  readAt: number;
  tookMs: number;
}

/** The vocabularies of the collections that are searched: each tenant's apart, so that no tenant's words complete another's. */
export class Vocabularies {
  readonly #store: Pick<Store, 'words'>;
  readonly #known = new LRUCache<string, Known>({
    maxSize: MAX_WORDS_KEPT,
    maxEntrySize: MAX_WORDS_KEPT,
    sizeCalculation: ({ vocabulary }) => Math.max(LEAST_WORDS, vocabulary.size),
  });
  readonly #flights = new SingleFlight<Vocabulary>();

  constructor(store: Pick<Store, 'words'>) {
    this.#store = store;
  }

  /** The vocabulary of a tenant as it was a moment ago. Only the first search waits for it. @throws {StoreError} */
  async of(
    physicalName: string,
    tenant: string,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<Vocabulary> {
    const key = `${physicalName}\n${tenant}`;
    const known = this.#known.get(key);
    if (!known) return this.#read(key, physicalName, tenant, signal);
    const age = performance.now() - known.readAt;
    if (age > Math.max(LEAST_AGE_MS, AGE_PER_READING * known.tookMs)) {
      // Its errors are those of the search, which asks the same store.
      this.#read(key, physicalName, tenant, new AbortController().signal).catch(() => {});
    }
    return known.vocabulary;
  }

  #read(key: string, physicalName: string, tenant: string, signal: AbortSignal): Promise<Vocabulary> {
    return this.#flights.join(key, signal, async (shared) => {
      const before = this.#known.peek(key);
      const started = performance.now();
      const request = { limit: MAX_WORDS, ...(before && { known: before.stamp }) };
      const { stamp, counted } = await this.#store.words(physicalName, tenant, request, { signal: shared });
      const vocabulary = counted ? Vocabulary.ofCounted(counted) : before!.vocabulary;
      const readAt = performance.now();
      this.#known.set(key, { stamp, vocabulary, readAt, tookMs: readAt - started });
      return vocabulary;
    });
  }
}
