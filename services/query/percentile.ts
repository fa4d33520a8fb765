import { setImmediate as nextTurn } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { LRUCache } from 'lru-cache';
import { type FullDocument, passageTexts } from '../../store/document.ts';
import { StoreError } from '../../store/errors.ts';
import type { SearchHit, SearchQuery } from '../../store/queries.ts';
import type { Store } from '../../store/store.ts';
import { ServiceError } from '../runtime/errors.ts';
import type { Mode } from '../runtime/scores.ts';
import { SingleFlight } from './single-flight.ts';

/**
 * Percentiles: what a score is worth in a collection. Scores of three kinds are not comparable, and a cosine of 0.4 is high
 * in one collection and low in another. A percentile says which share of random queries has a best document that scores
 * lower. Random queries are titles (or, where there is none, first sentences) of the collection's own documents, each without
 * its own document.
 */

/** Queries that a percentile is made of at most: as many as tell apart steps of 2 %. */
const SAMPLED_QUERIES = 64;

/** With fewer, a percentile says nothing. */
export const LEAST_QUERIES = 8;

/** Documents that are looked at for them, and how many are read at a time. */
const SAMPLED_DOCUMENTS = 256;
const PAGE = 32;

/** Longest query that is made of a document, in UTF-16 units. */
const QUERY_CHARACTERS = 200;

/** Collections and tenants that are kept, and for how long: they change slowly, and each takes a kilobyte. */
const MAX_SCALES = 512;
const SCALE_TTL_MS = 10 * 60_000;

/** How long sampling may take, in milliseconds. */
const SAMPLING_MS = 30_000;

/** The best scores that one random query has, by leg. */
interface Best {
  dense: number;
  sparse: number;
}

/** What the scores of one tenant's documents in one collection are worth. */
export class Scale {
  readonly #dense: Float64Array;
  readonly #sparse: Float64Array;
  /** The better percentile of both legs, of each random query. */
  readonly #either: Float64Array;
  /** How many random queries it is made of. */
  readonly queries: number;

  constructor(sample: readonly Best[]) {
    this.queries = sample.length;
    this.#dense = Float64Array.from(sample, ({ dense }) => dense).sort();
    this.#sparse = Float64Array.from(sample, ({ sparse }) => sparse).sort();
    this.#either = Float64Array.from(sample, (best) => this.#better(best)).sort();
  }

  /** Whether there were enough random queries to tell. */
  get isKnown(): boolean {
    return this.queries >= LEAST_QUERIES;
  }

  /** Share of random queries whose best document scores lower. */
  of({ score, legs }: Pick<SearchHit, 'score' | 'legs'>, mode: Mode): number {
    if (mode === 'dense') return shareBelow(this.#dense, score);
    if (mode === 'sparse') return shareBelow(this.#sparse, score);
    const { dense, sparse } = legs ?? {};
    const best = { dense: dense?.score ?? -Infinity, sparse: sparse?.score ?? -Infinity };
    return shareBelow(this.#either, this.#better(best));
  }

  /** The lowest score that has a percentile, in a mode of one leg. */
  threshold(percentile: number, mode: 'dense' | 'sparse'): number {
    const below = Math.ceil(percentile * this.queries);
    if (below === 0) return -Infinity;
    const scores = mode === 'dense' ? this.#dense : this.#sparse;
    return nextUp(scores[below - 1]!);
  }

  #better({ dense, sparse }: Best): number {
    return Math.max(shareBelow(this.#dense, dense), shareBelow(this.#sparse, sparse));
  }
}

/** The collection has too few documents, or too few with a text. */
export function percentileUnknown(queries: number): ServiceError {
  return new ServiceError(
    status.FAILED_PRECONDITION,
    'PERCENTILE_UNKNOWN',
    `percentile_threshold: a percentile needs ${LEAST_QUERIES} titles or texts of documents to compare with, and there are ` +
      `${queries}; leave it out, or use score_threshold`,
  );
}

/** What a search for a scale needs. */
export interface ScaleParts {
  store: Pick<Store, 'scroll' | 'search'>;
  /** What the store is asked with, for a text. */
  encode: (
    text: string,
    where: { collection: string; tenant: string },
    signal: AbortSignal,
  ) => Promise<Required<Pick<SearchQuery, 'vector' | 'sparse'>>>;
}

/** The scales of collections, made where they are asked for. */
export class Scales {
  readonly #parts: ScaleParts;
  readonly #known = new LRUCache<string, Scale>({ max: MAX_SCALES, ttl: SCALE_TTL_MS, allowStale: true });
  readonly #flights = new SingleFlight<Scale>();

  constructor(parts: ScaleParts) {
    this.#parts = parts;
  }

  /** @param collection physical name */
  async of(collection: string, tenant: string, signal: AbortSignal): Promise<Scale> {
    const key = JSON.stringify([collection, tenant]);
    const isFresh = this.#known.getRemainingTTL(key) > 0;
    const known = this.#known.get(key);
    const made = (whose: AbortSignal): Promise<Scale> =>
      this.#flights.join(key, whose, async (shared) => {
        const scale = new Scale(await this.#sample(collection, tenant, shared));
        this.#known.set(key, scale);
        return scale;
      });
    if (!known) return made(signal);
    if (!isFresh) {
      // The old one answers, and is kept until there is a new one.
      this.#known.set(key, known);
      made(AbortSignal.timeout(SAMPLING_MS)).catch(() => {});
    }
    return known;
  }

  async #sample(collection: string, tenant: string, signal: AbortSignal): Promise<Best[]> {
    const { store, encode } = this.#parts;
    const best: Best[] = [];
    for (const { documentId, text } of await this.#texts(collection, tenant, signal)) {
      const { vector, sparse } = await encode(text, { collection, tenant }, signal);
      const scope = { tenant, limit: 2, idsOnly: true, withText: false, withMetadata: false };
      const [dense, worded] = await Promise.all([
        store.search(collection, { ...scope, vector }, { signal }),
        sparse.indices.length === 0
          ? []
          : store.search(collection, { ...scope, sparse }, { signal }).catch(noneWithoutTerms),
      ]);
      const highest = (hits: readonly SearchHit[], none: number): number =>
        hits.find((hit) => hit.documentId !== documentId)?.score ?? none;
      best.push({ dense: highest(dense, -1), sparse: highest(worded, 0) });
      // Lets searches run in between.
      await nextTurn();
    }
    return best;
  }

  /** Queries out of documents: every nth of those that are looked at. */
  async #texts(
    collection: string,
    tenant: string,
    signal: AbortSignal,
  ): Promise<{ documentId: string; text: string }[]> {
    const texts: { documentId: string; text: string }[] = [];
    let documents = 0;
    let after: string | undefined;
    do {
      const page = await this.#parts.store.scroll(
        collection,
        tenant,
        { limit: PAGE, ...(after !== undefined && { after }) },
        { signal },
      );
      for (const document of page.documents) {
        const text = queryOf(document);
        if (text !== '') texts.push({ documentId: document.documentId, text });
      }
      documents += page.documents.length;
      after = page.next;
    } while (after !== undefined && documents < SAMPLED_DOCUMENTS);
    const step = Math.max(1, texts.length / SAMPLED_QUERIES);
    const places = Array.from({ length: Math.min(SAMPLED_QUERIES, texts.length) }, (_, index) =>
      Math.floor(index * step),
    );
    return places.map((place) => texts[place]!);
  }
}

/** An adopted collection has no terms: its searches are dense, and so is all that they are compared with. */
function noneWithoutTerms(error: unknown): SearchHit[] {
  if (error instanceof StoreError && error.reason === 'COLLECTION_DENSE_ONLY') return [];
  throw error;
}

/** A document's title, or else its first sentence. */
function queryOf(document: FullDocument): string {
  const title = document.title.trim();
  if (title !== '') return title.slice(0, QUERY_CHARACTERS).toWellFormed();
  const [first = ''] = passageTexts(document);
  const start = first.trim().slice(0, QUERY_CHARACTERS);
  return (/^.+?[.!?](?=\s|$)/s.exec(start)?.[0] ?? start).toWellFormed();
}

function shareBelow(sorted: Float64Array, score: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]! < score) low = middle + 1;
    else high = middle;
  }
  return sorted.length === 0 ? 0 : low / sorted.length;
}

const BITS = new DataView(new ArrayBuffer(8));

/** The next larger double. */
function nextUp(value: number): number {
  if (value === 0) return Number.MIN_VALUE;
  BITS.setFloat64(0, value);
  BITS.setBigInt64(0, BITS.getBigInt64(0) + (value > 0 ? 1n : -1n));
  return BITS.getFloat64(0);
}
